"""Estimated means with their variance, confidence intervals and differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import CONFIDENCE_LEVEL, Array, Estimate

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
        influence: Influence of each author on it, by author index. (A,)
        effective_authors: Number of authors of equal weight that carry as much information.
        plug_in: The plug-in estimate: the plain mean of the scores.
        sizes: Sample sizes.
    """

    value: float
    variance: float
    influence: Array
    effective_authors: float
    plug_in: float
    sizes: SampleSizes

    @property
    def degrees_of_freedom(self) -> float:
        """Degrees of freedom of the variance."""
        return self.effective_authors - 1 + PRIOR_AUTHORS

    def interval(self, low: float, high: float) -> Estimate:
        """Return the estimate with its 95% interval, clipped to the possible range."""
        return _t_interval(self.value, self.variance, self.degrees_of_freedom, (low, high))

    def share_interval(self) -> Estimate:
        """Return the estimate of a share with its 95% interval, within 0 and 1.

        Wilson's interval with the effective number of posts, because symmetric intervals are too
        narrow near 0 and 1.
        """
        if not np.isfinite(self.value):
            return Estimate(None, None, None)
        value = float(np.clip(self.value, 0, 1))
        inner = float(np.clip(value, 1 / (self.sizes.labels + 2), 1 - 1 / (self.sizes.labels + 2)))
        z2 = _t_quantile(self.degrees_of_freedom) ** 2
        ratio = z2 * self.variance / (inner * (1 - inner))  # z² over the effective number of posts
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
    degrees_of_freedom = total**2 / (
        first.variance**2 / first.degrees_of_freedom
        + second.variance**2 / second.degrees_of_freedom
    )
    return _t_interval(first.value - second.value, variance, degrees_of_freedom, (-np.inf, np.inf))


def plug_in_error(authors: npt.NDArray[np.intp], scores: Array, mean: MeanEstimate) -> Estimate:
    """Estimate the error of the plug-in estimate: the plain mean of the scores minus the estimate.

    Both are means of the same posts, so the sampling error of the posts cancels out, and the
    interval is narrower than that of the estimate itself.

    Args:
        authors: Author index of each post. (N,)
        scores: The student's score of each post. (N,)
        mean: The estimate for these posts.

    Returns:
        The error with its 95% interval; undefined if the estimate is.
    """
    if not np.isfinite(mean.value):
        return Estimate(None, None, None)
    n = len(scores)
    share = np.bincount(authors) / n
    effective_authors = float(1 / (share @ share))
    influence = np.bincount(authors, (scores - scores.mean()) / n).astype(np.float64)
    influence /= np.sqrt(1 - min(1 / effective_authors, 0.5))
    plug_in = MeanEstimate(
        value=float(scores.mean()),
        variance=float(influence @ influence),
        influence=influence,
        effective_authors=effective_authors,
        plug_in=mean.plug_in,
        sizes=mean.sizes,
    )
    return estimate_difference_of_means(plug_in, mean)


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
