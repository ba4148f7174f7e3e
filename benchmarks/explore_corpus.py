"""Seconds and memory of exploring 1.6 million scored posts: opening, filtering, sorting, exporting.

    python benchmarks/explore_corpus.py [POSTS] [FOLDER]

Writes the corpus to FOLDER (default: a temporary folder) unless it holds one, then explores it in a
separate process to measure its memory.
Each selection is compared with one pass over the scores in pyarrow, in the same process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
from memory import peak_rss_mb

from postbias.app.corpus_exports import build_export, write_export
from postbias.app.corpus_query import PostFilter, PostOrder, describe_options, select_posts
from postbias.app.explored_corpus import find_corpus_files, load_explored_corpus
from postbias.axes import BAND_NAMES
from postbias.posts.schema import POSTS, scores_schema
from postbias.posts.shards import SHARD_POSTS, list_shards, read_table, write_table

N_POSTS = 1_600_000
_WORDS = np.array(
    ["she", "he", "boss", "kitchen", "strong", "sweet", "office", "#mumlife", "@brand"]
)
_AXES = ("bias", "orientation")
_SELECTIONS: dict[str, tuple[PostFilter, PostOrder]] = {
    "all, by score": (PostFilter(), PostOrder()),
    "high band": (PostFilter(bands=("high",)), PostOrder()),
    "score, month, sponsored, by width": (
        PostFilter(min_score=3, max_score=8, first_month="2023-03", sponsored=("no",)),
        PostOrder(by="uncertainty"),
    ),
    "all, newest": (PostFilter(), PostOrder(by="date")),
    "text in all captions": (PostFilter(text="KITCHEN"), PostOrder()),
}


def write_corpus(folder: Path, n_posts: int) -> None:
    """Write posts of about 100 characters without images, and random scores."""
    rng = np.random.default_rng(0)
    for number, start in enumerate(range(0, n_posts, SHARD_POSTS)):
        n = min(SHARD_POSTS, n_posts - start)
        ids = [f"{10**18 + start + i}" for i in range(n)]
        words = _WORDS[rng.integers(0, len(_WORDS), (n, 17))]
        days = rng.integers(0, 1000, n).astype("timedelta64[D]")
        shared = {
            "post_id": ids,
            "author": [f"author{i}" for i in rng.integers(0, 40_000, n)],
            "sponsored": rng.random(n) < 0.2,
            "posted_at": pa.array(
                np.datetime64("2022-01-01", "us") + days, POSTS.field("posted_at").type
            ),
        }
        posts = shared | {
            "caption": [" ".join(row) for row in words],
            "images": [[]] * n, "likes": [None] * n, "comments": [None] * n,
            "media_type": [None] * n, "platform": ["test"] * n, "source": ["benchmark"] * n,
        }  # fmt: skip
        name = f"{number:05d}.parquet"
        write_table(_table(posts, POSTS), folder / "posts" / name, POSTS)
        scores = dict(shared)
        for axis in _AXES:
            value = rng.beta(2, 4, n) * 10
            width = rng.uniform(0.5, 3, n)
            scores |= {axis: value, f"{axis}_lo": value - width, f"{axis}_hi": value + width}
        bands = np.digitize(scores["bias"], (3.5, 6.5))
        scores |= {
            "band": np.array(BAND_NAMES)[bands], "modalities": ["text"] * n,
            "n_images": [0] * n, "status": ["ok"] * n, "champion": ["0"] * n,
        }  # fmt: skip
        schema = scores_schema(_AXES)
        write_table(_table(scores, schema), folder / "scores" / name, schema)


def _table(columns: dict[str, object], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def _timed(function: Callable[[], object]) -> float:
    started = time.perf_counter()
    function()
    return round(time.perf_counter() - started, 3)


def measure(folder: Path) -> dict[str, object]:
    """Open a corpus and select posts."""
    process = psutil.Process()
    before = process.memory_info().rss
    started = time.perf_counter()
    corpus = load_explored_corpus(find_corpus_files("test", folder / "scores", folder / "posts"))
    options = _timed(lambda: describe_options(corpus))
    opened = time.perf_counter() - started
    seconds = {
        name: _timed(lambda chosen=chosen, order=order: select_posts(corpus, None, chosen, order))
        for name, (chosen, order) in _SELECTIONS.items()
    }
    rows = select_posts(corpus, None, PostFilter(bands=("high",)), PostOrder()).rows
    with TemporaryDirectory() as scratch:
        path = Path(scratch) / "high.csv"
        exported = _timed(lambda: write_export(build_export(corpus, rows), path))
    table = pa.concat_tables(
        [read_table(s, None, ["bias"]) for s in list_shards(folder / "scores")]
    )
    return {
        "posts": len(corpus),
        "open_s": round(opened, 1),
        "options_s": options,
        "memory_mb": round((process.memory_info().rss - before) / 2**20),
        "peak_memory_mb": round(peak_rss_mb()),
        "select_s": seconds,
        "one_pass_s": _timed(lambda: pc.sum(pc.greater(table["bias"], 5.0))),
        "export_csv": {"rows": len(rows), "seconds": exported},
    }


def main() -> None:
    """Generate a corpus unless the folder has one, and print the measurements."""
    n_posts = int(sys.argv[1]) if len(sys.argv) > 1 else N_POSTS
    with TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(scratch)
        if not (folder / "scores").is_dir():
            write_corpus(folder, n_posts)
        command = [sys.executable, __file__, "--measure", str(folder)]
        subprocess.run(command, check=True)  # noqa: S603 - this script


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(Path(sys.argv[2])), indent=2))
    else:
        main()
