"""The Ray engine against the local engine on one machine, start-up and end of both included.

Both score the same shards with the same student (ResNet-18 at 224 px and DistilBERT with random
weights, int8) on the same cores: opening the student, starting Ray and its workers, scoring,
writing the outputs, ending Ray. They take turns, so that a busy machine slows both, and their
outputs must be equal. Prints one JSON object; `ray.overhead` is what Ray takes more, as a share of
the local time.

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
from bulk_scoring import make_student, real_captions, real_jpegs, write_posts

from postbias.scoring.artifact import Artifact
from postbias.scoring.bulk import LocalBackend, ScoreOutputs, score_with_backend
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.ray_engine import RayBackend, RayClusterOptions
from postbias.scoring.scorer import Scorer

SHARD_POSTS = 2000


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    print(json.dumps(measure(options.posts, options.rounds, options.threads), indent=2))


def measure(posts: int, rounds: int, threads: int) -> dict[str, Any]:
    """Let both engines score the same posts in turns.

    Args:
        posts: How many.
        rounds: How often.
        threads: Cores of either engine.

    Returns:
        `ray.overhead`: the median over rounds; and the seconds of both.
    """
    torch.manual_seed(0)
    count = min(posts, SHARD_POSTS)
    captions, files = real_captions(count), real_jpegs(count)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        artifact = make_student(folder / "student", captions, files)[2]
        shards = []
        for number, start in enumerate(range(0, posts, count)):
            size = min(count, posts - start)
            # Turned a little each time: shards of the same bytes would be scored once.
            turned = [*captions[number:], *captions[:number]][:size]
            path = folder / "posts" / f"{number:05d}.parquet"
            shards.append(write_posts(path, turned, files[:size]))
        seconds: dict[str, list[float]] = {"local": [], "ray": []}
        for turn in range(rounds):
            digests = set()
            runs: dict[str, Callable[[ScoreOutputs], None]] = {
                "local": lambda to: _local(shards, artifact, threads, to),
                "ray": lambda to: _ray(shards, artifact, threads, to),
            }
            for engine, run in runs.items():
                root = folder / f"{engine}{turn}"
                started = time.perf_counter()
                run(ScoreOutputs(root / "scores", root / "rejects", root / "store"))
                seconds[engine].append(time.perf_counter() - started)
                digests.add(_digest(root / "scores"))
            assert len(digests) == 1, "the engines disagree"
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


def _local(shards: list[Path], artifact: Artifact, threads: int, to: ScoreOutputs) -> None:
    with Scorer.open(artifact.folder, threads=threads) as scorer:
        score_with_backend(shards, LocalBackend(scorer, batch_size=BATCH_SIZE), to)


def _ray(shards: list[Path], artifact: Artifact, threads: int, to: ScoreOutputs) -> None:
    student = Artifact.open(artifact.folder)
    score_with_backend(
        shards, RayBackend(student, RayClusterOptions(threads=threads), batch_size=BATCH_SIZE), to
    )


def _digest(folder: Path) -> str:
    files = b"".join(path.read_bytes() for path in sorted(folder.iterdir()))
    return hashlib.sha256(files).hexdigest()


if __name__ == "__main__":
    main()
