"""Simulate the recorded ratings of the demo, and the labels of two variants of its teacher.

    .venv/bin/python ratings/simulate.py

Writes `ratings/demo.csv`, `ratings/variant_reworded.csv` and `ratings/variant_other_model.csv`.
Needs the outputs of the pipeline: the posts are drawn as `postbias rate` draws them, with
`rating.n` of 240 and three raters. These are not ratings by people: they are made as
`postbias.demo.simulated_raters` says. The variant `reworded` sees the same truth with new noise;
`other_model` overlooks half of the bias of sponsored posts.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from postbias.demo.ground_truth import AXES, Bools, Floats, simulate_teacher
from postbias.demo.simulated_raters import RATERS, expected_ratings, simulate_ratings
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.people.rating_records import Outcome, Rating
from postbias.people.rating_sample import draw_rating_sample
from postbias.people.rating_table import write_ratings
from postbias.people.rating_tasks import list_tasks
from postbias.posts.shards import read_table
from postbias.teacher.rubric import load_rubric
from postbias.teacher.variant_labels import choose_posts

_N_POSTS = 240
_SECONDS = 9.0


def main() -> None:
    """Draw the posts, simulate three raters and write the file."""
    paths = Paths.find(Path(__file__).parent)
    params = load_params(paths.params)
    changes = {"n": _N_POSTS, "raters": len(RATERS), "include": None}
    params = params.model_copy(update={"rating": params.rating.model_copy(update=changes)})
    rubric = load_rubric(paths.root / params.annotate.rubric)
    items = draw_rating_sample(paths, params)
    truth = read_table(paths.data / "truth.parquet", columns=["post_id", *AXES, "sponsored"])
    place = {post_id: i for i, post_id in enumerate(truth["post_id"].to_pylist())}
    columns = {axis: truth[axis].to_numpy() for axis in AXES}
    is_sponsored = truth["sponsored"].to_numpy()
    expected = expected_ratings(columns, is_sponsored)
    ratings = []
    for slot, rater in enumerate(RATERS):
        rng = np.random.default_rng([params.seed, slot])
        tasks = list_tasks(items, rater.name, slot, params.rating.repeat_share)
        rows = np.array([place[task.post_id] for task in tasks])
        scores = simulate_ratings(rater, {axis: expected[axis][rows] for axis in AXES}, rng)
        seconds = rng.gamma(4, _SECONDS / 4, len(tasks))
        for i, task in enumerate(tasks):
            given = {axis: float(scores[axis][i]) for axis in AXES}
            is_rated = np.isfinite(given["bias"])
            ratings.append(
                Rating(
                    nonce=f"{slot}-{i}",
                    rater=rater.name,
                    task=task,
                    outcome=Outcome.RATED if is_rated else Outcome.CANNOT_TELL,
                    scores=given if is_rated else {},
                    note="",
                    seconds=float(round(seconds[i], 1)),
                    rubric=rubric.ref,
                    rated_at="",
                )
            )
    _write_variants(paths, params, truth["post_id"].to_pylist(), columns, is_sponsored)
    n = write_ratings(paths.root / "ratings" / "demo.csv", ratings, items, rubric.axes)
    print(f"{n} simulated answers written to ratings/demo.csv")  # noqa: T201 - a script


def _write_variants(
    paths: Paths, params: Params, ids: list[str], truth: Mapping[str, Floats], sponsored: Bools
) -> None:
    rubric = load_rubric(paths.root / params.annotate.rubric)
    chosen = set(choose_posts(paths, rubric, params))
    rows = [i for i, post_id in enumerate(ids) if post_id in chosen]
    shown = {axis: truth[axis][rows] for axis in AXES}
    overlooked = shown | {"bias": shown["bias"] * np.where(sponsored[rows], 0.5, 1.0)}
    for number, (name, seen) in enumerate({"reworded": shown, "other_model": overlooked}.items()):
        labels = simulate_teacher(seen, np.random.default_rng([params.seed, 100 + number]))
        path = paths.root / "ratings" / f"variant_{name}.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("post_id", *AXES))
            for k, i in enumerate(rows):
                writer.writerow((ids[i], *(f"{labels[axis][k]:g}" for axis in AXES)))


if __name__ == "__main__":
    main()
