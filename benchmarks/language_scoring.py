"""Measure what it costs to identify the language of captions, which intervals by language need.

The text student of the demo scores captions with and without such intervals, alternately in one
process, in batches of several sizes. Prints captions per second without and with, the ratio of wall
and of CPU time, and the CPU time that a caption takes more. Needs `make repro`.

    python -m benchmarks.language_scoring [--posts 1024] [--rounds 5] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import time
from dataclasses import replace
from pathlib import Path

from postbias.posts.shards import iter_posts, list_shards
from postbias.scoring.artifact import Artifact
from postbias.scoring.manifest import Interval
from postbias.scoring.scorer import PostInput, Scorer

_ROOT = Path(__file__).resolve().parents[1]
_BATCHES = (256, 16, 1)


def read_captions(count: int) -> list[str]:
    """Return captions of the demo, in eight languages."""
    found: list[str] = []
    for batch in iter_posts(list_shards(_ROOT / "data" / "posts"), ["caption"], 1024):
        found += [caption for caption in batch["caption"].to_pylist() if caption.strip()]
    return [found[row % len(found)] for row in range(count)]


def with_languages(artifact: Artifact) -> Artifact:
    """Return the student with intervals by language."""
    fitted = {code: Interval(-1, 1, 300) for code in ("en", "de", "other")}
    axes = {axis.name: {"image+text": fitted, "text": fitted} for axis in artifact.manifest.axes}
    return replace(artifact, manifest=replace(artifact.manifest, language_intervals=axes))


def measure(scorer: Scorer, posts: list[PostInput], batch: int) -> tuple[float, float]:
    """Score posts in batches; return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), time.process_time()
    for start in range(0, len(posts), batch):
        scorer.score(posts[start : start + batch])
    return time.perf_counter() - wall, time.process_time() - cpu


def main() -> None:
    """Print one line per size of batch."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--posts", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    captions = read_captions(options.posts)
    posts = [PostInput(caption) for caption in captions]
    artifact = Artifact.open(_ROOT / "build" / "students" / "text")
    started = time.perf_counter()
    with (
        Scorer(with_languages(artifact), threads=options.threads) as own,
        Scorer(artifact, threads=options.threads) as joint,
    ):
        print(f"both loaded in {time.perf_counter() - started:.1f} s")
        print("batch  captions/s without  with  wall time  CPU time  CPU ms more per caption")
        for batch in _BATCHES:
            pairs = [
                (measure(joint, posts, batch), measure(own, posts, batch))
                for _ in range(options.rounds)
            ]
            speeds = [len(posts) / statistics.median(pair[i][0] for pair in pairs) for i in (0, 1)]
            wall, cpu = (
                statistics.median(after[k] / before[k] for before, after in pairs) for k in (0, 1)
            )
            more = statistics.median(after[1] - before[1] for before, after in pairs) / len(posts)
            print(
                f"{batch:5d}  {speeds[0]:18.0f}  {speeds[1]:4.0f}  {wall:9.2f}  {cpu:8.2f}  "
                f"{1e3 * more:.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
