"""Seconds and memory of the report and of the estimates by brand at 1.6 million scored posts.

    python benchmarks/report_scale.py [POSTS] [FOLDER]

Run it in a repository whose pipeline is up to date: it takes the champion, the reports and the
params of it, and writes synthetic posts, scores and 10,000 labels to FOLDER (default: a temporary
folder) unless it holds them. Scores are random: only time and memory mean something. Each figure is
measured in a separate process, beside one that only reads the same columns with pyarrow.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from memory import peak_rss_mb

from postbias.axes import BAND_NAMES
from postbias.params import load_params
from postbias.paths import Paths
from postbias.population.brands import load_and_estimate_brands
from postbias.posts.schema import (
    FRAME,
    POSTS,
    REJECTS,
    SAMPLE,
    SPLIT,
    labels_schema,
    scores_schema,
)
from postbias.posts.shards import SHARD_POSTS, list_shards, write_table
from postbias.report.findings import gather_findings, write_findings
from postbias.scoring.artifact import Artifact

N_POSTS, N_LABELS, N_AUTHORS = 1_600_000, 10_000, 38_000
_COPIED = ("params.yaml", "dvc.yaml", "brands", "rubrics", "ratings", "reports", "build/champion")
_FOLDS = np.array(["train", "train", "train", "valid", "calib", "test", "test"])
_TEXT = (
    "sunset beach love this dress new collection happy girls boss mother kitchen strong été "
    "plage j'adore cette robe nouvelle bonheur fille mère 夏天海滩 喜欢这条裙子 #ootd #fashion "
    "@auralane @velvetoak #nordpfad @someone https://example.com/x?utm=ig 🔥"
)
_WORDS = np.array(_TEXT.split(), dtype=object)


def write_corpus(base: Paths, paths: Paths, n_posts: int) -> None:
    """Write a repository with many scored posts.

    Args:
        base: A repository whose pipeline is up to date.
        paths: The repository to write.
        n_posts: Number of posts.
    """
    for name in _COPIED:
        source, target = base.root / name, paths.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, target)
    axes = [axis.name for axis in Artifact.open(paths.champion).manifest.axes]
    rng = np.random.default_rng(0)
    labelled = np.sort(rng.choice(n_posts, min(N_LABELS, n_posts), replace=False))
    image = pa.array([[{"bytes": _an_image(base), "path": "x.jpg"}]], POSTS.field("images").type)
    truths = []
    for number, start in enumerate(range(0, n_posts, SHARD_POSTS)):
        n = min(SHARD_POSTS, n_posts - start)
        lengths = np.minimum(rng.lognormal(np.log(14), 0.8, n).astype(int) + 1, 120)
        words = _WORDS[rng.integers(0, len(_WORDS), lengths.sum())]
        captions = [" ".join(part) for part in np.split(words, np.cumsum(lengths)[:-1])]
        days = rng.integers(0, 1000, n).astype("timedelta64[D]")
        shared: dict[str, object] = {
            "post_id": [str(10**18 + start + i) for i in range(n)],
            "author": [f"author{i}" for i in (rng.beta(0.6, 3, n) * N_AUTHORS).astype(int)],
            "sponsored": rng.random(n) < 0.2,
            "posted_at": pa.array(
                np.datetime64("2022-01-01", "us") + days, POSTS.field("posted_at").type
            ),
        }
        # Only one post in a hundred has an image: the report reads those of a few posts.
        has_image = pa.array(np.where(np.arange(n) % 100 == 0, 0, 1))
        images = pa.chunked_array([image, pa.array([[]], image.type)]).take(has_image)
        empty = dict.fromkeys(("likes", "comments", "media_type"), [None] * n)
        posts = shared | empty | {
            "caption": captions, "images": images.combine_chunks(),
            "platform": ["test"] * n, "source": ["benchmark"] * n,
        }  # fmt: skip
        name = f"{number:05d}.parquet"
        write_table(_table(posts, POSTS), paths.posts / name, POSTS)
        truth = rng.beta(2, 4, (n, len(axes))) * 10
        truths.append(truth)
        scores = dict(shared)
        student = (0.7 * truth + 1 + rng.normal(0, 0.8, truth.shape)).clip(0, 10)
        for axis, value in zip(axes, student.T, strict=True):
            scores |= {axis: value, f"{axis}_lo": value - 1.5, f"{axis}_hi": value + 1.5}
        scores |= {
            "band": np.array(BAND_NAMES)[np.digitize(scores[axes[0]], (3.5, 6.5))],
            "modalities": ["text"] * n, "n_images": [1] * n, "status": ["ok"] * n,
            "champion": ["0"] * n,
        }  # fmt: skip
        schema = scores_schema(axes)
        write_table(_table(scores, schema), paths.scores / name, schema)
    _write_labels(paths, axes, labelled, np.concatenate(truths)[labelled], rng)


def _write_labels(
    paths: Paths,
    axes: list[str],
    rows: np.ndarray,
    truth: np.ndarray,
    rng: np.random.Generator,
) -> None:
    shards = list_shards(paths.scores)
    identity = pa.concat_tables([pq.read_table(s, columns=["post_id", "author"]) for s in shards])
    write_table(identity.select(["post_id"]), paths.sample_frame, FRAME)
    n, n_posts = len(rows), identity.num_rows
    drawn = {name: identity[name].take(pa.array(rows)).combine_chunks() for name in FRAME.names}
    drawn["author"] = identity["author"].take(pa.array(rows)).combine_chunks()
    _, author = np.unique(drawn["author"].to_pylist(), return_inverse=True)
    sample = drawn | {
        "stratum": ["all"] * n, "group_size": [1] * n, "round": [1] * n,
        "probability": [n / n_posts] * n, "weight": [n_posts / n] * n,
    }  # fmt: skip
    write_table(_table(sample, SAMPLE), paths.sample, SAMPLE)
    folds = {"fold": _FOLDS[author % len(_FOLDS)], "round": [1] * n, "cluster": drawn["post_id"]}
    write_table(_table(drawn | folds, SPLIT), paths.split, SPLIT)
    labels = drawn | {
        "n_replies": [1] * n, "reason": ["because"] * n, "teacher": ["test"] * n,
        "rubric": ["gender_bias@0"] * n, "status": ["ok"] * n,
    }  # fmt: skip
    for axis, value in zip(axes, truth.T, strict=True):
        noisy = (value + rng.normal(0, 0.7, n)).clip(0, 10).round(1)
        labels |= {axis: noisy, f"{axis}_sd": [0.0] * n}
    schema = labels_schema(axes)
    write_table(_table(labels, schema), paths.labels, schema)
    for path in (paths.label_rejects, paths.score_rejects):
        write_table(REJECTS.empty_table(), path, REJECTS)


def _table(columns: dict[str, object], schema: pa.Schema) -> pa.Table:
    arrays = [pa.array(columns[field.name]).cast(field.type) for field in schema]
    return pa.table(arrays, schema=schema)


def _an_image(base: Paths) -> bytes:
    table = pq.ParquetFile(list_shards(base.posts)[0]).read_row_group(0, columns=["images"])
    return next(bytes(p[0]["bytes"]) for p in table["images"].to_pylist() if p and p[0]["bytes"])


def _report(paths: Paths) -> None:
    write_findings(gather_findings(paths, load_params(paths.params), {}), paths)


def _brands(paths: Paths) -> None:
    load_and_estimate_brands(paths, load_params(paths.params).report)


def _read(paths: Paths) -> None:
    for shard in list_shards(paths.scores):
        pq.read_table(shard)
    for shard in list_shards(paths.posts):
        pq.read_table(shard, columns=["post_id", "caption"])


_JOBS: dict[str, Callable[[Paths], None]] = {"read": _read, "brands": _brands, "report": _report}


def _measure(job: str, folder: Path) -> dict[str, float]:
    started = time.perf_counter()
    before = peak_rss_mb()
    _JOBS[job](Paths(folder, folder))
    return {
        "seconds": round(time.perf_counter() - started, 1),
        "imports_mb": round(before),
        "peak_mb": round(peak_rss_mb()),
    }


def main() -> None:
    """Write the corpus unless it exists, then run each job in a process of its own."""
    if sys.argv[1:] and sys.argv[1] in _JOBS:
        print(json.dumps(_measure(sys.argv[1], Path(sys.argv[2]))))
        return
    n_posts = int(sys.argv[1]) if len(sys.argv) > 1 else N_POSTS
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(sys.argv[2] if len(sys.argv) > 2 else scratch)
        if not (folder / "build/labels.parquet").is_file():
            write_corpus(Paths.find(), Paths(folder, folder), n_posts)
        found = {}
        for job in _JOBS:
            command = [sys.executable, __file__, job, str(folder)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
            found[job] = json.loads(done.stdout.splitlines()[-1])
            print(job, found[job], flush=True)
        ratio = found["report"]["seconds"] / found["read"]["seconds"]
        print(
            f"{n_posts:,} posts: the report takes {ratio:.0f} times as long as reading its columns"
        )


if __name__ == "__main__":
    main()
