"""Partial pooling of group means with a normal hierarchical model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import CONFIDENCE_LEVEL, Array

#: Minimum number of group estimates from which the spread between groups can be estimated.
MIN_GROUPS = 3

_GRID_POINTS = 400
_MAX_SPREAD_RANGES = 4.0


@dataclass(frozen=True, slots=True)
class PooledEstimates:
    """Group means, shrunk toward their common mean.

    Attributes:
        mean: Mean of the true group means.
        spread: Their standard deviation, without sampling error.
        values: Pooled estimates; the common mean for a group without an estimate. (G,)
        lo: Lower limits of their 95% intervals. (G,)
        hi: Upper limits. (G,)
        own_share: Weight of each group's own estimate in the pooled one: 0 none, 1 all. (G,)
    """

    mean: float
    spread: float
    values: Array
    lo: Array
    hi: Array
    own_share: Array


def pool_estimates(values: Array, variances: Array) -> PooledEstimates | None:
    """Shrink the estimates of groups toward their common mean.

    Model: estimate ~ N(true group mean, its variance), true group mean ~ N(mean, spread²). The
    unknown spread is integrated out over a grid with a flat prior (Rubin 1981, Gelman 2006): the
    most likely spread, with few groups often 0, would give intervals that are too narrow.

    Args:
        values: Estimate of each group; NaN if there is none. (G,)
        variances: Variance of each estimate. (G,)

    Returns:
        The pooled estimates; `None` with fewer than `MIN_GROUPS` estimates.
    """
    from scipy.stats import norm

    known = np.isfinite(values) & np.isfinite(variances)
    if known.sum() < MIN_GROUPS:
        return None
    x = np.where(known, values, 0.0)
    # A missing estimate has precision 0.
    precision = np.where(known, 1 / np.maximum(np.where(known, variances, 1.0), 1e-12), 0.0)
    spread = np.linspace(0, _max_spread(values[known]), _GRID_POINTS + 1)[1:, None]  # (S, 1)
    own_share = precision * spread**2 / (1 + precision * spread**2)  # (S, G)
    weights = precision / (1 + precision * spread**2)
    total = weights.sum(axis=1, keepdims=True)
    mean = (weights * x).sum(axis=1, keepdims=True) / total  # (S, 1)
    log_posterior = np.log(weights[:, known]).sum(axis=1) - (weights * (x - mean) ** 2).sum(axis=1)
    log_posterior = 0.5 * (log_posterior - np.log(total[:, 0]))
    posterior = np.exp(log_posterior - log_posterior.max())
    posterior /= posterior.sum()  # (S,)
    conditional = mean + own_share * (x - mean)
    variance = (1 - own_share) * spread**2 + (1 - own_share) ** 2 / total
    pooled = posterior @ conditional  # (G,)
    half_width = norm.ppf((1 + CONFIDENCE_LEVEL) / 2) * np.sqrt(
        posterior @ (variance + (conditional - pooled) ** 2)
    )
    return PooledEstimates(
        mean=float(posterior @ mean[:, 0]),
        spread=float(posterior @ spread[:, 0]),
        values=pooled,
        lo=pooled - half_width,
        hi=pooled + half_width,
        own_share=posterior @ own_share,
    )


def _max_spread(values: Array) -> float:
    """Return the largest spread of the grid; larger ones have a negligible likelihood."""
    return _MAX_SPREAD_RANGES * max(float(np.ptp(values)), 1e-9)
