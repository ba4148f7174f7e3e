"""How single raters differ from the others, and from themselves on repeated posts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.agreement import intraclass_correlation, sum_over_resamples
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.metrics import resampled_mean


@dataclass(frozen=True, slots=True)
class RaterStatistics:
    """Comparison of one rater with the mean of the others on the posts that they share.

    Attributes:
        n: Number of such posts.
        bias: Mean of the rater's rating minus the mean of the others. (1 + R,)
        consistency: Correlation of the rater's ratings with the mean of the others. (1 + R,)
        distance: Mean absolute difference from the mean of the others. (1 + R,)
    """

    n: int
    bias: Array
    consistency: Array
    distance: Array


@dataclass(frozen=True, slots=True)
class RetestStatistics:
    """Agreement of raters with their own earlier ratings of the same posts.

    Attributes:
        n: Number of repeated ratings.
        shift: Mean of the second rating minus the first. (1 + R,)
        distance: Mean absolute difference. (1 + R,)
        error_sd: Standard deviation of the error of one rating: that of the differences, with the
            shift, divided by the square root of 2. (1 + R,)
        reliability: ICC(2,1) of the two occasions. (1 + R,)
    """

    n: int
    shift: Array
    distance: Array
    error_sd: Array
    reliability: Array


def compare_raters(ratings: Array, resamples: Resamples) -> list[RaterStatistics]:
    """Compare each rater with the mean of the others.

    The bias is relative to the other raters, so biases of different raters are comparable only if
    posts were assigned at random.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (n, J)
        resamples: Resamples of authors.

    Returns:
        Statistics of each rater; NaN where they share no posts with others.
    """
    is_rated = np.isfinite(ratings)
    total, n = np.nansum(ratings, axis=1), is_rated.sum(axis=1)
    compared = []
    for own, rated in zip(ratings.T, is_rated.T, strict=True):
        is_shared = rated & (n > 1)
        others = np.where(is_shared, total - own, np.nan) / np.maximum(n - 1, 1)
        difference = own - others
        compared.append(
            RaterStatistics(
                int(is_shared.sum()),
                resampled_mean(difference, resamples),
                pearson_correlation(np.where(is_shared, own, np.nan), others, resamples),
                resampled_mean(np.abs(difference), resamples),
            )
        )
    return compared


def compare_repeated_ratings(first: Array, second: Array, resamples: Resamples) -> RetestStatistics:
    """Compare ratings with later ratings of the same posts by the same raters.

    Args:
        first: First rating of each repeated post. (n,)
        second: Second rating by the same rater. (n,)
        resamples: Resamples of the authors of these posts.

    Returns:
        Test-retest statistics, over all raters together or over one.
    """
    difference = second - first
    pairs = np.stack([first, second], axis=1)
    return RetestStatistics(
        n=int(np.isfinite(difference).sum()),
        shift=resampled_mean(difference, resamples),
        distance=resampled_mean(np.abs(difference), resamples),
        error_sd=np.sqrt(resampled_mean(difference**2, resamples) / 2),
        reliability=intraclass_correlation(pairs, resamples).single,
    )


def pearson_correlation(x: Array, y: Array, resamples: Resamples) -> Array:
    """Compute Pearson's correlation on the data and on every resample.

    Args:
        x: First variable; rows with NaN in either are left out. (n,)
        y: Second variable. (n,)
        resamples: Resamples of authors.

    Returns:
        Replicates; NaN where a variable is constant. (1 + R,)
    """
    rows = np.isfinite(x) & np.isfinite(y)
    if rows.sum() < 2:
        return np.full(len(resamples.counts), np.nan)
    x, y = (np.where(rows, v - v[rows].mean(), 0.0) for v in (x, y))
    columns = np.stack([rows, x, y, x**2, y**2, x * y], axis=1)
    n, sum_x, sum_y, xx, yy, xy = sum_over_resamples(columns, resamples).T
    with np.errstate(divide="ignore", invalid="ignore"):
        variance_x, variance_y = xx - sum_x**2 / n, yy - sum_y**2 / n
        is_defined = (variance_x > 1e-12 * xx) & (variance_y > 1e-12 * yy)
        correlation = (xy - sum_x * sum_y / n) / np.sqrt(variance_x * variance_y)
    return np.where(is_defined, np.clip(correlation, -1, 1), np.nan)
