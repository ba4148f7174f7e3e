"""Measure what the stage `infer` costs after an append, relative to scoring the whole corpus.

    python benchmarks/append_scoring.py [--posts 4000] [--share 0.01] [--threads 2]

Imports a table, runs `infer` (scores and drift), appends `share` new posts together with all known
ones, and runs `infer` again: only the new shard is scored, and of the posts that drift is measured
on only new ones are profiled. Prints one JSON object; `append.ratio` is the second time divided by
the first, and `append.report_is_that_of_a_new_store` tells whether `reports/infer.json` equals that
of a run without the results of the first.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from pathlib import Path

import torch
from bulk_scoring import make_student, real_captions
from photographs import draw_photographs

from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.posts.importers import append_posts, import_posts
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.inference import infer
from postbias.scoring.reference_profile import describe_answers, describe_content
from postbias.scoring.scorer import Scorer

ROOT = Path(__file__).resolve().parents[1]
_REFERENCE_POSTS = 200


def main() -> None:
    """Run `infer` before and after an append and print the ratio of the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=4000)
    parser.add_argument("--share", type=float, default=0.01)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.manual_seed(0)
    params = load_params(ROOT / "params.yaml").model_copy(update={"threads": options.threads})
    n_all = options.posts + round(options.posts * options.share)
    captions, files = real_captions(n_all), draw_photographs(n_all)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        paths = Paths(folder, folder)
        _, _, artifact = make_student(paths.champion, captions, files)
        for number, data in enumerate(files):
            (folder / f"{number}.jpg").write_bytes(data)
        first = _write_table(folder / "a.jsonl", captions[: options.posts])
        import_posts("table", first, paths.data)
        _add_reference(artifact, paths, options.threads)
        seconds, n_scored = [0.0, 0.0], [0, 0]
        seconds[0], n_scored[0] = _time_infer(paths, params)
        later = _write_table(folder / "b.jsonl", captions)
        append_posts(
            "table",
            paths.data,
            lambda staging: import_posts("table", later, staging, replace=True),
        )
        seconds[1], n_scored[1] = _time_infer(paths, params)
        report = (paths.reports / "infer.json").read_bytes()
        infer(Paths(folder, folder / "new"), params)
        result = {
            "append.posts": n_scored[0],
            "append.new_posts": n_scored[1],
            "append.seconds": seconds,
            "append.ratio": seconds[1] / seconds[0],
            "append.report_is_that_of_a_new_store": report
            == (paths.reports / "infer.json").read_bytes(),
        }
    print(json.dumps(result))


def _add_reference(artifact: Artifact, paths: Paths, threads: int) -> None:
    """Give the student a profile, so that drift is measured."""
    ids = sorted(f"p{number}" for number in range(_REFERENCE_POSTS))
    with Scorer(artifact, threads=threads) as scorer:
        answers = describe_answers(scorer, paths.posts, ids)
    reference = {"content": describe_content(paths.posts, ids), "answers": answers}
    write_artifact(artifact.folder, dataclasses.replace(artifact.manifest, reference=reference))


def _time_infer(paths: Paths, params: Params) -> tuple[float, int]:
    started = time.perf_counter()
    found = infer(paths, params)
    return time.perf_counter() - started, found.summary.computed


def _write_table(path: Path, captions: list[str]) -> Path:
    lines = (
        json.dumps({"post_id": f"p{n}", "caption": caption, "images": f"{n}.jpg"})
        for n, caption in enumerate(captions)
    )
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


if __name__ == "__main__":
    main()
