"""Split conformal prediction intervals, calibrated per group of modalities."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypedDict

import numpy as np

from postbias.stats.bootstrap import Array, Resamples

logger = logging.getLogger(__name__)

# Sums of post weights such as 1/3 + 1/3 + 1/3 differ from 1 by rounding.
_TOLERANCE = 1e-6

#: Groups of modalities that a score can be computed from; see `modalities` in the scores.
MODALITY_GROUPS = ("image+text", "text", "image")

#: A group with fewer posts uses the quantiles of all groups together: with 50 posts, the
#: actual coverage of nominal 90% intervals is within 8 points in 95% of cases; with 20, within 13.
MIN_GROUP_POSTS = 50


class Offsets(TypedDict):
    """Limits of a prediction interval relative to the score.

    Attributes:
        lo: Offset of the lower limit; usually negative.
        hi: Offset of the upper limit.
        n: Number of posts used; that of all groups if the group itself had too few.
    """

    lo: float
    hi: float
    n: int


def fit_intervals(
    residuals: Array,
    groups: Sequence[str],
    coverage: float,
    *,
    span: float,
    posts: Sequence[str] | None = None,
) -> dict[str, Offsets]:
    """Fit the offsets of prediction intervals for each group of modalities.

    Groups are fitted separately, because a score from a caption alone is less certain than one from
    caption and image; each side has its own quantile, because errors on a bounded scale are skewed.

    Args:
        residuals: Label minus shipped score (int8, clipped to the axis) of each calib post: the
            residuals of any other scores would give the coverage of another model. (n,)
        groups: Group of modalities of each residual. (n,)
        coverage: Nominal coverage, for example 0.9.
        span: Width of the axis, high minus low: the maximum of each offset, and its value if there
            are too few posts (fewer than 19 for 90%) for a narrower one.
        posts: Post of each residual, at most once per group; by default all are different posts.
            Where groups are pooled, the residuals of a post share the weight of one post. (n,)

    Returns:
        Offsets for each of `MODALITY_GROUPS`, including those without a calib post.
    """
    group_of = np.asarray(groups, dtype=object)
    pooled = fit_offsets(residuals, _post_weights(posts, len(residuals)), coverage, span)
    if pooled["n"] < MIN_GROUP_POSTS:
        logger.warning(
            "prediction intervals are fitted on only %d calib posts; increase split.shares.calib",
            pooled["n"],
        )
    fitted: dict[str, Offsets] = {}
    for group in MODALITY_GROUPS:
        rows = group_of == group
        n = int(np.count_nonzero(rows))
        if n >= MIN_GROUP_POSTS:
            fitted[group] = fit_offsets(residuals[rows], np.ones(n), coverage, span)
            continue
        if n:
            logger.info("only %d calib posts with %s: using the intervals of all posts", n, group)
        fitted[group] = pooled
    return fitted


def resample_intervals(
    residuals: Array,
    groups: Sequence[str],
    coverage: float,
    *,
    span: float,
    resamples: Resamples,
    posts: Sequence[str] | None = None,
) -> dict[str, Array]:
    """Fit the offsets on the data and on every bootstrap resample; see `fit_intervals`.

    Args:
        residuals: Label minus score of each calib post. (n,)
        groups: Group of modalities of each residual. (n,)
        coverage: Nominal coverage.
        span: Width of the axis.
        resamples: Resamples of the authors of these residuals.
        posts: Post of each residual; by default all are different posts. (n,)

    Returns:
        Lower and upper offset per replicate, for each of `MODALITY_GROUPS`. (1 + R, 2)
    """
    group_of = np.asarray(groups, dtype=object)
    weights = _post_weights(posts, len(residuals))
    pooled = resample_offsets(residuals, weights, coverage, span, resamples)
    offsets = {}
    for group in MODALITY_GROUPS:
        rows = group_of == group
        n = np.count_nonzero(rows)
        offsets[group] = pooled
        if n >= MIN_GROUP_POSTS:
            members = Resamples(resamples.authors[rows], resamples.counts)
            offsets[group] = resample_offsets(residuals[rows], np.ones(n), coverage, span, members)
    return offsets


def _post_weights(posts: Sequence[str] | None, n: int) -> Array:
    """Return the weight of each residual: 1 / number of residuals of its post."""
    if posts is None:
        return np.ones(n)
    _, index, counts = np.unique(
        np.asarray(posts, dtype=object), return_inverse=True, return_counts=True
    )
    weights: Array = 1 / counts[index]
    return weights


def resample_offsets(
    residuals: Array, weights: Array, coverage: float, span: float, resamples: Resamples
) -> Array:
    """Fit the offsets of one group on the data and on every resample; see `fit_offsets`.

    Args:
        resamples: Resamples of the authors of these residuals.

    Returns:
        Lower and upper offset per replicate. (1 + R, 2)
    """
    offsets = np.tile(np.array([-span, span], np.float64), (len(resamples.counts), 1))
    if not len(residuals):
        return offsets
    order = np.argsort(residuals)
    ascending, authors, weights = residuals[order], resamples.authors[order], weights[order]
    tail, start = (1 - coverage) / 2, 0
    for counts in resamples.iter_chunks():
        weight = counts[:, authors] * weights  # (c, n)
        upto = np.cumsum(weight, axis=1)
        n = np.round(upto[:, -1])  # posts, with repetitions
        rank = np.floor(tail * (n + 1) + 1e-9)
        # At most rank - 1 posts have residuals outside the interval, on either side.
        is_below = upto - weight <= rank[:, None] - 1 + _TOLERANCE
        is_above = (n[:, None] - upto) <= rank[:, None] - 1 + _TOLERANCE
        ends = np.count_nonzero(is_below, axis=1) - 1, np.argmax(is_above, axis=1)
        is_enough = n >= min_calibration_posts(coverage)
        rows = start + np.flatnonzero(is_enough)
        for end, position in enumerate(ends):
            offsets[rows, end] = np.clip(ascending[position], -span, span)[is_enough]
        start += len(counts)
    return offsets


def fit_offsets(residuals: Array, weights: Array, coverage: float, span: float) -> Offsets:
    """Fit the offsets of one group: the finite-sample corrected quantiles of its residuals.

    Args:
        residuals: Label minus score. (n,)
        weights: Weight of each residual; those of a post add up to 1. (n,)
        coverage: Nominal coverage.
        span: Width of the axis.
    """
    from crepes import ConformalPredictiveSystem

    n = round(float(weights.sum()))
    if n < min_calibration_posts(coverage):
        return {"lo": -span, "hi": span, "n": n}
    if n < len(residuals):  # crepes has no weights
        once = Resamples(np.zeros(len(residuals), np.intp), np.ones((1, 1), np.uint16))
        lo, hi = resample_offsets(residuals, weights, coverage, span, once)[0]
        return {"lo": float(lo), "hi": float(hi), "n": n}
    system = ConformalPredictiveSystem().fit(np.asarray(residuals, np.float64))
    # Not `predict_int`: it computes 4.999999999999999% for 5% and takes the next outer residual.
    tail = 50 * (1 - coverage) + 1e-9
    lo, hi = system.predict_percentiles(
        np.zeros(1), lower_percentiles=tail, higher_percentiles=100 - tail, y_min=-span, y_max=span
    )[0]
    return {"lo": float(lo), "hi": float(hi), "n": n}


def min_calibration_posts(coverage: float) -> int:
    """Return the minimum number of residuals for an interval of the given nominal coverage.

    With fewer, the finite-sample corrected quantiles lie outside the range of the residuals.
    """
    return int(np.ceil(2 / (1 - coverage) - 1 - 1e-9))
