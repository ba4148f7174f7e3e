"""Estimated means with their variance, confidence intervals and differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from postbias.stats.bootstrap import CONFIDENCE_LEVEL, Array, Estimate
from postbias.stats.strata import Ints, Strata

#: Weight of the variance of all posts in the variance of a small group, in authors.
PRIOR_AUTHORS = 4.0


class SampleSizes(NamedTuple):
    """Posts that an estimate is about, their labels and held-out labels, and their authors."""

    posts: int
    labels: int
    held_out: int
    authors: int


@dataclass(frozen=True, slots=True)
class MeanEstimate:
    """An estimated mean label of a group of posts.

    Attributes:
        value: The estimate; NaN with too few labels.
        variance: Its variance.
        influence: Influence of each independent unit on it, by `Strata.units`. (U,)
        degrees_of_freedom: Degrees of freedom of the variance.
        plug_in: The plug-in estimate: the plain mean of the scores.
        sizes: Sample sizes.
    """

    value: float
    variance: float
    influence: Array
    degrees_of_freedom: float
    plug_in: float
    sizes: SampleSizes

    def interval(self, low: float, high: float) -> Estimate:
        """Return the estimate with its 95% interval, clipped to the possible range."""
        return _t_interval(self.value, self.variance, self.degrees_of_freedom, (low, high))

    def share_interval(self) -> Estimate:
        """Return the estimate of a share with its 95% interval, within 0 and 1.

        Wilson's interval with the effective number of posts, because symmetric intervals are too
        narrow near 0 and 1. The variance is at least that of a share of one label in all: without
        any label in a band it would be 0, which does not mean that the share is exactly 0.
        """
        if not np.isfinite(self.value):
            return Estimate(None, None, None)
        value = float(np.clip(self.value, 0, 1))
        rare = 1 / (self.sizes.labels + 2)
        inner = float(np.clip(value, rare, 1 - rare))
        variance = max(self.variance, rare * (1 - rare) / self.sizes.labels)
        z2 = _t_quantile(self.degrees_of_freedom) ** 2
        ratio = z2 * variance / (inner * (1 - inner))  # z² over the effective number of posts
        center = (value + ratio / 2) / (1 + ratio)
        half_width = np.sqrt(ratio * value * (1 - value) + ratio**2 / 4) / (1 + ratio)
        lo, hi = (float(np.clip(x, 0, 1)) for x in (center - half_width, center + half_width))
        return Estimate(value, lo, hi)


def estimate_difference_of_means(first: MeanEstimate, second: MeanEstimate) -> Estimate:
    """Estimate the difference between two means: the first minus the second.

    Args:
        first: Mean of a group of posts.
        second: Mean of another group; the two may share authors and even posts.

    Returns:
        The difference with its 95% interval.
    """
    size = max(len(first.influence), len(second.influence))
    a, b = (np.pad(m.influence, (0, size - len(m.influence))) for m in (first, second))
    total = first.variance + second.variance
    # The moderated variances, with the correlation that results from shared authors.
    product = np.sqrt(first.variance * second.variance)
    norm = np.sqrt((a @ a) * (b @ b))
    variance = total - 2 * product * float(a @ b / norm) if norm > 0 else total
    degrees_of_freedom = _satterthwaite(
        [first.variance, second.variance], [first.degrees_of_freedom, second.degrees_of_freedom]
    )
    return _t_interval(first.value - second.value, variance, degrees_of_freedom, (-np.inf, np.inf))


def combine_strata(
    shares: Sequence[float], means: Sequence[MeanEstimate], extra: Sequence[float] = ()
) -> MeanEstimate:
    """Combine the means of strata that share no independent unit.

    Args:
        shares: Share of the posts of each stratum; they sum to 1. (S,)
        means: Estimate for each stratum. (S,)
        extra: Additional variances, with `PRIOR_AUTHORS` degrees of freedom each.

    Returns:
        The mean over all strata.
    """
    influence = np.zeros(max(len(mean.influence) for mean in means))
    for share, mean in zip(shares, means, strict=True):
        influence[: len(mean.influence)] += share * mean.influence
    weighted = list(zip(shares, means, strict=True))
    variances = [share**2 * mean.variance for share, mean in weighted] + list(extra)
    freedoms = [mean.degrees_of_freedom for mean in means] + [PRIOR_AUTHORS] * len(extra)
    return MeanEstimate(
        value=sum(share * mean.value for share, mean in weighted),
        variance=sum(variances),
        influence=influence,
        degrees_of_freedom=_satterthwaite(variances, freedoms),
        plug_in=sum(share * mean.plug_in for share, mean in weighted),
        sizes=SampleSizes(*(sum(sizes) for sizes in zip(*(m.sizes for m in means), strict=True))),
    )


def plug_in_error(strata: Strata, scores: Array, mean: MeanEstimate) -> Estimate:
    """Estimate the error of the plug-in estimate: the plain mean of the scores minus the estimate.

    Both are means of the same posts, so the sampling error of the posts cancels out, and the
    interval is narrower than that of the estimate itself.

    Args:
        strata: Strata of the posts.
        scores: The student's score of each post. (N,)
        mean: The estimate for these posts.

    Returns:
        The error with its 95% interval; undefined if the estimate is.
    """
    if not np.isfinite(mean.value):
        return Estimate(None, None, None)
    names = np.flatnonzero(np.bincount(strata.index))
    masks = [strata.index == name for name in names]
    plain = [_plain_mean(strata.units[rows], scores[rows], mean.sizes) for rows in masks]
    plug_in = combine_strata([float(rows.mean()) for rows in masks], plain)
    return estimate_difference_of_means(plug_in, mean)


def _plain_mean(units: Ints, scores: Array, sizes: SampleSizes) -> MeanEstimate:
    """Return the mean of all scores of a stratum as an estimate for similar authors and posts."""
    n, value = len(scores), float(scores.mean())
    share = np.bincount(units) / n
    effective = float(1 / (share @ share))
    influence = np.bincount(units, (scores - value) / n).astype(np.float64)
    influence /= np.sqrt(1 - min(1 / effective, 0.5))
    freedom = effective - 1 + PRIOR_AUTHORS
    return MeanEstimate(value, float(influence @ influence), influence, freedom, value, sizes)


def _satterthwaite(variances: Sequence[float], degrees_of_freedom: Sequence[float]) -> float:
    """Return the approximate degrees of freedom of a sum of independent variances."""
    terms = zip(variances, degrees_of_freedom, strict=True)
    denominator = sum(variance**2 / freedom for variance, freedom in terms)
    return sum(variances) ** 2 / denominator if denominator > 0 else min(degrees_of_freedom)


def _t_interval(
    value: float, variance: float, degrees_of_freedom: float, bounds: tuple[float, float]
) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None, None)
    half_width = _t_quantile(degrees_of_freedom) * float(np.sqrt(max(variance, 0.0)))
    value, lo, hi = (
        float(np.clip(x, *bounds)) for x in (value, value - half_width, value + half_width)
    )
    return Estimate(value, lo, hi)


def _t_quantile(degrees_of_freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE_LEVEL) / 2, degrees_of_freedom))
