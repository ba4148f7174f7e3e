"""Do raters agree with each other and with themselves, and teacher and student with them?

All coefficients are computed for one axis, on the same bootstrap resamples of authors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from postbias.axes import Axis
from postbias.people.rated_posts import RatedPosts
from postbias.stats.agreement import (
    intraclass_correlation,
    krippendorff_alpha,
    weighted_kappa,
)
from postbias.stats.alternative_annotator import run_alternative_annotator_test
from postbias.stats.bootstrap import (
    Array,
    Resamples,
    resample_authors,
    summarize_replicates,
)
from postbias.stats.metrics import resampled_mean
from postbias.stats.rater_statistics import (
    compare_raters,
    compare_repeated_ratings,
    pearson_correlation,
)

Json = dict[str, Any]

#: Krippendorff (2004), p. 241: reliable from .800 on, tentative conclusions from .667 on.
RELIABLE, TENTATIVE = 0.8, 0.667


@dataclass(frozen=True, slots=True)
class PairedRatings:
    """Two raters, or groups of raters, of the same posts.

    Attributes:
        one: Ratings of the first; NaN if missing. (n,)
        two: Ratings of the second. (n,)
    """

    one: Array
    two: Array


def describe_agreement(
    posts: RatedPosts, axis: Axis, replications: int, rng: np.random.Generator
) -> Json:
    """Describe the agreement on one axis.

    Args:
        posts: The rated posts.
        axis: The axis.
        replications: Bootstrap replications.

    Returns:
        `people` (alpha, ICC, kappa), `raters` (each rater's bias and consistency), `retest` (each
        rater against their own earlier ratings), and `pairs` (teacher and student against the mean
        of the raters, and against each other); all with 95% intervals.
    """
    resamples = resample_authors(posts.authors, replications, rng)
    ratings, repeats = posts.ratings[axis.name], posts.repeats[axis.name]
    icc = intraclass_correlation(ratings, resamples)
    n_ratings = np.isfinite(ratings).sum(axis=1)
    mean = _mean_rating(ratings)
    label, score = posts.labels[axis.name], posts.scores[axis.name]
    one_rater = _one_rater_per_post(ratings, rng)
    return {
        "people": {
            "posts": int((n_ratings > 0).sum()),
            "shared": int((n_ratings > 1).sum()),
            "raters": len(posts.raters),
            "alpha": _estimate(krippendorff_alpha(ratings, resamples)),
            "icc_single": _estimate(icc.single),
            "icc_mean": _estimate(icc.mean),
            "ratings_per_post": float(icc.k[0]) if np.isfinite(icc.k[0]) else None,
            "kappa": _estimate(weighted_kappa(ratings, axis, resamples)),
        },
        "raters": {
            rater: {
                "posts": statistics.n,
                "bias": _estimate(statistics.bias),
                "consistency": _estimate(statistics.consistency),
                "distance": _estimate(statistics.distance),
            }
            for rater, statistics in zip(
                posts.raters, compare_raters(ratings, resamples), strict=True
            )
        },
        "retest": _describe_retest(ratings, repeats, posts, replications, rng),
        "pairs": {
            name: describe_pair(pair, axis, resamples)
            for name, pair in {
                "teacher_people": PairedRatings(label, mean),
                "student_people": PairedRatings(score, mean),
                "student_teacher": PairedRatings(score, label),
                "person_people": PairedRatings(*one_rater),
            }.items()
        },
    }


def examine_replacement(posts: RatedPosts, axis: Axis, epsilon: float) -> Json:
    """Test whether the teacher may stand in for one of the raters on one axis.

    Args:
        posts: The rated posts.
        axis: The axis.
        epsilon: How far the teacher may lag behind a rater; see
            `postbias.stats.alternative_annotator`.

    Returns:
        `passed`, null with too few ratings; `winning_rate`, `advantage`, and each rater's p-value.
    """
    result = run_alternative_annotator_test(
        posts.ratings[axis.name], posts.labels[axis.name], epsilon=epsilon, authors=posts.authors
    )
    if result is None:
        return {"passed": None, "winning_rate": None, "advantage": None, "raters": {}}
    return {
        "passed": result.is_passed,
        "winning_rate": result.winning_rate,
        "advantage": result.advantage,
        "raters": {
            posts.raters[one.rater]: {"posts": one.n, "p_value": one.p_value, "won": one.is_won}
            for one in result.comparisons
        },
    }


def judge_alpha(alpha: float | None) -> str:
    """Say in one word what Krippendorff's alpha permits.

    Returns:
        `unknown`, `reliable`, `tentative` or `unreliable`.
    """
    if alpha is None:
        return "unknown"
    if alpha >= RELIABLE:
        return "reliable"
    return "tentative" if alpha >= TENTATIVE else "unreliable"


def find_disagreements(posts: RatedPosts, axis: Axis, n: int) -> list[Json]:
    """Find the posts on which people differ most from each other, and then from the teacher.

    Args:
        posts: The rated posts.
        axis: The axis.
        n: Maximum number of posts of each kind.

    Returns:
        Per post: `post_id`, `kind` (`people` or `teacher`), `ratings` by rater, `label` and
        `score`.
    """
    ratings, label = posts.ratings[axis.name], posts.labels[axis.name]
    n_ratings = np.isfinite(ratings).sum(axis=1)
    filled = np.where(np.isfinite(ratings), ratings, np.nan)
    spread = np.where(
        n_ratings > 1, np.nan_to_num(filled, nan=-np.inf).max(axis=1) - _minimum(filled), -np.inf
    )
    gap = np.abs(label - _mean_rating(ratings))
    found = []
    for kind, size in (("people", spread), ("teacher", np.where(np.isfinite(gap), gap, -np.inf))):
        for row in np.argsort(-size, kind="stable")[:n]:
            if size[row] <= 0:
                continue
            given = zip(posts.raters, ratings[row], strict=True)
            found.append(
                {
                    "post_id": posts.items[row].post_id,
                    "kind": kind,
                    "ratings": {rater: float(x) for rater, x in given if np.isfinite(x)},
                    "label": float(label[row]) if np.isfinite(label[row]) else None,
                    "score": float(posts.scores[axis.name][row]),
                }
            )
    return found


def _minimum(ratings: Array) -> Array:
    return np.asarray(np.nan_to_num(ratings, nan=np.inf).min(axis=1))


def _describe_retest(
    ratings: Array,
    repeats: Array,
    posts: RatedPosts,
    replications: int,
    rng: np.random.Generator,
) -> Json | None:
    """Compare all repeated ratings with the first ones; None if there are none."""
    at, by = np.nonzero(np.isfinite(ratings) & np.isfinite(repeats))
    if not len(at):
        return None
    resamples = resample_authors([posts.authors[i] for i in at], replications, rng)
    retest = compare_repeated_ratings(ratings[at, by], repeats[at, by], resamples)
    return {
        "n": retest.n,
        "shift": _estimate(retest.shift),
        "distance": _estimate(retest.distance),
        "error_sd": _estimate(retest.error_sd),
        "reliability": _estimate(retest.reliability),
    }


def describe_pair(pair: PairedRatings, axis: Axis, resamples: Resamples) -> Json:
    """Describe how far two raters agree on the posts that both rated.

    Args:
        pair: Their ratings.
        axis: The axis.
        resamples: Resamples of the authors of these posts.

    Returns:
        `n`, and with 95% intervals `bias` (the first minus the second), `mae`, `correlation`,
        `alpha` and `kappa`.
    """
    difference = pair.one - pair.two
    both = np.stack([pair.one, pair.two], axis=1)
    return {
        "n": int(np.isfinite(difference).sum()),
        "bias": _estimate(resampled_mean(difference, resamples)),
        "mae": _estimate(resampled_mean(np.abs(difference), resamples)),
        "correlation": _estimate(pearson_correlation(pair.one, pair.two, resamples)),
        "alpha": _estimate(krippendorff_alpha(both, resamples)),
        "kappa": _estimate(weighted_kappa(both, axis, resamples)),
    }


def _one_rater_per_post(ratings: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Return one rater's rating of each post, drawn at random, and the mean of the others."""
    keys = np.where(np.isfinite(ratings), rng.random(ratings.shape), -1.0)
    chosen = keys.argmax(axis=1)
    rows = np.arange(len(ratings))
    others = ratings.copy()
    others[rows, chosen] = np.nan
    return ratings[rows, chosen], _mean_rating(others)


def _mean_rating(ratings: Array) -> Array:
    n = np.isfinite(ratings).sum(axis=1)
    total = np.nansum(ratings, axis=1)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _estimate(replicates: Array) -> Json:
    return summarize_replicates(replicates).as_dict()
