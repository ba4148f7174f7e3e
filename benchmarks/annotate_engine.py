"""How close the endpoint teacher comes to what an endpoint can give, and what it holds in memory.

    python benchmarks/annotate_engine.py            # rate: 3,000 posts, a second per answer
    python benchmarks/annotate_engine.py --memory   # 1,000 and 15,000 posts, 50 ms per answer

A server in a process of its own answers each request after a second; 64 requests at once could make
64 posts a second. Prints one JSON object: posts per second from the first request to the last
answer, its share of that rate, the engine's own CPU time per post (pictures, requests, replies and
store; no start-up, no server), which tells what a busy machine does to the rate from what the
engine does, the peak memory until the last answer and over all (the table of labels is made once,
in memory) and, for more than one number of posts, how much larger these are at the last than at the
first (0.02: two per cent). Posts have one 640x640 picture each, sent at 512.
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
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

_RUN = """
import json, sys, time
from pathlib import Path
from memory import peak_rss_mb
from postbias.params import load_params
from postbias.paths import Paths
from postbias.teacher.annotate import fill_store
from postbias.teacher.scheduler import Interview

run = Interview.run

async def timed(self, questions, repeat):
    start_s = time.process_time()
    await run(self, questions, repeat)
    timed.cpu_s = time.process_time() - start_s
    timed.asking_mb = peak_rss_mb()

Interview.run = timed
folder = Path(sys.argv[1])
paths = Paths(folder, folder)
print(fill_store(paths, load_params(folder / "params.yaml")), file=sys.stderr)
found = {"asking_mb": timed.asking_mb, "peak_mb": peak_rss_mb(), "cpu_s": timed.cpu_s}
print(json.dumps(found))
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--memory", action="store_true", help="sizes 1000 15000, latency 0.05")
    parser.add_argument("--latency", type=float)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--side", type=int, default=512, help="max_side_px")
    options = parser.parse_args()
    options.latency = options.latency or (0.05 if options.memory else 1.0)
    sizes = options.sizes or ([1000, 15000] if options.memory else [3000])
    results = [measure(n, options) for n in sizes]
    print(json.dumps({"annotate": _summary(results, options)}))


def _summary(results: list[dict[str, Any]], options: argparse.Namespace) -> dict[str, Any]:
    last = results[-1]
    found = {
        "posts": last["n"],
        "posts_per_s": round(last["posts_per_s"], 1),
        "fraction_of_ideal": round(last["posts_per_s"] * options.latency / options.concurrency, 3),
        "cpu_ms_per_post": round(1000 * last["cpu_s"] / last["n"], 2),
        "asking_mb": round(last["asking_mb"]),
        "peak_mb": round(last["peak_mb"]),
    }
    if options.memory:
        # Answers come faster than a CPU can ask: no rate to compare with.
        del found["fraction_of_ideal"]
    if len(results) > 1:
        for name in ("asking", "peak"):
            found[f"{name}_growth"] = round(last[f"{name}_mb"] / results[0][f"{name}_mb"] - 1, 3)
    return found


def measure(n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Label n posts against a server process.

    Args:
        n: How many.
        options: `latency`, `concurrency` and `side`.

    Returns:
        Posts per second from the first to the last, peak memory and CPU seconds of the asking.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _corpus(folder, n)
        from tests.teacher_corpus import write_params

        limits = {"concurrency": options.concurrency, "timeout_s": 60.0}
        images = {"max_side_px": options.side}
        write_params(folder, limits=limits, images=images)
        url_file = folder / "url.txt"
        config = json.dumps({"latency_s": options.latency})
        server = subprocess.Popen(  # noqa: S603 - our own server
            [sys.executable, "-m", "tests.teacher_server", str(url_file), config], cwd=ROOT
        )
        try:
            while not url_file.exists():
                time.sleep(0.05)
            url = url_file.read_text()
            environment = {**os.environ, "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "sk-bench"}
            ran = subprocess.run(  # noqa: S603 - our own code
                [sys.executable, "-c", _RUN, str(folder)],
                cwd=Path(__file__).parent,
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
            )
            with urllib.request.urlopen(url.replace("/v1", "/stats")) as response:  # noqa: S310 - loopback
                counted = json.load(response)
        finally:
            server.kill()
            server.wait()
    assert counted["requests"] == n + 1, "every post once, and one probe"
    # From the first post (after the probe) to the last answer.
    took_s = counted["last_at"] - counted["second_at"]
    return {"n": n, "posts_per_s": n / took_s, **json.loads(ran.stdout)}


def _corpus(folder: Path, n: int) -> None:
    """Write posts in shards, a few hundred different pictures among them."""
    import pyarrow as pa
    from tests.teacher_corpus import picture, post, set_sample

    from postbias.paths import Paths
    from postbias.posts.schema import POSTS
    from postbias.posts.shards import write_table

    (folder / "rubrics").symlink_to(ROOT / "rubrics")
    paths = Paths(folder, folder)
    pictures = [_photo(picture(i, (40, 40))) for i in range(100)]
    for start in range(0, n, 1000):
        rows = [
            post(i, images=[{"bytes": pictures[i % 100], "path": f"{i}.jpg"}])
            for i in range(start, min(start + 1000, n))
        ]
        table = pa.Table.from_pylist(rows, schema=POSTS)
        write_table(table, paths.posts / f"{start:08}.parquet", POSTS)
    set_sample(paths, [f"p{i:05}" for i in range(n)])


def _photo(data: bytes) -> bytes:
    """Blow noise up to the size and weight of a photograph."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((640, 640), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
