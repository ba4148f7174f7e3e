"""The alternative annotator test: may the teacher stand in for a human rater?

Calderon, Reichart and Dror (ACL 2025). Each rater is left out in turn. On each post, the teacher
and the left-out rater are compared by their root mean squared difference from the remaining
ratings; a tie counts for both. The teacher wins against a rater if it is significantly closer than
the rater minus epsilon, and passes if it wins against at least half of the raters.

With two raters, a single one remains, and there is no consensus to compare with: the test then asks
whether the teacher agrees with either rater about as often as the other rater does. The authors
recommend three or more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array

#: Cost-benefit penalty of the raters by their expertise, as recommended in the paper.
EPSILON_EXPERTS, EPSILON_SKILLED, EPSILON_CROWD = 0.2, 0.15, 0.1

#: False discovery rate of the wins.
FALSE_DISCOVERY_RATE = 0.05

#: Raters with fewer shared posts are not tested: the t-test needs about 30.
MIN_POSTS = 30

_PASSING_WINNING_RATE = 0.5
# A rater's distance is not smaller only because of rounding.
_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class RaterComparison:
    """Comparison of the teacher with one left-out rater.

    Attributes:
        rater: Column of the rater.
        n: Number of posts that it is based on.
        teacher_advantage: Share of posts where the teacher is at least as close to the remaining
            raters as the left-out rater is.
        rater_advantage: Share where the left-out rater is at least as close.
        p_value: One-sided, of the null hypothesis that the teacher's share is at most the rater's
            minus epsilon.
        is_won: Whether it is rejected, with the false discovery rate over all raters controlled.
    """

    rater: int
    n: int
    teacher_advantage: float
    rater_advantage: float
    p_value: float
    is_won: bool


@dataclass(frozen=True, slots=True)
class AlternativeAnnotatorTest:
    """Result of the test.

    Attributes:
        comparisons: One per rater with at least `MIN_POSTS` posts.
        winning_rate: Share of them that the teacher wins.
        advantage: Mean of `teacher_advantage`: the probability that the teacher is at least as good
            as a random rater on a random post.
        is_passed: Whether the winning rate is at least one half.
    """

    comparisons: tuple[RaterComparison, ...]
    winning_rate: float
    advantage: float
    is_passed: bool


def run_alternative_annotator_test(
    ratings: Array,
    labels: Array,
    *,
    epsilon: float,
    authors: Sequence[str] | None = None,
) -> AlternativeAnnotatorTest | None:
    """Run the alternative annotator test.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (n, J)
        labels: The teacher's label; NaN if missing. (n,)
        epsilon: Penalty of the raters, for example `EPSILON_SKILLED`: the higher, the more the
            teacher may lag behind.
        authors: Author of each post, for cluster-robust tests; by default, posts are independent,
            as in the paper. (n,)

    Returns:
        The result; `None` with fewer than two raters who share `MIN_POSTS` posts with others.

    Raises:
        ValueError: If epsilon is not in [0, 1).
    """
    if not 0 <= epsilon < 1:
        raise ValueError(
            f"epsilon is {epsilon}; it is a difference between two shares and must be in [0, 1): "
            f"use {EPSILON_CROWD} for crowd workers, {EPSILON_SKILLED} for trained raters, "
            f"{EPSILON_EXPERTS} for experts"
        )
    clusters = np.arange(len(labels))
    if authors is not None:
        clusters = np.unique(np.asarray(authors, dtype=object), return_inverse=True)[1]
    compared = []
    for rater in range(ratings.shape[1]):
        difference, teacher, own = _compare(ratings, labels, rater)
        rows = np.isfinite(difference)
        if np.count_nonzero(rows) >= MIN_POSTS:
            p_value = _p_value(difference[rows] - epsilon, clusters[rows])
            compared.append((rater, int(rows.sum()), teacher, own, p_value))
    if len(compared) < 2:
        return None
    is_won = _reject([p_value for *_others, p_value in compared])
    comparisons = tuple(
        RaterComparison(*row, won) for row, won in zip(compared, is_won, strict=True)
    )
    winning_rate = float(np.mean(is_won))
    return AlternativeAnnotatorTest(
        comparisons,
        winning_rate,
        float(np.mean([c.teacher_advantage for c in comparisons])),
        winning_rate >= _PASSING_WINNING_RATE,
    )


def _compare(ratings: Array, labels: Array, rater: int) -> tuple[Array, float, float]:
    """Compare the teacher with one rater.

    Returns:
        Whether the rater is at least as close as the teacher minus whether the teacher is, NaN if
        there is nothing to compare, (n,), and the shares of posts of the teacher and of the rater.
    """
    own, others = ratings[:, rater], np.delete(ratings, rater, axis=1)
    is_rated = np.isfinite(others)
    rows = np.isfinite(own) & np.isfinite(labels) & is_rated.any(axis=1)

    def distance(values: Array) -> Array:
        squares = np.where(is_rated, (values[:, None] - others) ** 2, 0.0)
        root: Array = np.sqrt(squares.sum(axis=1) / np.maximum(is_rated.sum(axis=1), 1))
        return root

    teacher, human = distance(np.where(rows, labels, 0)), distance(np.where(rows, own, 0))
    teacher_wins, human_wins = teacher <= human + _TOLERANCE, human <= teacher + _TOLERANCE
    difference = np.where(rows, human_wins.astype(np.float64) - teacher_wins, np.nan)
    if not rows.any():
        return difference, np.nan, np.nan
    return difference, float(teacher_wins[rows].mean()), float(human_wins[rows].mean())


def _p_value(values: Array, clusters: np.ndarray) -> float:
    """Return the p-value of a one-sided, cluster-robust t-test of a mean below 0."""
    from scipy.stats import t

    mean = float(values.mean())
    _names, index = np.unique(clusters, return_inverse=True)
    sums = np.bincount(index, values - mean)
    n_clusters = len(sums)
    if n_clusters < 2:
        return 1.0
    variance = n_clusters / (n_clusters - 1) * float(sums @ sums) / len(values) ** 2
    if variance <= np.finfo(np.float64).eps:  # the same outcome on every post
        return 0.0 if mean < 0 else 1.0
    return float(t.cdf(mean / np.sqrt(variance), n_clusters - 1))


def _reject(p_values: Sequence[float]) -> list[bool]:
    """Reject hypotheses with the procedure of Benjamini and Yekutieli (2001)."""
    from scipy.stats import false_discovery_control

    adjusted = false_discovery_control(p_values, method="by")
    return [bool(p <= FALSE_DISCOVERY_RATE) for p in adjusted]
