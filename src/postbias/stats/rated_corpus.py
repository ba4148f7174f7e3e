"""A corpus of scored posts, of which many have a label of the teacher and few have ratings."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.label_design import LabelDesign
from postbias.stats.strata import Bools, Ints


@dataclass(frozen=True, slots=True)
class RatedCorpus:
    """Three layers of measurements of N posts: ratings by people, labels, and scores.

    The posts to rate are sampled either from all posts, independently of the teacher's sample, or
    from the teacher's sample: then all of them have a role in `design`, and that is how the two are
    told apart. Each rated post should have a label. The student may have learned from any labels,
    but from no rating.

    Attributes:
        design: Authors, and which posts are in the teacher's sample, with what probability.
        ratings: Mean over the raters of each rated post, of their ratings or of a function of each
            rating; NaN for the others. (N,)
        rating_weights: 1 / probability of being sampled for rating, and of being labelled if the
            posts were drawn from labelled ones; 0 for posts without a rating. (N,)
        rating_strata: Stratum of each post that could be drawn for rating, if a fixed number per
            stratum was drawn; posts that could not be drawn have a stratum of their own. Else all
            0. (N,)
        labels: The teacher's label of the posts of its sample and of rated posts; else NaN. (N,)
        scores: The student's score. (N,)
    """

    design: LabelDesign
    ratings: Array
    rating_weights: Array
    rating_strata: Ints
    labels: Array
    scores: Array

    @property
    def is_rated(self) -> Bools:
        """Mask of the posts with a rating, (N,)."""
        return np.isfinite(self.ratings)

    def subset(self, rows: Bools) -> RatedCorpus:
        """Return the posts in a mask (N,)."""
        return RatedCorpus(
            self.design.subset(rows),
            self.ratings[rows],
            self.rating_weights[rows],
            self.rating_strata[rows],
            self.labels[rows],
            self.scores[rows],
        )

    def with_values(self, ratings: Array, labels: Array, scores: Array) -> RatedCorpus:
        """Return the same samples with other values, such as indicators of high posts."""
        return replace(self, ratings=ratings, labels=labels, scores=scores)


def mean_ratings(ratings: Array) -> Array:
    """Average the ratings of each post.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (N, J)

    Returns:
        Mean per post; NaN without a rating. (N,)
    """
    n = np.isfinite(ratings).sum(axis=1)
    return np.where(n > 0, np.nansum(ratings, axis=1) / np.maximum(n, 1), np.nan)


def share_of_ratings(ratings: Array, threshold: float) -> Array:
    """Compute the share of each post's ratings that are at or above a threshold.

    Its mean over posts is the probability that a rater rates a post so high. The share of posts
    whose *mean* rating is that high would depend on how many raters rated each post, because noise
    moves posts across the threshold.

    Args:
        ratings: Rating of each post by each rater; NaN if missing. (N, J)
        threshold: The smallest value that counts.

    Returns:
        Share per post; NaN without a rating. (N,)
    """
    return mean_ratings(np.where(np.isfinite(ratings), ratings >= threshold, np.nan))
