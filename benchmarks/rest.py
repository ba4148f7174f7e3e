"""The REST server against the scorer itself: one post's time, and posts/s with many clients.

The server is `mlflow models serve` as `make serve` starts it, with the same student that the scorer
here runs: ResNet-18 at 224 px and DistilBERT with random weights. A request holds one post: a real
caption and a real JPEG. Server and scorer take turns. Prints one JSON object.

    python benchmarks/rest.py [--posts 60] [--clients 16] [--rounds 3]
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

from bulk_scoring import make_student, real_captions, real_jpegs, write_posts

from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import PostInput, Scorer
from postbias.tracking.packaging import write_package

_START_TIMEOUT_S = 180
_HEADERS = {"Content-Type": "application/json"}


def main() -> None:
    """Start the server, let it and the scorer take turns, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    captions, files = real_captions(512), real_jpegs(512)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, _, artifact = make_student(folder / "student", captions, files)
        write_package(artifact, folder / "model", precision="int8")
        shard = write_posts(folder / "posts.parquet", captions, files)
        with serving(folder) as port:
            print(json.dumps(measure(artifact, shard, port, options), indent=2, sort_keys=True))


def measure(
    artifact: Artifact, shard: Path, port: int, options: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """Let server and scorer take turns; give medians over rounds, the first left out."""
    captions, files = real_captions(512), real_jpegs(512)
    bodies = [
        json.dumps(
            {"dataframe_records": [{"caption": text, "image": base64.b64encode(data).decode()}]}
        ).encode()
        for text, data in zip(captions, files, strict=True)
    ]
    posts = [PostInput(text, (data,)) for text, data in zip(captions, files, strict=True)]
    found: dict[str, list[float]] = {"ratio": [], "fraction": [], "p50": [], "rate": []}
    with Scorer(artifact, threads=os.cpu_count() or 1) as scorer:
        for turn in range(options.rounds + 1):
            own, asked = [], []
            with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
                for post, body in zip(posts[: options.posts], bodies, strict=False):
                    own.append(seconds(lambda post=post: scorer.score([post])))
                    asked.append(seconds(lambda body=body: ask(connection, body)))
            store = shard.with_name(f"store{turn}")
            to = ScoreOutputs(shard.with_name("out"), shard.with_name("rejects"), store)
            bulk = len(posts) / seconds(
                lambda to=to: score_shards([shard], scorer, to, batch_size=BATCH_SIZE)
            )
            rate = len(bodies) / seconds(lambda: ask_all(port, bodies, options.clients))
            found["ratio"].append(statistics.median(asked) / statistics.median(own))
            found["p50"].append(statistics.median(asked) * 1000)
            found["fraction"].append(rate / bulk)
            found["rate"].append(rate)
    medians = {name: round(statistics.median(values[1:]), 3) for name, values in found.items()}
    return {
        "rest": {
            "p50_ratio": medians["ratio"],
            "p50_ms": medians["p50"],
            "throughput_fraction": medians["fraction"],
            "posts_per_s": medians["rate"],
        }
    }


def seconds(run: object) -> float:
    """Time one call."""
    started = time.perf_counter()
    run()  # type: ignore[operator]
    return time.perf_counter() - started


def ask(connection: HTTPConnection, body: bytes) -> None:
    """Send one request on an open connection; it must be answered with a score."""
    connection.request("POST", "/invocations", body, _HEADERS)
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, text[:300]
    assert b'"ok"' in text, text[:300]


def ask_all(port: int, bodies: list[bytes], clients: int) -> None:
    """Send all requests from several clients at once, each on a connection of its own."""

    def client(mine: list[bytes]) -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=60)) as connection:
            for body in mine:
                ask(connection, body)

    with ThreadPoolExecutor(clients) as pool:
        list(pool.map(client, [bodies[n::clients] for n in range(clients)]))


@contextmanager
def serving(folder: Path) -> Iterator[int]:
    """Serve the packed model as `make serve` does; end it afterwards."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    tools = Path(sys.executable).parent
    command = [str(tools / "mlflow"), "models", "serve", "-m", str(folder / "model")]
    command += ["--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)]
    env = os.environ | {"PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"}
    env["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [*command, "--workers", "1"], env=env, stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + _START_TIMEOUT_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server does not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.5)
        yield port
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=60)


def answers(port: int) -> bool:
    """Say whether the server is ready."""
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False


if __name__ == "__main__":
    main()
