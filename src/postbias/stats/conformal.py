"""Split conformal prediction intervals, calibrated per group of modalities."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array, Resamples

logger = logging.getLogger(__name__)

#: Groups of modalities that a score can be computed from; see `modalities` in the scores.
MODALITY_GROUPS = ("image+text", "text", "image")

#: A group with fewer residuals uses the quantiles of all groups together: with 50 residuals, the
#: actual coverage of nominal 90% intervals is within 8 points in 95% of cases; with 20, within 13.
MIN_GROUP_POSTS = 50


class Offsets(TypedDict):
    """Limits of a prediction interval relative to the score.

    Attributes:
        lo: Offset of the lower limit; usually negative.
        hi: Offset of the upper limit.
        n: Number of residuals used; that of all groups if the group itself was too small.
    """

    lo: float
    hi: float
    n: int


def fit_intervals(
    residuals: Array, groups: Sequence[str], coverage: float, *, span: float
) -> dict[str, Offsets]:
    """Fit the offsets of prediction intervals for each group of modalities.

    Groups are fitted separately, because a score from a caption alone is less certain than one from
    caption and image; each side has its own quantile, because errors on a bounded scale are skewed.

    Args:
        residuals: Label minus shipped score (int8, clipped to the axis) of each calib post: the
            residuals of any other scores would give the coverage of another model. (n,)
        groups: Group of modalities of each post. (n,)
        coverage: Nominal coverage, for example 0.9.
        span: Width of the axis, high minus low: the maximum of each offset, and its value if there
            are too few residuals (fewer than 19 for 90%) for a narrower one.

    Returns:
        Offsets for each of `MODALITY_GROUPS`, including those without a calib post.
    """
    group_of = np.asarray(groups, dtype=object)
    pooled = _conformal_offsets(residuals, coverage, span)
    if pooled["n"] < MIN_GROUP_POSTS:
        logger.warning(
            "prediction intervals are fitted on only %d calib posts; increase split.shares.calib",
            pooled["n"],
        )
    fitted: dict[str, Offsets] = {}
    for group in MODALITY_GROUPS:
        n = int(np.count_nonzero(group_of == group))
        if n >= MIN_GROUP_POSTS:
            fitted[group] = _conformal_offsets(residuals[group_of == group], coverage, span)
            continue
        if n:
            logger.info("only %d calib posts with %s: using the intervals of all posts", n, group)
        fitted[group] = pooled
    return fitted


def resample_intervals(
    residuals: Array, groups: Sequence[str], coverage: float, *, span: float, resamples: Resamples
) -> dict[str, Array]:
    """Fit the offsets on the data and on every bootstrap resample.

    Args:
        residuals: Label minus score of each calib post. (n,)
        groups: Group of modalities of each post. (n,)
        coverage: Nominal coverage.
        span: Width of the axis.
        resamples: Resamples of the authors of these posts.

    Returns:
        Lower and upper offset per replicate, for each of `MODALITY_GROUPS`. (1 + R, 2)
    """
    group_of = np.asarray(groups, dtype=object)
    pooled = _resample_offsets(residuals, coverage, span, resamples.authors, resamples)
    offsets = {}
    for group in MODALITY_GROUPS:
        rows = group_of == group
        is_large = np.count_nonzero(rows) >= MIN_GROUP_POSTS
        offsets[group] = (
            _resample_offsets(residuals[rows], coverage, span, resamples.authors[rows], resamples)
            if is_large
            else pooled
        )
    return offsets


def _resample_offsets(
    residuals: Array,
    coverage: float,
    span: float,
    authors: npt.NDArray[np.intp],
    resamples: Resamples,
) -> Array:
    """Return the conformal quantiles of one group in every resample, (1 + R, 2)."""
    offsets = np.tile(np.array([-span, span], np.float64), (len(resamples.counts), 1))
    if not len(residuals):
        return offsets
    order = np.argsort(residuals)
    ascending, authors = residuals[order], authors[order]
    tail, start = (1 - coverage) / 2, 0
    for counts in resamples.iter_chunks():
        cumulative = np.cumsum(counts[:, authors], axis=1)  # (c, n)
        n = cumulative[:, -1]
        ranks = np.floor(tail * (n + 1) + 1e-9), np.ceil((1 - tail) * (n + 1) - 1e-9)
        is_enough = n >= min_calibration_posts(coverage)
        for end, rank in enumerate(ranks):
            quantiles = ascending[np.argmax(cumulative >= rank[:, None], axis=1)]
            rows = start + np.flatnonzero(is_enough)
            offsets[rows, end] = np.clip(quantiles, -span, span)[is_enough]
        start += len(counts)
    return offsets


def _conformal_offsets(residuals: Array, coverage: float, span: float) -> Offsets:
    """Return the conformal quantiles of one group."""
    from crepes import ConformalPredictiveSystem

    n = len(residuals)
    if n < min_calibration_posts(coverage):
        return {"lo": -span, "hi": span, "n": n}
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
