"""Partial pooling: how much of a group's estimate is the group, and how much is luck.

A normal model: estimate ~ N(truth of the group, its variance), truth of the group ~ N(mean of
groups, spread²). Of many small groups some look extreme by chance alone; each is pulled to the mean
by the share of its variance in the whole. The spread is not known, so results are averaged over all
spreads by how likely each makes the estimates (a flat prior; Rubin 1981, Gelman 2006): taking the
likeliest one for sure, which with few groups is often 0, gives intervals that are too narrow. Knows
arrays only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import LEVEL, Array

#: With fewer estimates no spread can be learned.
MIN_GROUPS = 3

_GRID = 400
_SPREADS_WIDE = 4.0


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
        The pooled groups; none with fewer than `MIN_GROUPS` estimates.
    """
    from scipy.stats import norm

    known = np.isfinite(values) & np.isfinite(variances)
    if known.sum() < MIN_GROUPS:
        return None
    x = np.where(known, values, 0.0)
    # A group without an estimate is one whose estimate says nothing.
    precision = np.where(known, 1 / np.maximum(np.where(known, variances, 1.0), 1e-12), 0.0)
    spread = np.linspace(0, _widest(values[known]), _GRID + 1)[1:, None]  # (S, 1)
    own = precision * spread**2 / (1 + precision * spread**2)  # (S, G)
    weights = precision / (1 + precision * spread**2)
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights * x).sum(axis=1, keepdims=True) / total  # (S, 1)
    fit = np.log(weights[:, known]).sum(axis=1) - (weights * (x - mean) ** 2).sum(axis=1)
    fit = 0.5 * (fit - np.log(total[:, 0]))
    chance = np.exp(fit - fit.max())
    chance /= chance.sum()  # (S,)
    pooled = mean + own * (x - mean)
    left = (1 - own) * spread**2 + (1 - own) ** 2 / total
    middle = chance @ pooled
    reach = norm.ppf((1 + LEVEL) / 2) * np.sqrt(chance @ (left + (pooled - middle) ** 2))
    return Pooled(
        mean=float(chance @ mean[:, 0]),
        spread=float(chance @ spread[:, 0]),
        values=middle,
        lo=middle - reach,
        hi=middle + reach,
        own=chance @ own,
    )


def _widest(values: Array) -> float:
    """Return a spread beyond which hardly any other fits."""
    return _SPREADS_WIDE * max(float(np.ptp(values)), 1e-9)
