"""Measure the overhead of the Ray execution backend over the local one on one machine.

Both score the same shards with the student of `bulk_scoring` on the same cores, and their outputs
must be identical. The times include loading the student, and starting and stopping Ray. The two
alternate, so that load from other processes affects both. Prints one JSON object; `ray.overhead` is
the additional time as a fraction of the local time.

    python benchmarks/ray_overhead.py [--posts 20000] [--rounds 1] [--threads 2]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from bulk_scoring import make_student, real_captions, write_posts
from photographs import draw_photographs

from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import LocalBackend, ScoreOutputs, score_with_backend
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.ray_engine import RayBackend, RayClusterOptions
from postbias.scoring.scorer import Scorer

SHARD_POSTS = 2000


def main() -> None:
    """Run the benchmark and print the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.posts, options.rounds, options.threads), indent=2))


def measure(posts: int, rounds: int, threads: int) -> dict[str, Any]:
    """Score the same posts with both execution backends alternately.

    Args:
        posts: Number of posts.
        rounds: Number of runs of each backend.
        threads: Number of cores of each backend.

    Returns:
        Under `ray`: medians over the rounds of the overhead and of both times in seconds, and the
        number of posts. Under `threads`: the number of cores.
    """
    torch.manual_seed(0)
    count = min(posts, SHARD_POSTS)
    captions, files = real_captions(count), draw_photographs(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = make_student(folder / "student", captions, files)[2]
        shards = []
        for number, start in enumerate(range(0, posts, count)):
            size = min(count, posts - start)
            # Rotate the captions: shards with identical bytes would be scored only once.
            rotated = [*captions[number:], *captions[:number]][:size]
            path = folder / "posts" / f"{number:05d}.parquet"
            shards.append(write_posts(path, rotated, files[:size]))
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for turn in range(rounds):
            digests = set()
            runs: dict[str, Callable[[ScoreOutputs], None]] = {
                "local": lambda outputs: _score_locally(shards, artifact, threads, outputs),
                "ray": lambda outputs: _score_on_ray(shards, artifact, threads, outputs),
            }
            for backend, run in runs.items():
                root = folder / f"{backend}{turn}"
                started = time.perf_counter()
                run(ScoreOutputs(root / "scores", root / "rejects", root / "store"))
                seconds[backend].append(time.perf_counter() - started)
                digests.add(_digest(root / "scores"))
            assert len(digests) == 1, "the execution backends wrote different scores"
    overheads = [r / s - 1 for r, s in zip(seconds["ray"], seconds["local"], strict=True)]
    return {
        "ray": {
            "overhead": round(statistics.median(overheads), 3),
            "local_s": round(statistics.median(seconds["local"]), 1),
            "ray_s": round(statistics.median(seconds["ray"]), 1),
            "posts": posts,
        },
        "threads": threads,
    }


def _score_locally(
    shards: list[Path], artifact: Artifact, threads: int, outputs: ScoreOutputs
) -> None:
    with Scorer.open(artifact.folder, threads=threads) as scorer:
        score_with_backend(shards, LocalBackend(scorer, batch_size=BATCH_SIZE), outputs)


def _score_on_ray(
    shards: list[Path], artifact: Artifact, threads: int, outputs: ScoreOutputs
) -> None:
    student = Artifact.open(artifact.folder)
    score_with_backend(
        shards,
        RayBackend(student, RayClusterOptions(threads=threads), batch_size=BATCH_SIZE),
        outputs,
    )


def _digest(folder: Path) -> str:
    files = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    return hashlib.sha256(files).hexdigest()


if __name__ == "__main__":
    main()
