"""Measure time and memory of sampling from 1.6 million synthetic posts.

    python benchmarks/sample_scale.py [POSTS] [FOLDER]

Writes the posts to FOLDER (default: a temporary folder) unless it holds some, then samples them in
a separate process to measure its peak memory. Limits: 60 s and 2 GiB on 2 cores.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
from memory import peak_rss_mb

from postbias.params import SampleParams
from postbias.posts.sampling import sample_posts
from postbias.posts.schema import POSTS
from postbias.posts.shards import SHARD_POSTS, list_shards, write_table

POSTS_IN_ALL = 1_600_000
LIMIT_S, LIMIT_BYTES = 60, 2 * 2**30
LANGUAGES = (
    "sunset beach love this dress new collection happy girls boss mother kitchen strong",
    "été plage j'adore cette robe nouvelle collection bonheur fille mère cuisine forte",
    "夏天海滩喜欢这条裙子 新款 快乐 女孩 老板 妈妈 厨房 坚强",
    "лето пляж люблю это платье новая коллекция счастье девушка мама кухня",
    "#ootd #fashion 💃🏽 😍😍 ✨ @brand_official https://example.com/x?utm=ig sale!! 🔥",
)


def write_corpus(folder: Path, posts: int) -> None:
    """Write posts with captions of realistic length (median 120 characters, at most 2,200)."""
    rng = np.random.default_rng(0)
    words = np.array(" ".join(LANGUAGES).split(), dtype=object)
    image = {"bytes": bytes(200), "path": "x.jpg"}
    for start in range(0, posts, SHARD_POSTS):
        size = min(SHARD_POSTS, posts - start)
        lengths = np.minimum(rng.lognormal(np.log(18), 1, size).astype(int), 320)
        drawn = words[rng.integers(0, len(words), lengths.sum())]
        captions = [" ".join(part) for part in np.split(drawn, np.cumsum(lengths)[:-1])]
        rows = {
            "post_id": [f"{1309041812857818435 + start + i}" for i in range(size)],
            "author": [f"user{i}" for i in rng.integers(0, 38_113, size)],
            "caption": captions,
            "images": [[image] * int(n) for n in rng.choice([0, 1, 2], size, p=[0.01, 0.89, 0.1])],
            "sponsored": (rng.random(size) < 0.1385).tolist(),
            "platform": ["instagram"] * size,
            "source": [f"post_info.txt:{start + i}" for i in range(size)],
        }
        rows |= {name: [None] * size for name in POSTS.names if name not in rows}
        table = pa.table({name: rows[name] for name in POSTS.names}, schema=POSTS)
        write_table(table, folder / f"posts-{start // SHARD_POSTS:05d}.parquet", POSTS)


def measure(folder: Path) -> dict[str, float]:
    """Draw a stratified sample of 10,000 posts with at most three per author."""
    params = SampleParams(
        n=10_000,
        method="stratified",
        stratify_by=("sponsored", "has_image"),
        max_per_author=3,
        imports=1,
    )
    started = time.perf_counter()
    _, summary = sample_posts(list_shards(folder), params, seed=1)
    return {
        "posts": summary.posts,
        "sampled": summary.sampled,
        "seconds": round(time.perf_counter() - started, 1),
        "peak_rss_mib": round(peak_rss_mb()),
    }


def main() -> None:
    """Run the benchmark; exit with code 1 above the limits."""
    if sys.argv[1:2] == ["measure"]:
        sys.stdout.write(json.dumps(measure(Path(sys.argv[2]))))
        return
    posts = int(sys.argv[1]) if len(sys.argv) > 1 else POSTS_IN_ALL
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(temporary)
        if not any(folder.glob("*.parquet")):
            write_corpus(folder, posts)
        command = [sys.executable, __file__, "measure", str(folder)]
        result = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)  # noqa: S603 - our own file
    print(result)
    if result["seconds"] > LIMIT_S or result["peak_rss_mib"] * 2**20 > LIMIT_BYTES:
        sys.exit(f"above the limits: {LIMIT_S} s, {LIMIT_BYTES // 2**20} MiB")


if __name__ == "__main__":
    main()
