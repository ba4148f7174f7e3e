"""How much of the variance of people's ratings labels and scores explain, from a pilot."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT, UNLABELLED
from postbias.stats.rated_corpus import RatedCorpus
from postbias.stats.strata import Bools
from postbias.stats.weighted_fit import fit_weighted, sample_weights

#: Minimum number of rated posts from which the components are estimated.
MIN_PILOT = 15


@dataclass(frozen=True, slots=True)
class GroupComponents:
    """Variance components of people's ratings of a group of posts, per post.

    Attributes:
        share: Share of all posts that are in the group.
        unexplained: Variance between posts that neither labels nor scores explain.
        noise: Variance of one rating around what all raters would say of the post.
        by_labels: Variance that labels explain beyond the scores.
        by_scores: Variance that scores explain.
        held_out: Share of the labels that the student did not learn from.
    """

    share: float
    unexplained: float
    noise: float
    by_labels: float
    by_scores: float
    held_out: float = 1.0

    def variance(self, n_rated: Array, n_labels: Array, n_posts: int, raters: int) -> Array:
        """Predict the variance of the tuned estimate of the group's mean.

        Rated posts and the teacher's sample are simple random samples. A control variate that is
        known for M posts leaves its part of the variance divided by M instead of n. The scores of
        learned posts represent no other posts, so they help only as far as labels are held out.

        Args:
            n_rated: Number of rated posts, n.
            n_labels: Number of labelled posts, rated ones among them, M; same shape.
            n_posts: Number of all posts, N.
            raters: Number of raters of each rated post.

        Returns:
            The variance, of the same shape.
        """
        rated, labelled = n_rated * self.share, n_labels * self.share
        by_labels = self.by_labels + (1 - self.held_out) * self.by_scores
        variance: Array = (
            (self.unexplained + self.noise / raters) / rated
            + by_labels / labelled
            + self.held_out * self.by_scores / (n_posts * self.share)
        )
        return variance


def estimate_components(
    pilot: RatedCorpus, group: Bools, *, noise: float, raters: float
) -> GroupComponents | None:
    """Estimate the variance components of a group from a pilot.

    Args:
        pilot: All posts, some of them rated and labelled.
        group: Mask of the group. (N,)
        noise: Variance of one rating, from `within_post_variance`.
        raters: Harmonic mean of the number of raters per rated post of the pilot.

    Returns:
        The components; `None` with fewer than `MIN_PILOT` rated and labelled posts.
    """
    rows = group & pilot.is_rated & np.isfinite(pilot.labels)
    if np.count_nonzero(rows) < MIN_PILOT:
        return None
    weights = sample_weights(pilot.rating_weights, rows)
    constant = np.ones(len(weights))
    columns = [constant, pilot.scores, np.where(rows, pilot.labels, 0.0)]
    left = [
        _residual_variance(np.stack(columns[:k], axis=1), pilot.ratings, weights) for k in (1, 2, 3)
    ]
    total, after_scores = left[0], min(left[:2])
    after_labels = min(left)
    roles = pilot.design.roles
    n_labels = np.count_nonzero(roles != UNLABELLED)
    return GroupComponents(
        share=float(group.mean()),
        unexplained=max(after_labels - noise / raters, 0.0),
        noise=noise,
        by_labels=after_scores - after_labels,
        by_scores=total - after_scores,
        held_out=float(np.count_nonzero(roles == HELD_OUT) / n_labels) if n_labels else 1.0,
    )


def within_post_variance(ratings: Array) -> float:
    """Compute the variance of ratings of one post around its mean, pooled over posts.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (n, J)

    Returns:
        The variance; 0 if no post has two ratings.
    """
    is_rated = np.isfinite(ratings)
    n = is_rated.sum(axis=1)
    rows = n > 1
    if not rows.any():
        return 0.0
    centered = ratings[rows] - np.nanmean(ratings[rows], axis=1, keepdims=True)
    return float(np.nansum(centered**2) / (n[rows] - 1).sum())


def _residual_variance(covariates: Array, values: Array, weights: Array) -> float:
    """Return the weighted residual variance, corrected for the number of coefficients."""
    fit = fit_weighted(covariates, values, weights)
    n, n_coefficients = len(fit.rows), covariates.shape[1]
    mean_square = np.average(fit.residuals**2, weights=fit.weights)
    return float(mean_square * n / (n - n_coefficients))
