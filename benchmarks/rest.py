"""Compare the REST server with calling the scorer: latency, and throughput with many clients.

The server is started like `make serve` with one student after the other. Each request contains one
post with a caption and a JPEG image; `latency` also has requests with a caption alone. Server and
scorer alternate for the full student, as do the numbers of clients for each. Prints one JSON
object.

    python benchmarks/rest.py [--posts 60] [--rounds 3] [--students full nano pocket]
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import numpy as np
from bulk_scoring import real_captions, write_posts
from photographs import draw_photographs
from random_students import STUDENTS, build_student

from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import PostInput, Scorer
from postbias.tracking.packaging import write_package

SERVED = ("full", "nano", "pocket")
#: Numbers of concurrent clients.
CLIENTS = (1, 16, 64)
_MIN_REQUESTS, _REQUESTS_PER_CLIENT = 64, 4
_START_TIMEOUT_S = 180
_HEADERS = {"Content-Type": "application/json"}


def main() -> None:
    """Start the server, run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--students", nargs="+", choices=STUDENTS, default=SERVED)
    options = parser.parse_args()
    captions, files = real_captions(512), draw_photographs(512)
    found: dict[str, float] = {}
    latency = {}
    with tempfile.TemporaryDirectory() as name:
        for student in options.students:
            folder = Path(name) / student
            artifact = build_student(student, folder / "student")
            write_package(artifact, folder / "model", precision="int8")
            shard = write_posts(folder / "posts.parquet", captions, files)
            with serving(folder) as port:
                if student == "full":
                    found = measure(artifact, shard, port, options)
                latency[student] = measure_latency(port, options.rounds)
                print(json.dumps({student: latency[student]}), flush=True)
    found |= {
        f"{student}_{key}_{CLIENTS[-1]}": rows["image"][CLIENTS[-1]][key]
        for student, rows in latency.items()
        for key in ("p50_ms", "p99_ms")
    }
    print(json.dumps({"rest": found, "latency": latency}, indent=2, sort_keys=True))


def measure_latency(port: int, rounds: int) -> dict[str, dict[int, dict[str, float]]]:
    """Measure latency with several numbers of clients, alternately.

    Returns:
        For requests with a `caption` alone and with an `image` too, by number of clients: `p50_ms`
        and `p99_ms` of all rounds but the first, and requests per second, the median of the rounds.
    """
    result: dict[str, dict[int, dict[str, float]]] = {}
    captions, files = real_captions(512), draw_photographs(512)
    for content in ("caption", "image"):
        bodies = make_bodies(captions, files if content == "image" else None)
        waits: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
        rates: dict[int, list[float]] = {clients: [] for clients in CLIENTS}
        for turn in range(rounds + 1):
            for clients in CLIENTS:
                count = max(_MIN_REQUESTS, clients * _REQUESTS_PER_CLIENT)
                started = time.perf_counter()
                seen = request_scores(port, bodies[:count], clients)
                if turn:
                    waits[clients] += seen
                    rates[clients].append(count / (time.perf_counter() - started))
        result[content] = {
            clients: {
                "p50_ms": round(float(np.percentile(waits[clients], 50)) * 1000, 1),
                "p99_ms": round(float(np.percentile(waits[clients], 99)) * 1000, 1),
                "per_s": round(statistics.median(rates[clients]), 1),
            }
            for clients in CLIENTS
        }
    return result


def make_bodies(captions: list[str], files: list[bytes] | None) -> list[bytes]:
    """Return the bodies of requests with one post each, with or without images."""
    bodies = []
    for text, data in zip(captions, files or [None] * len(captions), strict=True):
        image = {} if data is None else {"image": base64.b64encode(data).decode()}
        bodies.append(json.dumps({"dataframe_records": [{"caption": text} | image]}).encode())
    return bodies


def measure(
    artifact: Artifact, shard: Path, port: int, options: argparse.Namespace
) -> dict[str, float]:
    """Time server and scorer alternately; return medians without the first round, a warm-up."""
    captions, files = real_captions(512), draw_photographs(512)
    bodies = make_bodies(captions, files)
    posts = [PostInput(text, (data,)) for text, data in zip(captions, files, strict=True)]
    metrics: dict[str, list[float]] = {"ratio": [], "fraction": [], "p50": [], "rate": []}
    with Scorer(artifact, threads=os.cpu_count() or 1) as scorer:
        for turn in range(options.rounds + 1):
            scorer_s, server_s = [], []
            with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                for post, body in zip(posts[: options.posts], bodies, strict=False):
                    scorer_s.append(seconds(lambda post=post: scorer.score([post])))
                    server_s.append(seconds(lambda body=body: request_score(connection, body)))
            store = shard.with_name(f"store{turn}")
            outputs = ScoreOutputs(shard.with_name("out"), shard.with_name("rejects"), store)
            bulk = len(posts) / seconds(
                lambda outputs=outputs: score_shards(
                    [shard], scorer, outputs, batch_size=BATCH_SIZE
                )
            )
            rate = len(bodies) / seconds(lambda: request_scores(port, bodies, options.clients))
            metrics["ratio"].append(statistics.median(server_s) / statistics.median(scorer_s))
            metrics["p50"].append(statistics.median(server_s) * 1000)
            metrics["fraction"].append(rate / bulk)
            metrics["rate"].append(rate)
    medians = {name: round(statistics.median(values[1:]), 3) for name, values in metrics.items()}
    return {
        "p50_ratio": medians["ratio"],
        "p50_ms": medians["p50"],
        "throughput_fraction": medians["fraction"],
        "posts_per_s": medians["rate"],
    }


def seconds(run: object) -> float:
    """Return the duration of one call in seconds."""
    started = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - started


def request_score(connection: HTTPConnection, body: bytes) -> None:
    """Send one request on an open connection; assert that the response contains a score."""
    connection.request("POST", "/invocations", body, _HEADERS)
    response = connection.getresponse()
    text = response.read()
    assert response.status == 200, text[:300]
    assert b'"ok"' in text, text[:300]


def request_scores(port: int, bodies: list[bytes], clients: int) -> list[float]:
    """Send all requests from concurrent clients, each with its own connection.

    Returns:
        Seconds that each request took.
    """

    def run_client(client_bodies: list[bytes]) -> list[float]:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            return [
                seconds(lambda body=body: request_score(connection, body)) for body in client_bodies
            ]

    with ThreadPoolExecutor(clients) as pool:
        waits = pool.map(run_client, [bodies[n::clients] for n in range(clients)])
        return [wait for client in waits for wait in client]


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve the packaged model like `make serve`; yield the port and stop the server on exit."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    tools = Path(sys.executable).parent
    command = [str(tools / "mlflow"), "models", "serve", "-m", str(folder / "model")]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    env = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    env["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - a fixed command
            [*command, "--workers", "1"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not is_ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                log_end = (folder / "log").read_text()[-2000:]
                sys.exit(f"the server did not start; end of its log: {log_end}")
            time.sleep(0.5)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def is_ready(port: int) -> bool:
    """Return whether the server accepts requests."""
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    main()
