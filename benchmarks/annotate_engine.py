"""Measure the throughput and memory of labelling with an endpoint.

    python benchmarks/annotate_engine.py            # rate: 3,000 posts, latency 1 s
    python benchmarks/annotate_engine.py --memory   # 1,000 and 15,000 posts, latency 50 ms

A server in its own process answers each request after a fixed latency, so that 64 concurrent
requests at 1 s allow at most 64 posts/s. Each post has one 640x640 image, sent at 512. Prints one
JSON object:

posts_per_s, fraction_of_ideal  from the first request to the last reply
cpu_ms_per_post                 CPU time of the labelling process without start-up: tells a slow
                                engine from a busy machine
asking_mb, peak_mb              peak memory until the last reply, and of the whole process (the
                                table of labels is built in memory)
asking_growth, peak_growth      relative growth from the first to the last number of posts
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
from postbias.teacher.annotate import fill_reply_store
from postbias.teacher.label_scheduler import LabelScheduler

run = LabelScheduler.run

async def timed(self, requests, repeat):
    start_s = time.process_time()
    await run(self, requests, repeat)
    timed.cpu_s = time.process_time() - start_s
    timed.asking_mb = peak_rss_mb()

LabelScheduler.run = timed
folder = Path(sys.argv[1])
paths = Paths(folder, folder)
print(fill_reply_store(paths, load_params(folder / "params.yaml")), file=sys.stderr)
result = {"asking_mb": timed.asking_mb, "peak_mb": peak_rss_mb(), "cpu_s": timed.cpu_s}
print(json.dumps(result))
"""


def main() -> None:
    """Run the benchmark and print its result."""
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
    summary = {
        "posts": last["n"],
        "posts_per_s": round(last["posts_per_s"], 1),
        "fraction_of_ideal": round(last["posts_per_s"] * options.latency / options.concurrency, 3),
        "cpu_ms_per_post": round(1000 * last["cpu_s"] / last["n"], 2),
        "asking_mb": round(last["asking_mb"]),
        "peak_mb": round(last["peak_mb"]),
    }
    if options.memory:
        # The latency is too short to be the limit, so there is no ideal rate.
        del summary["fraction_of_ideal"]
    if len(results) > 1:
        for name in ("asking", "peak"):
            summary[f"{name}_growth"] = round(last[f"{name}_mb"] / results[0][f"{name}_mb"] - 1, 3)
    return summary


def measure(n: int, options: argparse.Namespace) -> dict[str, Any]:
    """Label n posts against a server process.

    Args:
        n: Number of posts.
        options: `latency`, `concurrency` and `side`.

    Returns:
        `n`, `posts_per_s`, `asking_mb`, `peak_mb` and `cpu_s`.
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
            completed = subprocess.run(  # noqa: S603 - our own code
                [sys.executable, "-c", _RUN, str(folder)],
                cwd=Path(__file__).parent,
                env=environment,
                check=True,
                stdout=subprocess.PIPE,
            )
            with urllib.request.urlopen(url.replace("/v1", "/stats")) as response:  # noqa: S310 - loopback
                counts = json.load(response)
        finally:
            server.kill()
            server.wait()
    assert counts["requests"] == n + 1, "each post is sent once, plus one probe"
    # From the first post (after the probe) to the last reply.
    duration_s = counts["last_at"] - counts["second_at"]
    return {"n": n, "posts_per_s": n / duration_s, **json.loads(completed.stdout)}


def _corpus(folder: Path, n: int) -> None:
    """Write shards of posts that share 100 different images."""
    import pyarrow as pa
    from tests.teacher_corpus import noise_image, post, set_sample

    from postbias.paths import Paths
    from postbias.posts.schema import POSTS
    from postbias.posts.shards import write_table

    (folder / "rubrics").symlink_to(ROOT / "rubrics")
    paths = Paths(folder, folder)
    images = [_photo(noise_image(i, (40, 40))) for i in range(100)]
    for start in range(0, n, 1000):
        rows = [
            post(i, images=[{"bytes": images[i % 100], "path": f"{i}.jpg"}])
            for i in range(start, min(start + 1000, n))
        ]
        table = pa.Table.from_pylist(rows, schema=POSTS)
        write_table(table, paths.sampled_posts / f"{start:08}.parquet", POSTS)
    set_sample(paths, [f"p{i:05}" for i in range(n)])


def _photo(data: bytes) -> bytes:
    """Enlarge noise to the dimensions and file size of a photograph."""
    import io

    from PIL import Image

    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((640, 640), Image.Resampling.BICUBIC).save(buffer, "JPEG")
    return buffer.getvalue()


if __name__ == "__main__":
    main()
