"""Simulate the recorded ratings of the demo, `ratings/demo.csv`.

    .venv/bin/python ratings/simulate.py

Needs the outputs of the pipeline: the posts are drawn as `postbias rate` draws them, with
`rating.n` of 240 and three raters. These are not ratings by people: they are made as
`postbias.demo.simulated_raters` says.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from postbias.demo.ground_truth import AXES
from postbias.demo.simulated_raters import RATERS, expected_ratings, simulate_ratings
from postbias.params import load_params
from postbias.paths import Paths
from postbias.people.rating_records import Outcome, Rating
from postbias.people.rating_sample import draw_rating_sample
from postbias.people.rating_table import write_ratings
from postbias.people.rating_tasks import list_tasks
from postbias.posts.shards import read_table
from postbias.teacher.rubric import load_rubric

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
    expected = expected_ratings(columns, truth["sponsored"].to_numpy())
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
    n = write_ratings(paths.root / "ratings" / "demo.csv", ratings, items, rubric.axes)
    print(f"{n} simulated answers written to ratings/demo.csv")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
