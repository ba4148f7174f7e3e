"""Measure how often an inadequate teacher passes the alternative annotator test.

The null hypothesis is simulated at its boundary, where it is hardest to keep: the teacher's noise
is such that its share of posts is exactly the rater's minus epsilon, for every rater or for just so
many raters that the teacher should not pass. Prints the share of simulated studies that pass, and
the power for a teacher as good as the raters and for one with half their noise.

    python benchmarks/alternative_annotator.py [--replications 1000]
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass

import numpy as np

from postbias.stats.alternative_annotator import run_alternative_annotator_test
from postbias.stats.bootstrap import Array

EPSILON = 0.15


@dataclass(frozen=True)
class Study:
    """A study with one noise level per rater, whole scores, and posts of one author each or more.

    The null hypothesis holds for the raters with noise 1.2; the teacher beats noisier ones.
    """

    rater_noise: tuple[float, ...]
    n: int
    per_author: int = 1


STUDIES = {
    "2 raters, 50 posts": Study((1.2,) * 2, 50),
    "2 raters, 100 posts": Study((1.2,) * 2, 100),
    "3 raters, 50 posts": Study((1.2,) * 3, 50),
    "3 raters, 100 posts": Study((1.2,) * 3, 100),
    "5 raters, 50 posts": Study((1.2,) * 5, 50),
    "3 raters, one of them careless, 100 posts": Study((1.2, 1.2, 4.0), 100),
    "5 raters, two of them careless, 100 posts": Study((1.2, 1.2, 1.2, 4.0, 4.0), 100),
    "3 raters, 100 posts, five per author": Study((1.2,) * 3, 100, per_author=5),
}


def draw(
    study: Study, teacher_noise: float, rng: np.random.Generator
) -> tuple[Array, Array, list[str]]:
    """Draw ratings (n, J), labels (n,) and authors (n,).

    The teacher's errors on posts of one author are correlated.
    """
    author = np.arange(study.n) // study.per_author
    truth = rng.normal(5, 2, study.n)
    noise = rng.normal(0, study.rater_noise, (study.n, len(study.rater_noise)))
    shared = rng.normal(0, 1, study.n)[author] if study.per_author > 1 else np.zeros(study.n)
    own = rng.normal(0, 1, study.n)
    error = np.sqrt(0.5) * (shared + own) if study.per_author > 1 else own
    ratings, labels = np.round(truth[:, None] + noise), np.round(truth + teacher_noise * error)
    return ratings, labels, [str(a) for a in author]


def find_boundary_noise(study: Study, epsilon: float) -> float:
    """Find the teacher's noise at which its share of posts is the first rater's minus epsilon."""
    large = Study(study.rater_noise, 200_000, study.per_author)
    low, high = 0.3, 6.0
    for _step in range(14):
        middle = (low + high) / 2
        ratings, labels, _authors = draw(large, middle, np.random.default_rng(0))
        result = run_alternative_annotator_test(ratings, labels, epsilon=epsilon)
        assert result is not None
        first = result.comparisons[0]
        is_worse = first.rater_advantage - first.teacher_advantage > epsilon
        low, high = (low, middle) if is_worse else (middle, high)
    return (low + high) / 2


def measure_passing(study: Study, teacher_noise: float, replications: int) -> float:
    """Return the share of simulated studies in which the teacher passes."""
    passed = 0
    for seed in range(replications):
        ratings, labels, authors = draw(study, teacher_noise, np.random.default_rng(seed))
        result = run_alternative_annotator_test(ratings, labels, epsilon=EPSILON, authors=authors)
        assert result is not None
        passed += result.is_passed
    return passed / replications


def main() -> None:
    """Run all studies and print one JSON object per study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=1000)
    options = parser.parse_args()
    for name, study in STUDIES.items():
        boundary = find_boundary_noise(study, EPSILON)
        row = {
            "boundary_noise": round(boundary, 2),
            "false_acceptance": measure_passing(study, boundary, options.replications),
            "power_equal": measure_passing(study, 1.2, options.replications),
            "power_half_noise": measure_passing(study, 0.6, options.replications),
        }
        print(json.dumps({"study": name, **row}), flush=True)


if __name__ == "__main__":
    main()
