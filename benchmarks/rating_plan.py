"""Plan ratings and labels from a simulated pilot, and compare with ratings alone.

The pilot is a study of `benchmarks/people_estimates.py` with 200 rated posts. A rating costs 0.25,
a label 0.002.

    python benchmarks/rating_plan.py
"""

from __future__ import annotations

import json

import numpy as np
from people_estimates import Study, draw_corpus

from postbias.stats.rating_plan import Costs, Goal, Quantity, find_cheapest_mix
from postbias.stats.variance_components import (
    GroupComponents,
    estimate_components,
    within_post_variance,
)


def main() -> None:
    """Print the cheapest mix for each half-width of the mean."""
    for teacher_noise in (1.0, 2.8):
        study = Study(teacher_noise=teacher_noise, n_ratings=200, is_stratified=False)
        _posts, pilot, ratings = draw_corpus(study, np.random.default_rng(0))
        noise = within_post_variance(ratings[pilot.is_rated])
        everything = np.ones(len(pilot.scores), bool)
        found = estimate_components(pilot, everything, noise=noise, raters=2)
        assert found is not None
        total = found.unexplained + found.by_labels + found.by_scores
        alone = GroupComponents(1.0, total, noise, 0.0, 0.0)
        for half_width in (0.3, 0.2, 0.15):
            row: dict[str, float] = {"teacher_noise": teacher_noise, "half_width": half_width}
            for name, components in (("mix", found), ("ratings_only", alone)):
                costs = Costs(rating=0.25, label=0.002 * (name == "mix"), n_posts=6000)
                goal = Goal(Quantity("mean", (components,)), half_width)
                mix = find_cheapest_mix([goal], costs, (1, 2))
                assert mix is not None
                row |= {f"{name}_rated": mix.rated, f"{name}_raters": mix.raters}
                row |= {f"{name}_cost": round(mix.cost, 1)}
                row |= {"labels": mix.labels} if name == "mix" else {}
            print(json.dumps(row))


if __name__ == "__main__":
    main()
