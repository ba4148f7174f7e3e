"""Whether intervals hold as many labels as they promise, by axis and group of modalities.

The coverage that a conformal interval turns out to have varies twice: with the calib posts that set
its width, and with the test posts that it is counted on. For n and m independent posts the count is
beta-binomial; posts of one author resemble each other, so both are counted as fewer, by as much as
authors widen the bootstrap. Without the first part the gate would refuse one honest student in ten.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.evidence.bench import Bench
from postbias.evidence.bootstrap import Array
from postbias.evidence.folds import Scored
from postbias.evidence.metrics import Predictions, mean_of
from postbias.scoring.manifest import Interval

#: All groups of modalities together.
ALL = "all"

_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class Coverage:
    """How the intervals of one group of posts did on the test fold.

    Replicates are the number on the data, then one value per draw of authors.

    Attributes:
        n: Posts of the test fold.
        n_calib: Posts of the calib fold that set the widths; for all groups, how many it would
            take in one group to vary as little.
        value: Share of labels within their interval. (1 + R,)
        width: Mean width, within the range of the axis. (1 + R,)
    """

    n: int
    n_calib: int
    value: Array
    width: Array


def measure_coverage(
    bench: Bench, scored: Scored, intervals: Mapping[str, Mapping[str, Interval]]
) -> dict[str, dict[str, Coverage]]:
    """Measure a student's intervals by axis and group of modalities.

    Args:
        bench: The test fold and its draws.
        scored: The student's scores with their intervals.
        intervals: Of its manifest: by axis, then group.

    Returns:
        By axis, then group, `all` first; empty for an axis without intervals.
    """
    return {
        axis.name: _by_group(
            bench, column, (scored.by_axis[axis.name], scored.groups), intervals.get(axis.name, {})
        )
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
    scored: tuple[Predictions, tuple[str | None, ...]],
    intervals: Mapping[str, Interval],
) -> dict[str, Coverage]:
    said, groups = scored
    has_interval = np.isfinite(said.lo) & np.isfinite(said.hi)
    group_of = np.asarray(groups, dtype=object)
    labels = bench.fold.labels[:, column]
    is_within = (said.lo <= labels + _TOLERANCE) & (labels <= said.hi + _TOLERANCE)
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
    return {
        group: Coverage(
            n=int(there.sum()),
            n_calib=n_calib[group],
            value=mean_of(np.where(there, is_within, np.nan), bench.resamples),
            width=mean_of(np.where(there, said.hi - said.lo, np.nan), bench.resamples),
        )
        for group, there in {ALL: has_interval, **rows}.items()
    }


def _design_effect(coverage: Coverage) -> float:
    """Return how many posts tell as much as one independent one."""
    draws = coverage.value[1:][np.isfinite(coverage.value[1:])]
    share = float(coverage.value[0])
    if not len(draws) or not 0 < share < 1:
        return 1.0
    return max(1.0, float(np.var(draws)) * coverage.n / (share * (1 - share)))
