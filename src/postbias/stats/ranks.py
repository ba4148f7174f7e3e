"""Rank metrics on the data and on every bootstrap resample: Spearman's correlation and the AUC.

They are not functions of weighted sums, so each resample is ranked again, with ties, as if its rows
were written out.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array, Resamples


def spearman_correlation(
    x: Array, y: Array, authors: npt.NDArray[np.intp], resamples: Resamples
) -> Array:
    """Compute Spearman's rank correlation on the data and on every resample.

    Args:
        x: First variable. (n,)
        y: Second variable. (n,)
        authors: Author index of each row in the resamples. (n,)
        resamples: Resamples of authors.

    Returns:
        Replicates of the correlation; NaN where a variable is constant in the resample. (1 + R,)
    """
    if not len(x) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return np.full(len(resamples.counts), np.nan)
    rank_x, rank_y = _make_ranker(x), _make_ranker(y)
    parts = []
    for chunk in resamples.iter_chunks():
        weights = chunk[:, authors]  # (c, n)
        ranks_x, ranks_y = rank_x(weights), rank_y(weights)
        n = weights.sum(axis=1)
        mean_square = n * ((n + 1) / 2) ** 2
        covariance = np.einsum("cn,cn,cn->c", weights, ranks_x, ranks_y) - mean_square
        variance_x = np.einsum("cn,cn,cn->c", weights, ranks_x, ranks_x) - mean_square
        variance_y = np.einsum("cn,cn,cn->c", weights, ranks_y, ranks_y) - mean_square
        # Ranks are halves of integers: a variance below 1/4 is zero up to rounding.
        is_defined = (variance_x > 0.25) & (variance_y > 0.25)
        with np.errstate(divide="ignore", invalid="ignore"):
            rho = covariance / np.sqrt(variance_x * variance_y)
        parts.append(np.where(is_defined, rho, np.nan))
    clipped: Array = np.clip(np.concatenate(parts), -1, 1)
    return clipped


def roc_auc(
    values: Array,
    is_positive: npt.NDArray[np.bool_],
    authors: npt.NDArray[np.intp],
    resamples: Resamples,
) -> Array:
    """Compute the area under the ROC curve on the data and on every resample.

    Args:
        values: Value that the posts are ranked by; a tie counts half. (n,)
        is_positive: Mask of the positive class. (n,)
        authors: Author index of each row in the resamples. (n,)
        resamples: Resamples of authors.

    Returns:
        Replicates of the area; NaN where a resample has only one class. (1 + R,)
    """
    if not is_positive.any() or is_positive.all():
        return np.full(len(resamples.counts), np.nan)
    rank = _make_ranker(values)
    parts = []
    for chunk in resamples.iter_chunks():
        weights = chunk[:, authors]  # (c, n)
        n_positive = weights[:, is_positive].sum(axis=1)
        n_pairs = n_positive * (weights.sum(axis=1) - n_positive)
        rank_sums = (weights * rank(weights))[:, is_positive].sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append((rank_sums - n_positive * (n_positive + 1) / 2) / n_pairs)
    return np.concatenate(parts)


def _make_ranker(values: Array) -> Callable[[Array], Array]:
    """Prepare a function from resampling weights to mid-ranks of `values`, (c, n) to (c, n)."""
    distinct, group = np.unique(values, return_inverse=True)
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(len(distinct)))

    def rank(weights: Array) -> Array:
        tied = np.add.reduceat(weights[:, order], starts, axis=1)  # (c, G)
        below = np.cumsum(tied, axis=1) - tied
        mid_ranks: Array = below + (tied + 1) / 2
        return mid_ranks[:, group]

    return rank
