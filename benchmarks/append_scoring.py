"""Measure what scoring costs after an append, relative to scoring the whole corpus.

    python benchmarks/append_scoring.py [--posts 4000] [--share 0.01] [--threads 2]

Imports a table, scores its posts, appends `share` new posts together with all known ones, and
scores again: only the new shard is scored. Prints one JSON object; `append.ratio` is the second
time divided by the first.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from bulk_scoring import make_student, real_captions, real_jpegs

from postbias.posts.importers import append_posts, import_posts
from postbias.posts.shards import list_shards
from postbias.scoring.bulk import ScoreOutputs, score_shards
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import Scorer


def main() -> None:
    """Score a corpus before and after an append and print the ratio of the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=4000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    n_all = options.posts + round(options.posts * options.share)
    captions, files = real_captions(n_all), real_jpegs(n_all)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _, _, artifact = make_student(folder / "student", captions, files)
        for number, data in enumerate(files):
            (folder / f"{number}.jpg").write_bytes(data)
        data = folder / "data"
        import_posts("table", _write_table(folder / "a.jsonl", captions[: options.posts]), data)
        outputs = ScoreOutputs(folder / "scores", folder / "rejects", folder / "store")
        seconds, n_scored = [], []
        with Scorer(artifact, threads=options.threads) as scorer:
            for turn in range(2):
                if turn:
                    later = _write_table(folder / "b.jsonl", captions)
                    append_posts(
                        "table",
                        data,
                        lambda staging, src=later: import_posts(
                            "table", src, staging, replace=True
                        ),
                    )
                shards = list_shards(data / "posts")
                started = time.perf_counter()
                summary = score_shards(shards, scorer, outputs, batch_size=BATCH_SIZE)
                seconds.append(time.perf_counter() - started)
                n_scored.append(summary.computed)
    result = {
        "append.posts": n_scored[0],
        "append.new_posts": n_scored[1],
        "append.seconds": seconds,
        "append.ratio": seconds[1] / seconds[0],
    }
    print(json.dumps(result))


def _write_table(path: Path, captions: list[str]) -> Path:
    lines = (
        json.dumps({"post_id": f"p{n}", "caption": caption, "images": f"{n}.jpg"})
        for n, caption in enumerate(captions)
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
