"""Measure how much of the labelling rate remains when some requests fail.

    python benchmarks/annotate_faults.py                  # 600 posts, latency 50 ms, 16 slots

A server in its own process answers after a fixed latency. Of the faulty requests a fifth is never
answered (the socket stays open), a tenth gets a 429 without Retry-After, and the rest get replies
that are not JSON, refusals or empty choices. Prints one JSON object; for each share of faulty
requests:

seconds      time of the run; it is cut off after `--limit` seconds
labelled     posts with a label
requests     requests that the server received
ratio        posts per second, relative to the run without faults
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

#: Ten equally likely faults.
FAULTS = (
    *("hang", "hang", "429", "wrong_json", "prose", "prose"),
    *("refusal", "refusal_text", "empty_choices", "empty_choices"),
)

_RUN = """
import sys
from pathlib import Path
from postbias.params import load_params
from postbias.paths import Paths
from postbias.teacher.annotate import fill_reply_store

folder = Path(sys.argv[1])
fill_reply_store(Paths(folder, folder), load_params(folder / "params.yaml"))
"""


def main() -> None:
    """Run the benchmark and print its result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=600)
    parser.add_argument("--latency", type=float, default=0.05)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--timeout", type=float, default=120.0)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.0, 0.05, 0.3])
    parser.add_argument("--limit", type=float, default=150.0)
    options = parser.parse_args()
    results = {str(share): measure(share, options) for share in options.shares}
    first = next(iter(results.values()))
    for result in results.values():
        rate = result["labelled"] / result["seconds"]
        result["ratio"] = round(rate * first["seconds"] / first["labelled"], 3)
    print(json.dumps({"annotate_faults": results}))


def measure(share: float, options: argparse.Namespace) -> dict[str, Any]:
    """Label all posts while a share of the requests is faulty.

    Args:
        share: Share of faulty requests.
        options: `posts`, `latency`, `concurrency`, `timeout` and `limit`.

    Returns:
        `seconds`, `labelled` and `requests`.
    """
    from tests.teacher_corpus import make_corpus, post, write_params

    from postbias.teacher.reply_store import ReplyStore

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = make_corpus(folder, [post(i) for i in range(options.posts)])
        limits = {"concurrency": options.concurrency, "timeout_s": options.timeout}
        write_params(folder, limits=limits)
        config = {"latency_s": options.latency, "fault_rate": share, "faults": FAULTS}
        with _server(folder / "url.txt", config) as url:
            seconds = _label(folder, url, options.limit)
            with urllib.request.urlopen(url.replace("/v1", "/stats")) as response:  # noqa: S310 - loopback
                counts = json.load(response)
        with ReplyStore.open(paths.replies) as store:
            query = "SELECT count(DISTINCT key) FROM replies WHERE status = 'ok'"
            ((n_labelled,),) = store.rows(query)
    return {
        "seconds": round(seconds, 1),
        "labelled": n_labelled,
        "requests": counts["requests"],
    }


@contextmanager
def _server(url_file: Path, config: dict[str, Any]) -> Iterator[str]:
    server = subprocess.Popen(  # noqa: S603 - our own server
        [sys.executable, "-m", "tests.teacher_server", str(url_file), json.dumps(config)], cwd=ROOT
    )
    try:
        while not url_file.exists():
            time.sleep(0.05)
        yield url_file.read_text()
    finally:
        server.kill()
        server.wait()


def _label(folder: Path, url: str, limit_s: float) -> float:
    """Run labelling in its own process; return its time, start-up included."""
    environment = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-bench"}
    start = time.monotonic()
    run = subprocess.Popen(  # noqa: S603 - our own code
        [sys.executable, "-c", _RUN, str(folder)], env=environment
    )
    try:
        run.wait(limit_s)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()
    return time.monotonic() - start


if __name__ == "__main__":
    main()
