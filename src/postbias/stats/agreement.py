"""Agreement between raters, on the data and on every bootstrap resample of posts.

Raters may be people, a teacher, a student, or two runs of one teacher: each is a column of a rating
matrix in which NaN means that the rater did not rate the post. All coefficients are functions of
sums over posts, so the replicates of a bootstrap are one matrix product.

Krippendorff's alpha has a library of its own (`krippendorff`), which counts every pair of distinct
values and would have to run once per resample; the tests compare with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np

from postbias.axes import BAND_NAMES, Axis
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.metrics import band_indices

_N_BANDS = len(BAND_NAMES)
# Sums of squares that are smaller relative to the total are rounding errors.
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class IntraclassCorrelation:
    """Intraclass correlations of a two-way random-effects model, absolute agreement.

    Attributes:
        single: ICC(2,1), the reliability of one rating. (1 + R,)
        mean: ICC(2,k), the reliability of the mean of `k` ratings. (1 + R,)
        k: Harmonic mean of the number of ratings per post. (1 + R,)
    """

    single: Array
    mean: Array
    k: Array


def krippendorff_alpha(ratings: Array, resamples: Resamples) -> Array:
    """Compute Krippendorff's alpha for interval data.

    Krippendorff, Content Analysis (2004), ch. 11. Posts with fewer than two ratings do not count.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (n, J)
        resamples: Resamples of authors, or of posts if every post is its own author.

    Returns:
        Replicates: 1 for perfect agreement, 0 for agreement by chance; NaN if all ratings are
        equal. (1 + R,)
    """
    x, n = _center(ratings)
    is_pairable = n >= 2
    n = np.where(is_pairable, n, 0)
    total, squares = (x.sum(axis=1) * is_pairable, (x**2).sum(axis=1) * is_pairable)
    within = (n * squares - total**2) / np.maximum(n - 1, 1)
    sums = sum_over_resamples(np.stack([n, total, squares, within], axis=1), resamples)
    n_all, total_all, squares_all, observed = sums.T
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = (n_all * squares_all - total_all**2) / (n_all - 1)
        alpha = 1 - observed / expected
    return np.where(expected > _ROUNDING * squares_all, alpha, np.nan)


def intraclass_correlation(ratings: Array, resamples: Resamples) -> IntraclassCorrelation:
    """Compute ICC(2,1) and ICC(2,k) (Shrout and Fleiss 1979; McGraw and Wong 1996: ICC(A,1)).

    The variance components of posts, raters and error are estimated by Henderson's method 1, which
    equates uncorrected sums of squares with their expectations. It uses every rating of an
    incomplete design, is unbiased if which ratings are missing does not depend on their values, and
    equals the analysis of variance for a complete one. Components are not truncated at 0.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (n, J)
        resamples: Resamples of authors. Raters are not resampled: intervals are about these raters.

    Returns:
        Replicates; NaN if the components are not identified, as with one rating per post.
    """
    x, n = _center(ratings)
    is_rated = np.isfinite(ratings)
    rows = n > 0
    safe_n = np.maximum(n, 1)
    per_post = [rows, n, n**2, rows / safe_n, (x**2).sum(axis=1), x.sum(axis=1) ** 2 / safe_n]
    columns = np.concatenate([np.stack(per_post, axis=1), is_rated, x], axis=1)
    sums = sum_over_resamples(columns, resamples)
    n_raters = ratings.shape[1]
    posts, total_n, n_squared, inverse_n, squares, by_post = sums[:, :6].T
    per_rater, rater_sums = sums[:, 6 : 6 + n_raters], sums[:, 6 + n_raters :]
    with np.errstate(divide="ignore", invalid="ignore"):
        by_rater = np.where(per_rater > 0, rater_sums**2 / per_rater, 0).sum(axis=1)
        by_all = rater_sums.sum(axis=1) ** 2 / total_n
        # E[each - by_all] = coefficients @ (post, rater, error) components.
        post_share, rater_share = n_squared / total_n, (per_rater**2).sum(axis=1) / total_n
        active = np.count_nonzero(per_rater, axis=1)
    coefficients = np.stack(
        [
            np.stack([total_n - post_share, posts - rater_share, posts - 1], axis=1),
            np.stack([active - post_share, total_n - rater_share, active - 1], axis=1),
            np.stack([total_n - post_share, total_n - rater_share, total_n - 1], axis=1),
        ],
        axis=1,
    )  # (1 + R, 3, 3)
    observed = np.stack([by_post, by_rater, squares], axis=1) - by_all[:, None]
    components = _solve(coefficients, observed)
    post, rest = components[:, 0], components[:, 1] + components[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        k = posts / inverse_n
        single = np.where(squares - by_all > _ROUNDING * squares, post / (post + rest), np.nan)
        mean = np.where(np.isfinite(single), post / (post + rest / k), np.nan)
    return IntraclassCorrelation(single, mean, k)


def weighted_kappa(ratings: Array, axis: Axis, resamples: Resamples) -> Array:
    """Compute Cohen's kappa of the bands with quadratic weights, averaged over pairs of raters.

    With more than two raters this is Light's kappa (1971); pairs count by the posts they share.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (n, J)
        axis: The axis, for its bands.
        resamples: Resamples of authors.

    Returns:
        Replicates; NaN where no pair of raters has a defined kappa. (1 + R,)
    """
    n_replicates = len(resamples.counts)
    total, weight = np.zeros(n_replicates), np.zeros(n_replicates)
    bands = band_indices(np.nan_to_num(ratings), axis)
    distance = (np.arange(_N_BANDS)[:, None] - np.arange(_N_BANDS)) ** 2
    for first, second in combinations(range(ratings.shape[1]), 2):
        is_shared = np.isfinite(ratings[:, first]) & np.isfinite(ratings[:, second])
        pair = bands[:, first] * _N_BANDS + bands[:, second]
        counts = sum_over_resamples(np.eye(_N_BANDS**2)[pair] * is_shared[:, None], resamples)
        table = counts.reshape(-1, _N_BANDS, _N_BANDS)
        n = counts.sum(axis=1)
        observed = (table * distance).sum(axis=(1, 2)) * n
        expected = np.einsum("ri,ij,rj->r", table.sum(axis=2), distance, table.sum(axis=1))
        is_defined = expected > 0
        kappa = 1 - observed / np.where(is_defined, expected, 1)
        total += np.where(is_defined, n * kappa, 0)
        weight += np.where(is_defined, n, 0)
    return np.where(weight > 0, total / np.maximum(weight, 1), np.nan)


def sum_over_resamples(columns: Array, resamples: Resamples) -> Array:
    """Sum columns over the posts of every resample.

    Args:
        columns: Values of each post. (n, K)
        resamples: Resamples of the authors of these posts.

    Returns:
        Sums on the data, then on each resample. (1 + R, K)
    """
    per_author = np.zeros((resamples.n_authors, columns.shape[1]))
    np.add.at(per_author, resamples.authors, columns)
    return np.concatenate([chunk @ per_author for chunk in resamples.iter_chunks()])


def _center(ratings: Array) -> tuple[Array, Array]:
    """Return the ratings around their mean, missing ones 0, and the number of ratings per post."""
    is_rated = np.isfinite(ratings)
    mean = ratings[is_rated].mean() if is_rated.any() else 0.0
    return np.where(is_rated, ratings - mean, 0.0), is_rated.sum(axis=1).astype(np.float64)


def _solve(coefficients: Array, observed: Array) -> Array:
    """Solve each 3 x 3 system; NaN where it is singular, (1 + R, 3)."""
    scale = np.nan_to_num(np.abs(coefficients).max(axis=(1, 2)))
    scale = np.where(scale > 0, scale, 1.0)
    scaled = np.nan_to_num(coefficients) / scale[:, None, None]
    determinants = np.asarray(np.linalg.det(scaled))
    solved = np.full(observed.shape, np.nan)
    rows = np.flatnonzero(np.abs(determinants) > _ROUNDING)
    right = observed[rows] / scale[rows, None]
    solved[rows] = np.linalg.solve(scaled[rows], right[:, :, None])[:, :, 0]
    return solved
