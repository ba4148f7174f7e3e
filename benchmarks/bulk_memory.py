"""Measure the peak memory of `postbias score` on a small and a large corpus, in subprocesses.

Student and posts are those of `bulk_scoring`. Prints one JSON object.

    python benchmarks/bulk_memory.py [--few 2000] [--many 20000] [--image-every 1]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
from bulk_scoring import SHARED, make_student, real_captions
from photographs import draw_photographs

from postbias.posts.schema import POSTS
from postbias.posts.shards import write_table

HERE = Path(__file__).resolve().parent
_SHARD_POSTS = 2000

_RUN = """
import sys
from memory import peak_rss_mb
from postbias.cli import main

main(["score", *sys.argv[1:]], standalone_mode=False)
print(peak_rss_mb())
"""


def main() -> None:
    """Score both corpora and print the peak memory and its growth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--few", type=int, default=2000)
    parser.add_argument("--many", type=int, default=20_000)
    parser.add_argument(
        "--image-every", type=int, default=1, help="only every N-th post has an image"
    )
    options = parser.parse_args()
    captions, files = real_captions(2000), draw_photographs(_SHARD_POSTS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_student(folder / "student", captions, files)
        few, many = (
            peak_mb(folder, write_shards(folder / str(count), count, captions, files, options))
            for count in (options.few, options.many)
        )
    bulk = {"peak_rss_mb": round(max(few, many), 1), "rss_growth": round(many / few - 1, 3)}
    print(json.dumps({"bulk": bulk, "real": SHARED.is_dir()}, indent=2, sort_keys=True))


def write_shards(
    folder: Path, count: int, captions: list[str], files: list[bytes], options: argparse.Namespace
) -> Path:
    """Write shards of posts; every `image_every`-th post has one image."""
    for start in range(0, count, _SHARD_POSTS):
        rows = [
            {"post_id": f"{row:07d}", "author": str(row), "caption": captions[row % len(captions)],
             "platform": "bench", "source": "bench",
             "images": [{"bytes": files[row % len(files)], "path": None}]
             if row % options.image_every == 0 else []}
            for row in range(start, min(start + _SHARD_POSTS, count))
        ]  # fmt: skip
        write_table(pa.Table.from_pylist(rows, POSTS), folder / f"{start:07d}.parquet", POSTS)
    return folder


def peak_mb(folder: Path, posts: Path) -> float:
    """Run `postbias score` in a subprocess and return its peak memory in MiB."""
    arguments = [
        str(posts),
        str(folder / f"{posts.name}.parquet"),
        "--model",
        str(folder / "student"),
    ]
    process = subprocess.run(  # noqa: S603 - a fixed command
        [sys.executable, "-c", _RUN, *arguments], cwd=HERE, stdout=subprocess.PIPE, check=False
    )
    if process.returncode:
        sys.exit(f"postbias score exited with status {process.returncode}")
    return float(process.stdout.split()[-1])


if __name__ == "__main__":
    main()
