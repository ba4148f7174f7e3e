"""Whether intervals hold as many labels as they promise, by axis and group of modalities.

The coverage that a conformal interval turns out to have varies twice: with the calib posts that set
its width, and with the test posts that it is counted on. What is reported is therefore bootstrapped
over the authors of both folds: each draw fits the intervals anew. One prolific author whom the
student cannot read widens them for everybody, and only this shows how much of that is luck.

The gate asks what intervals of a true coverage show but for bad luck. For n and m independent posts
the count is beta-binomial; posts of one author resemble each other, so both are counted as fewer,
by as much as authors widen the bootstrap of the test fold. Without the calib fold it would refuse
one honest student in ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from postbias.evaluation.calibration_scores import Views
from postbias.evaluation.labelled_folds import Scored
from postbias.evaluation.measure import Bench
from postbias.scoring.manifest import Interval
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.conformal import resample_intervals
from postbias.stats.metrics import Predictions, mean_of

#: All groups of modalities together.
ALL = "all"

_TOLERANCE = 1e-9

Bools: TypeAlias = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Coverage:
    """How the intervals of one group of posts did on the test fold.

    Replicates are the number on the data, then one value per draw of authors.

    Attributes:
        n: Posts of the test fold.
        n_calib: Posts of the calib fold that set the widths; for all groups, how many it would
            take in one group to vary as little.
        value: Share of labels within their interval, authors of both folds drawn. (1 + R,)
        width: Mean width, within the range of the axis, authors of both folds drawn. (1 + R,)
        given: Share of labels within the intervals as they are, authors of test drawn. (1 + R,)
    """

    n: int
    n_calib: int
    value: Array
    width: Array
    given: Array


@dataclass(frozen=True, slots=True)
class Calib:
    """The calib fold as one student saw it, and its draws.

    Attributes:
        views: What the student made of it.
        resamples: Draws of the views' authors, as many as of the test fold.
        nominal: Coverage that the intervals are fitted for.
    """

    views: Views
    resamples: Resamples
    nominal: float


def measure_coverage(
    bench: Bench,
    scored: Scored,
    intervals: Mapping[str, Mapping[str, Interval]],
    calib: Calib,
) -> dict[str, dict[str, Coverage]]:
    """Measure a student's intervals by axis and group of modalities.

    Args:
        bench: The test fold and its draws.
        scored: The student's scores with their intervals.
        intervals: Of its manifest: by axis, then group.
        calib: What they were fitted on.

    Returns:
        By axis, then group, `all` first; empty for an axis without intervals.
    """
    return {
        axis.name: _by_group(bench, column, scored, intervals.get(axis.name, {}), calib)
        for column, axis in enumerate(bench.axes)
    }


def least_coverage(coverage: Coverage, nominal: float, alpha: float) -> float:
    """Return the smallest coverage that intervals of a nominal coverage show but for bad luck.

    Args:
        coverage: What was seen; says how many posts it rests on and how alike those are.
        nominal: What the coverage should be, the tolerance taken off.
        alpha: How often honest intervals may fall below.

    Returns:
        The lower limit, by the beta-binomial distribution with effective numbers of posts.
    """
    from scipy.stats import betabinom

    alike = _design_effect(coverage)
    m = max(1, round(coverage.n / alike))
    n = coverage.n_calib / alike
    a, b = nominal * (n + 1), (1 - nominal) * (n + 1)
    if a <= 0 or b <= 0:
        return max(0.0, nominal)
    return float(betabinom.ppf(alpha, m, a, b)) / m


def _by_group(
    bench: Bench,
    column: int,
    scored: Scored,
    intervals: Mapping[str, Interval],
    calib: Calib,
) -> dict[str, Coverage]:
    said = scored.by_axis[bench.axes[column].name]
    has_interval = np.isfinite(said.lo) & np.isfinite(said.hi)
    group_of = np.asarray(scored.groups, dtype=object)
    rows = {
        group: has_interval & (group_of == group)
        for group in intervals
        if np.any(has_interval & (group_of == group))
    }
    if not rows:
        return {}
    total = sum(int(there.sum()) for there in rows.values())
    variance = sum(
        (there.sum() / total) ** 2 / max(intervals[group].n, 1) for group, there in rows.items()
    )
    n_calib = {ALL: round(1 / variance)} | {group: intervals[group].n for group in rows}
    sums = _draw_both(bench, column, said, rows, calib)
    sums[ALL] = np.sum(list(sums.values()), axis=0)
    is_within = _holds(bench.fold.labels[:, column], said.lo, said.hi)
    with np.errstate(divide="ignore", invalid="ignore"):
        means = {group: held[:2] / held[2] for group, held in sums.items()}
    return {
        group: Coverage(
            n=int(there.sum()),
            n_calib=n_calib[group],
            value=means[group][0],
            width=means[group][1],
            given=mean_of(np.where(there, is_within, np.nan), bench.resamples),
        )
        for group, there in {ALL: has_interval, **rows}.items()
    }


def _draw_both(
    bench: Bench, column: int, said: Predictions, rows: Mapping[str, Bools], calib: Calib
) -> dict[str, Array]:
    """Fit the intervals anew in every draw, and count labels held, widths and posts, (3, 1 + R)."""
    axis, labels = bench.axes[column], bench.fold.labels[:, column]
    offsets = resample_intervals(
        calib.views.residuals[:, column],
        calib.views.groups,
        calib.nominal,
        span=axis.high - axis.low,
        resamples=calib.resamples,
    )
    sums = {}
    for group, there in rows.items():
        label, value = labels[there], said.values[there]
        authors = bench.resamples.authors[there]
        # The first draw is the data as they are, with the intervals that ship.
        lo, hi = said.lo[there], said.hi[there]
        counted = np.empty((3, len(bench.resamples.counts)))
        for draw, counts in enumerate(bench.resamples.counts):
            if 0 < draw < len(offsets[group]):  # none are drawn of fewer than two authors
                lo = np.maximum(value + offsets[group][draw, 0], axis.low)
                hi = np.minimum(value + offsets[group][draw, 1], axis.high)
            weights = counts[authors].astype(np.float64)
            counted[:, draw] = weights @ _holds(label, lo, hi), weights @ (hi - lo), weights.sum()
        sums[group] = counted
    return sums


def _holds(labels: Array, lo: Array, hi: Array) -> Bools:
    return (lo <= labels + _TOLERANCE) & (labels <= hi + _TOLERANCE)


def _design_effect(coverage: Coverage) -> float:
    """Return how many posts tell as much as one independent one."""
    draws = coverage.given[1:][np.isfinite(coverage.given[1:])]
    share = float(coverage.given[0])
    if not len(draws) or not 0 < share < 1:
        return 1.0
    return max(1.0, float(np.var(draws)) * coverage.n / (share * (1 - share)))
