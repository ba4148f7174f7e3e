"""Metrics of ranks, on the data and on every resample of it: Spearman's correlation and the AUC.

They are no functions of weighted sums: each resample is ranked anew, ties and all, as if its rows
had been written out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array, Resamples


def spearman(x: Array, y: Array, authors: npt.NDArray[np.intp], resamples: Resamples) -> Array:
    """Compute Spearman's rank correlation on the data and on every resample.

    Args:
        x: One variable. (n,)
        y: The other. (n,)
        authors: Index of each row's author in the draws. (n,)
        resamples: The draws of authors.

    Returns:
        The correlation; NaN where a variable is constant in the resample. (1 + R,)
    """
    if not len(x) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.full(len(resamples.counts), np.nan)
    rank_x, rank_y = _ranker(x), _ranker(y)
    parts = []
    for chunk in resamples.chunks():
        weights = chunk[:, authors]  # (c, n)
        ranks_x, ranks_y = rank_x(weights), rank_y(weights)
        n = weights.sum(axis=1)
        middle = n * ((n + 1) / 2) ** 2
        covariance = np.einsum("cn,cn,cn->c", weights, ranks_x, ranks_y) - middle
        variance_x = np.einsum("cn,cn,cn->c", weights, ranks_x, ranks_x) - middle
        variance_y = np.einsum("cn,cn,cn->c", weights, ranks_y, ranks_y) - middle
        # Ranks are halves of integers: a variance below 1/4 is a rounded zero.
        is_defined = (variance_x > 0.25) & (variance_y > 0.25)
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = covariance / np.sqrt(variance_x * variance_y)
        parts.append(np.where(is_defined, rho, np.nan))
    clipped: Array = np.clip(np.concatenate(parts), -1, 1)
    return clipped


def auc(
    values: Array,
    is_positive: npt.NDArray[np.bool_],
    authors: npt.NDArray[np.intp],
    resamples: Resamples,
) -> Array:
    """Compute the area under the ROC curve: how often a positive has the higher value.

    Args:
        values: What the posts are ranked by; a tie counts half. (n,)
        is_positive: Which of them should come first. (n,)
        authors: Index of each row's author in the draws. (n,)
        resamples: The draws of authors.

    Returns:
        The area; NaN where a resample has no positive or nothing else. (1 + R,)
    """
    if not is_positive.any() or is_positive.all():
        return np.full(len(resamples.counts), np.nan)
    rank = _ranker(values)
    parts = []
    for chunk in resamples.chunks():
        weights = chunk[:, authors]  # (c, n)
        n_positive = weights[:, is_positive].sum(axis=1)
        n_pairs = n_positive * (weights.sum(axis=1) - n_positive)
        ranks = (weights * rank(weights))[:, is_positive].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append((ranks - n_positive * (n_positive + 1) / 2) / n_pairs)
    return np.concatenate(parts)


def _ranker(values: Array) -> Callable[[Array], Array]:
    """Prepare mid-ranks of `values` in a resample given by weights: (c, n) to (c, n)."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))

    def ranks(weights: Array) -> Array:
        tied = np.add.reduceat(weights[:, order], starts, axis=1)  # (c, G)
        below = np.cumsum(tied, axis=1) - tied
        middle: Array = below + (tied + 1) / 2
        return middle[:, group]

    return ranks
