"""Partial pooling: how much of a group's estimate is the group, and how much is luck.

Empirical Bayes with a normal model: estimate ~ N(truth of the group, its variance), truth of the
group ~ N(mean of groups, spread²). Mean and spread are found from all groups (Paule and Mandel's
method); each group is then pulled to the mean by the share of its variance in the whole. Of many
small groups some look extreme by chance alone; pooled, they don't. Knows arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.evidence.bootstrap import LEVEL, Array

_MOST = 100.0


@dataclass(frozen=True, slots=True)
class Pooled:
    """Groups pulled to their mean.

    Attributes:
        mean: Mean of the groups' truths.
        spread: Their standard deviation beyond what luck explains.
        values: The pooled estimates; the mean itself for a group without an estimate. (G,)
        lo: Lower ends of their 95% intervals. (G,)
        hi: Upper ends. (G,)
        own: How much of each pooled estimate is the group's own: 0 nothing, 1 all. (G,)
    """

    mean: float
    spread: float
    values: Array
    lo: Array
    hi: Array
    own: Array


def pool(values: Array, variances: Array) -> Pooled | None:
    """Pull estimates towards their mean.

    Args:
        values: One estimate per group; NaN where there is none. (G,)
        variances: Their variances. (G,)

    Returns:
        The pooled groups; none with fewer than three estimates, of which no spread can be learned.
    """
    from scipy.stats import norm

    known = np.isfinite(values) & np.isfinite(variances)
    if known.sum() < 3:
        return None
    x, v = values[known], np.maximum(variances[known], 1e-12)
    spread2 = _between(x, v)
    weights = 1 / (v + spread2)
    mean = float(weights @ x / weights.sum())
    own = np.zeros(len(values))
    own[known] = spread2 / (spread2 + v)
    pooled = mean + own * np.where(known, values - mean, 0.0)
    # What is left of luck, the doubt about the mean, and (Morris 1983) about the spread.
    left = np.full(len(values), spread2)
    left[known] = own[known] * v
    left += (1 - own) ** 2 / weights.sum()
    left[known] += 2 / max(len(x) - 3, 1) * ((1 - own[known]) * (x - mean)) ** 2
    reach = norm.ppf((1 + LEVEL) / 2) * np.sqrt(left)
    return Pooled(mean, float(np.sqrt(spread2)), pooled, pooled - reach, pooled + reach, own)


def _between(x: Array, v: Array) -> float:
    """Find the variance between groups at which their weighted scatter is what it should be."""

    def excess(spread2: float) -> float:
        weights = 1 / (v + spread2)
        mean = weights @ x / weights.sum()
        return float(weights @ (x - mean) ** 2) - (len(x) - 1)

    from scipy.optimize import brentq

    if excess(0.0) <= 0:
        return 0.0
    top = float(np.ptp(x) ** 2) * _MOST
    return float(brentq(excess, 0.0, top))
