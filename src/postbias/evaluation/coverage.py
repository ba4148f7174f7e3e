"""Coverage of prediction intervals on the test fold, by axis and group of modalities.

The coverage that a conformal interval reaches varies with the calib posts that set its width, and
with the test posts that it is measured on. Both folds are therefore resampled: in each replication
the intervals are fitted anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from postbias.evaluation.calibration_scores import CalibrationScores
from postbias.evaluation.evaluation_set import EvaluationSet
from postbias.evaluation.interval_languages import (
    CaptionLanguages,
    LanguageGroups,
    resample_language_intervals,
)
from postbias.evaluation.labelled_folds import FoldPredictions
from postbias.scoring.manifest import Interval, Manifest
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.conformal import resample_intervals
from postbias.stats.metrics import Predictions, resampled_mean

#: All groups of modalities together.
ALL_GROUPS = "all"

_TOLERANCE = 1e-9

Bools: TypeAlias = npt.NDArray[np.bool_]

# Posts with the same interval: their modalities, and group of languages if it has its own.
_Cell: TypeAlias = tuple[str, str | None]


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
        languages: Languages of the posts; None if intervals do not depend on them.
        language_groups: Groups of languages that have intervals of their own, by modalities.
    """

    scores: CalibrationScores
    resamples: Resamples
    nominal: float
    languages: CaptionLanguages | None = None
    language_groups: LanguageGroups = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _AxisIntervals:
    """The intervals of one axis in a manifest."""

    joint: Mapping[str, Interval]
    by_language: Mapping[str, Mapping[str, Interval]]

    @property
    def language_groups(self) -> LanguageGroups:
        return {group: tuple(codes) for group, codes in self.by_language.items()}

    def of_cell(self, cell: _Cell) -> Interval:
        group, language = cell
        return self.joint[group] if language is None else self.by_language[group][language]


def measure_coverage(
    test: EvaluationSet,
    predictions: FoldPredictions,
    manifest: Manifest,
    calib: CalibrationSample,
) -> dict[str, dict[str, IntervalCoverage]]:
    """Measure the coverage of a student's intervals.

    Args:
        predictions: The student's scores with their intervals.
        manifest: The student, with the intervals by modalities and possibly language.
        calib: The scores that they were fitted on.

    Returns:
        By axis, then group of modalities, with `ALL_GROUPS` first; empty for an axis without
        intervals.
    """
    return {
        axis.name: _measure_groups(
            test,
            column,
            predictions,
            _AxisIntervals(
                manifest.intervals.get(axis.name, {}),
                manifest.language_intervals.get(axis.name, {}),
            ),
            calib,
        )
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
    intervals: _AxisIntervals,
    calib: CalibrationSample,
) -> dict[str, IntervalCoverage]:
    scored = predictions.by_axis[test.axes[column].name]
    has_interval = np.isfinite(scored.lo) & np.isfinite(scored.hi)
    cells = _find_cells(test, predictions, intervals, has_interval)
    if not cells:
        return {}
    groups = {ALL_GROUPS: list(cells)}
    for cell in cells:
        groups.setdefault(cell[0], []).append(cell)
    sums = _resample_both_folds(test, column, scored, cells, calib)
    is_covered = _covers(test.fold.labels[:, column], scored.lo, scored.hi)
    measured = {}
    for group, parts in groups.items():
        members = np.logical_or.reduce([cells[cell] for cell in parts])
        shares = [cells[cell].sum() / members.sum() for cell in parts]
        sizes = [max(intervals.of_cell(cell).n, 1) for cell in parts]
        covered, width, total = np.sum([sums[cell] for cell in parts], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            value, width = covered / total, width / total
        measured[group] = IntervalCoverage(
            n=int(members.sum()),
            n_calib=round(1 / sum(share**2 / n for share, n in zip(shares, sizes, strict=True))),
            value=value,
            width=width,
            value_test_only=resampled_mean(np.where(members, is_covered, np.nan), test.resamples),
        )
    return measured


def _find_cells(
    test: EvaluationSet,
    predictions: FoldPredictions,
    intervals: _AxisIntervals,
    has_interval: Bools,
) -> dict[_Cell, Bools]:
    """Find the test posts of each interval; none for an interval without a post. (n,)."""
    modalities = np.asarray(predictions.modalities, dtype=object)
    language_of = np.full(len(modalities), None, dtype=object)
    if intervals.by_language:
        languages = CaptionLanguages.of_fold(test.fold)
        language_of = languages.assign(
            test.fold.post_ids, predictions.modalities, intervals.language_groups
        )
    found = {
        (group, language): has_interval
        & (modalities == group)
        & np.array([each == language for each in language_of], np.bool_)
        for group in intervals.joint
        for language in (None, *intervals.by_language.get(group, ()))
    }
    return {cell: rows for cell, rows in found.items() if rows.any()}


def _resample_both_folds(
    test: EvaluationSet,
    column: int,
    scored: Predictions,
    cells: Mapping[_Cell, Bools],
    calib: CalibrationSample,
) -> dict[_Cell, Array]:
    """Return by cell the replicates of covered labels, summed widths and posts, (3, 1 + R)."""
    axis, labels = test.axes[column], test.fold.labels[:, column]
    offsets = _resample_offsets(column, axis.high - axis.low, list(cells), calib)
    sums = {}
    for cell, members in cells.items():
        label, value = labels[members], scored.values[members]
        authors = test.resamples.authors[members]
        # The first replicate is the data as they are, with the intervals as shipped.
        lo, hi = scored.lo[members], scored.hi[members]
        totals = np.empty((3, len(test.resamples.counts)))
        for replicate, counts in enumerate(test.resamples.counts):
            if 0 < replicate < len(offsets[cell]):  # no resamples with fewer than two authors
                lo = np.maximum(value + offsets[cell][replicate, 0], axis.low)
                hi = np.minimum(value + offsets[cell][replicate, 1], axis.high)
            weights = counts[authors].astype(np.float64)
            covered, width = weights @ _covers(label, lo, hi), weights @ (hi - lo)
            totals[:, replicate] = covered, width, weights.sum()
        sums[cell] = totals
    return sums


def _resample_offsets(
    column: int, span: float, cells: Sequence[_Cell], calib: CalibrationSample
) -> dict[_Cell, Array]:
    """Fit the intervals of all cells to every resample of calib, (1 + R, 2)."""
    residuals = calib.scores.residuals[:, column]
    joint = resample_intervals(
        residuals,
        calib.scores.modalities,
        calib.nominal,
        span=span,
        resamples=calib.resamples,
        posts=calib.scores.post_ids,
    )
    offsets: dict[_Cell, Array] = {cell: joint[cell[0]] for cell in cells}
    if calib.languages is not None:
        rows = calib.languages.find_rows(calib.scores, calib.language_groups)
        own = resample_language_intervals(
            residuals, rows, calib.nominal, span=span, resamples=calib.resamples
        )
        offsets |= {(group, code): own[group][code] for group, code in cells if code is not None}
    return offsets


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
