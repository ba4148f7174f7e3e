"""Coverage of prediction intervals on the test fold, by axis and group of modalities.

The coverage that a conformal interval reaches varies with the calib posts that set its width, and
with the test posts that it is measured on. Both folds are therefore resampled: in each replication
the intervals are fitted anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from postbias.evaluation.calibration_scores import CalibrationScores
from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.labelled_folds import FoldPredictions
from postbias.scoring.manifest import Interval
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.conformal import resample_intervals
from postbias.stats.metrics import Predictions, resampled_mean

#: All groups of modalities together.
ALL_GROUPS = "all"

_TOLERANCE = 1e-9

Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class IntervalCoverage:
    """Coverage of the intervals of one group of posts on the test fold.

    Attributes:
        n: Posts of the test fold.
        n_calib: Posts of the calib fold that the intervals were fitted on; for all groups together,
            the size of a single group whose interval would vary as much.
        value: Replicates of the share of labels within their interval, both folds resampled.
            (1 + R,)
        width: Replicates of the mean width within the range of the axis, both folds resampled.
            (1 + R,)
        value_test_only: Replicates of that share for fixed intervals, only test resampled. (1 + R,)
    """

    n: int
    n_calib: int
    value: Array
    width: Array
    value_test_only: Array


@dataclass(frozen=True, slots=True)
class CalibrationSample:
    """A student's scores of the calib fold, with resamples.

    Attributes:
        scores: The scores.
        resamples: Resamples of the authors of the scores, as many as of the test fold.
        nominal: Nominal coverage of the intervals.
    """

    scores: CalibrationScores
    resamples: Resamples
    nominal: float


def measure_coverage(
    test: EvaluationSet,
    predictions: FoldPredictions,
    intervals: Mapping[str, Mapping[str, Interval]],
    calib: CalibrationSample,
) -> dict[str, dict[str, IntervalCoverage]]:
    """Measure the coverage of a student's intervals.

    Args:
        predictions: The student's scores with their intervals.
        intervals: Intervals in its manifest, by axis and group.
        calib: The scores that they were fitted on.

    Returns:
        By axis, then group, with `ALL_GROUPS` first; empty for an axis without intervals.
    """
    return {
        axis.name: _measure_groups(test, column, predictions, intervals.get(axis.name, {}), calib)
        for column, axis in enumerate(test.axes)
    }


def coverage_limit(coverage: IntervalCoverage, nominal: float, alpha: float) -> float:
    """Compute the lower limit of the measured coverage of intervals with correct coverage.

    For n calib and m test posts that are independent, the number of covered labels is
    beta-binomial. Posts of one author resemble each other, so both numbers are divided by the
    design effect of the test fold. Ignoring the calib fold would reject one correct student in ten.

    Args:
        coverage: The measured coverage, which provides the numbers of posts and the design effect.
        nominal: True coverage, that is, the nominal coverage less the tolerance.
        alpha: Share of correct intervals that fall below the limit.

    Returns:
        The limit, a share of labels.
    """
    from scipy.stats import betabinom

    design_effect = _design_effect(coverage)
    m = max(1, round(coverage.n / design_effect))
    n = coverage.n_calib / design_effect
    a, b = nominal * (n + 1), (1 - nominal) * (n + 1)
    if a <= 0 or b <= 0:
        return max(0.0, nominal)
    return float(betabinom.ppf(alpha, m, a, b)) / m


def _measure_groups(
    test: EvaluationSet,
    column: int,
    predictions: FoldPredictions,
    intervals: Mapping[str, Interval],
    calib: CalibrationSample,
) -> dict[str, IntervalCoverage]:
    scored = predictions.by_axis[test.axes[column].name]
    has_interval = np.isfinite(scored.lo) & np.isfinite(scored.hi)
    group_of = np.asarray(predictions.modalities, dtype=object)
    rows = {
        group: has_interval & (group_of == group)
        for group in intervals
        if np.any(has_interval & (group_of == group))
    }
    if not rows:
        return {}
    total = sum(int(members.sum()) for members in rows.values())
    variance = sum(
        (members.sum() / total) ** 2 / max(intervals[group].n, 1) for group, members in rows.items()
    )
    n_calib = {ALL_GROUPS: round(1 / variance)} | {group: intervals[group].n for group in rows}
    sums = _resample_both_folds(test, column, scored, rows, calib)
    sums[ALL_GROUPS] = np.sum(list(sums.values()), axis=0)
    is_covered = _covers(test.fold.labels[:, column], scored.lo, scored.hi)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = {group: totals[:2] / totals[2] for group, totals in sums.items()}
    return {
        group: IntervalCoverage(
            n=int(members.sum()),
            n_calib=n_calib[group],
            value=means[group][0],
            width=means[group][1],
            value_test_only=resampled_mean(np.where(members, is_covered, np.nan), test.resamples),
        )
        for group, members in {ALL_GROUPS: has_interval, **rows}.items()
    }


def _resample_both_folds(
    test: EvaluationSet,
    column: int,
    scored: Predictions,
    rows: Mapping[str, Bools],
    calib: CalibrationSample,
) -> dict[str, Array]:
    """Return by group the replicates of covered labels, summed widths and posts, (3, 1 + R)."""
    axis, labels = test.axes[column], test.fold.labels[:, column]
    offsets = resample_intervals(
        calib.scores.residuals[:, column],
        calib.scores.modalities,
        calib.nominal,
        span=axis.high - axis.low,
        resamples=calib.resamples,
        posts=calib.scores.post_ids,
    )
    sums = {}
    for group, members in rows.items():
        label, value = labels[members], scored.values[members]
        authors = test.resamples.authors[members]
        # The first replicate is the data as they are, with the intervals as shipped.
        lo, hi = scored.lo[members], scored.hi[members]
        totals = np.empty((3, len(test.resamples.counts)))
        for replicate, counts in enumerate(test.resamples.counts):
            if 0 < replicate < len(offsets[group]):  # no resamples with fewer than two authors
                lo = np.maximum(value + offsets[group][replicate, 0], axis.low)
                hi = np.minimum(value + offsets[group][replicate, 1], axis.high)
            weights = counts[authors].astype(np.float64)
            covered, width = weights @ _covers(label, lo, hi), weights @ (hi - lo)
            totals[:, replicate] = covered, width, weights.sum()
        sums[group] = totals
    return sums


def _covers(labels: Array, lo: Array, hi: Array) -> Bools:
    return (lo <= labels + _TOLERANCE) & (labels <= hi + _TOLERANCE)


def _design_effect(coverage: IntervalCoverage) -> float:
    """Return the variance of the measured coverage relative to that of independent posts."""
    replicates = coverage.value_test_only[1:]
    replicates = replicates[np.isfinite(replicates)]
    share = float(coverage.value_test_only[0])
    if not len(replicates) or not 0 < share < 1:
        return 1.0
    return max(1.0, float(np.var(replicates)) * coverage.n / (share * (1 - share)))
