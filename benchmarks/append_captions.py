"""Measure what `infer` costs after an append to a large corpus of captions, with its start-up.

    python benchmarks/append_captions.py [--posts 400000] [--share 0.01]

The student is the tiny one of the tests, which scores as many captions per second as a real one on
several cores: so the fixed cost, and what grows with the corpus, have the largest possible share.
Each run of `infer` is a process of its own. Prints one JSON object: the seconds of scoring all
posts, of a run without new posts, and of one with a new shard of `share` posts; `append.ratio` is
the last divided by the first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from postbias.paths import Paths
from postbias.posts.schema import POSTS
from postbias.posts.shards import SHARD_POSTS, write_table
from postbias.scoring.artifact import write_artifact
from postbias.scoring.reference_profile import describe_answers, describe_content
from postbias.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parents[1]
_REFERENCE_POSTS = 200
_WORDS = (
    "good",
    "morning",
    "from",
    "the",
    "kitchen",
    "new",
    "recipe",
    "she",
    "he",
    "should",
    "always",
)
_RUN = """
import sys
from pathlib import Path
from postbias.params import load_params
from postbias.paths import Paths
from postbias.scoring.inference import infer

folder = Path(sys.argv[1])
print(infer(Paths(folder, folder), load_params(Path(sys.argv[2]))).summary.computed)
"""


def main() -> None:
    """Score a corpus, run again without and with new posts, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=400_000)
    parser.add_argument("--share", type=float, default=0.01)
    options = parser.parse_args()
    n_new = round(options.posts * options.share)
    with tempfile.TemporaryDirectory() as name:
        paths = Paths(Path(name), Path(name))
        for start in range(0, options.posts, SHARD_POSTS):
            _write_shard(paths.posts, start, min(SHARD_POSTS, options.posts - start))
        _write_student(paths)
        (all_s, n_all), (none_s, _) = _time_infer(paths), _time_infer(paths)
        _write_shard(paths.posts, options.posts, n_new)
        new_s, n_scored = _time_infer(paths)
    if (n_all, n_scored) != (options.posts, n_new):
        sys.exit(f"scored {n_all} and {n_scored} posts instead of {options.posts} and {n_new}")
    result = {
        "append.posts": n_all,
        "append.new_posts": n_scored,
        "append.seconds": all_s,
        "append.seconds_without_new_posts": none_s,
        "append.seconds_with_new_posts": new_s,
        "append.ratio": new_s / all_s,
    }
    print(json.dumps(result))


def _write_shard(folder: Path, start: int, n_posts: int) -> None:
    rng = np.random.default_rng(start)
    rows = [
        {"post_id": f"p{number:08d}", "author": f"u{number % 9973}", "platform": "benchmark",
         "source": "benchmark", "images": [],
         "caption": " ".join(rng.choice(_WORDS, rng.integers(5, 40)))}
        for number in range(start, start + n_posts)
    ]  # fmt: skip
    write_table(pa.Table.from_pylist(rows, POSTS), folder / f"{start:08d}.parquet", POSTS)


def _write_student(paths: Paths) -> None:
    """Write a student with a profile, so that drift is measured."""
    sys.path.insert(0, str(ROOT))
    from tests.tiny_artifact import write_tiny_artifact

    artifact = write_tiny_artifact(paths.champion, "text")
    ids = [f"p{number:08d}" for number in range(_REFERENCE_POSTS)]
    with Scorer(artifact, threads=2) as scorer:
        answers = describe_answers(scorer, paths.posts, ids)
    reference = {"content": describe_content(paths.posts, ids), "answers": answers}
    write_artifact(artifact.folder, dataclasses.replace(artifact.manifest, reference=reference))


def _time_infer(paths: Paths) -> tuple[float, int]:
    command = [sys.executable, "-c", _RUN, str(paths.root), str(ROOT / "params.yaml")]
    started = time.perf_counter()
    output = subprocess.run(  # noqa: S603 - a fixed command
        command, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return time.perf_counter() - started, int(output.split()[-1])


if __name__ == "__main__":
    main()
