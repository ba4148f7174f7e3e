"""How far a score may be from its label: split conformal prediction on the calib fold.

A student's residuals on posts that it never saw say how far off it is. Offsets are taken per group
of modalities present, since a score from a caption alone is less sure than one from caption and
image; both sides have their own quantile, since errors on a bounded scale are lopsided. Residuals
must be labels minus the scores that ship (int8, clipped to the axis), or the coverage is that of
another model. Results go into `student.json`.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array, Resamples

logger = logging.getLogger(__name__)

#: Every group of modalities that a post can have; see `modalities` in the scores.
GROUPS = ("image+text", "text", "image")

#: A group with fewer residuals takes the quantiles of all groups together: with 50, the coverage
#: that a nominal 90% turns out to have is within 8 points 95 times in 100; with 20, within 13.
MIN_GROUP = 50


class Offsets(TypedDict):
    """What to add to a score for its interval.

    Attributes:
        lo: Offset of the lower end; mostly negative.
        hi: Offset of the upper end.
        n: Residuals that it rests on; as many as in all groups where the group itself was too
            small, 0 where there was nothing to go by.
    """

    lo: float
    hi: float
    n: int


def fit_intervals(
    residuals: Array, groups: Sequence[str], coverage: float, *, span: float
) -> dict[str, Offsets]:
    """Find the offsets that hold a share `coverage` of labels, per group.

    Args:
        residuals: Label minus score of each calib post. (n,)
        groups: Its group of modalities. (n,)
        coverage: Nominal coverage, for example 0.9.
        span: Width of the axis, high minus low: an offset is never wider, and this wide where too
            few residuals (fewer than 19 for 90%) say anything narrower.

    Returns:
        Offsets for each of `GROUPS`, also for those that the calib fold lacks.
    """
    bins = np.asarray(groups, dtype=object)
    pooled = _offsets(residuals, coverage, span)
    if pooled["n"] < MIN_GROUP:
        logger.warning(
            "intervals rest on %d calib posts only; raise split.shares.calib", pooled["n"]
        )
    fitted: dict[str, Offsets] = {}
    for group in GROUPS:
        n = int(np.count_nonzero(bins == group))
        if n >= MIN_GROUP:
            fitted[group] = _offsets(residuals[bins == group], coverage, span)
            continue
        if n:
            logger.info("%d calib posts with %s: their intervals are those of all", n, group)
        fitted[group] = pooled
    return fitted


def resample_intervals(
    residuals: Array, groups: Sequence[str], coverage: float, *, span: float, resamples: Resamples
) -> dict[str, Array]:
    """Find what `fit_intervals` would have found, had other authors been drawn.

    Args:
        residuals: Label minus score of each calib post. (n,)
        groups: Its group of modalities. (n,)
        coverage: Nominal coverage.
        span: Width of the axis.
        resamples: The draws of these posts' authors.

    Returns:
        For each of `GROUPS` the lower and the upper offset in every draw. (1 + R, 2)
    """
    bins = np.asarray(groups, dtype=object)
    pooled = _resampled(residuals, coverage, span, resamples.authors, resamples)
    offsets = {}
    for group in GROUPS:
        rows = bins == group
        is_enough = np.count_nonzero(rows) >= MIN_GROUP
        offsets[group] = (
            _resampled(residuals[rows], coverage, span, resamples.authors[rows], resamples)
            if is_enough
            else pooled
        )
    return offsets


def _resampled(
    residuals: Array,
    coverage: float,
    span: float,
    authors: npt.NDArray[np.intp],
    resamples: Resamples,
) -> Array:
    """Return the conformal quantiles of one group in every draw, (1 + R, 2)."""
    offsets = np.tile(np.array([-span, span], np.float64), (len(resamples.counts), 1))
    if not len(residuals):
        return offsets
    order = np.argsort(residuals)
    ascending, authors = residuals[order], authors[order]
    tail, start = (1 - coverage) / 2, 0
    for counts in resamples.chunks():
        upto = np.cumsum(counts[:, authors], axis=1)  # (c, n)
        n = upto[:, -1]
        ranks = np.floor(tail * (n + 1) + 1e-9), np.ceil((1 - tail) * (n + 1) - 1e-9)
        is_enough = n >= min_posts(coverage)
        for end, rank in enumerate(ranks):
            found = ascending[np.argmax(upto >= rank[:, None], axis=1)]
            rows = start + np.flatnonzero(is_enough)
            offsets[rows, end] = np.clip(found, -span, span)[is_enough]
        start += len(counts)
    return offsets


def _offsets(residuals: Array, coverage: float, span: float) -> Offsets:
    """Return the conformal quantiles of one group."""
    from crepes import ConformalPredictiveSystem

    n = len(residuals)
    if n < min_posts(coverage):
        return {"lo": -span, "hi": span, "n": n}
    system = ConformalPredictiveSystem().fit(np.asarray(residuals, np.float64))
    # Not `predict_int`: it takes 4.999999999999999 for 5% and thereby the next residual outwards.
    tail = 50 * (1 - coverage) + 1e-9
    lo, hi = system.predict_percentiles(
        np.zeros(1), lower_percentiles=tail, higher_percentiles=100 - tail, y_min=-span, y_max=span
    )[0]
    return {"lo": float(lo), "hi": float(hi), "n": n}


def min_posts(coverage: float) -> int:
    """Return how many residuals an interval of this coverage needs.

    Args:
        coverage: Nominal coverage.

    Returns:
        The fewest for which both quantiles, corrected for finite samples, are among the residuals.
    """
    return int(np.ceil(2 / (1 - coverage) - 1 - 1e-9))
