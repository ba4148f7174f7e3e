"""An estimated number, what it rests on, and the interval that follows.

Knows nothing of how the number was estimated: see `postbias.stats.ppi`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import LEVEL, Array, Estimate

#: A small group's variance leans on that of all posts, as if so many more authors had shown it.
PRIOR_AUTHORS = 4.0


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimated mean and what it rests on.

    Attributes:
        value: The estimate; NaN where there are too few labels.
        variance: Its variance.
        influence: How much each author moves it, by the author's number. (A,)
        effective_authors: How many authors of equal weight its labels are worth.
        uncorrected: The plain mean of the scores.
        n: Posts, labels, held-out labels, and authors of the posts.
    """

    value: float
    variance: float
    influence: Array
    effective_authors: float
    uncorrected: float
    n: tuple[int, int, int, int]

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the variance."""
        return self.effective_authors - 1 + PRIOR_AUTHORS

    def interval(self, low: float, high: float) -> Estimate:
        """Return the estimate with its 95% interval.

        Args:
            low: The least value that is possible.
            high: The greatest.

        Returns:
            Value and ends, cut to what is possible.
        """
        return _interval(self.value, self.variance, self.freedom, (low, high))

    def share_interval(self) -> Estimate:
        """Return the estimate with its 95% interval where it is a share.

        Wilson's interval with the number of posts that the variance is worth: symmetric ones are
        too narrow near 0 and 1.

        Returns:
            Value and ends within 0 and 1.
        """
        if not np.isfinite(self.value):
            return Estimate(None, None, None)
        value = float(np.clip(self.value, 0, 1))
        inner = float(np.clip(value, 1 / (self.n[1] + 2), 1 - 1 / (self.n[1] + 2)))
        z2 = _quantile(self.freedom) ** 2
        worth = z2 * self.variance / (inner * (1 - inner))  # z² over the effective number
        middle = (value + worth / 2) / (1 + worth)
        reach = np.sqrt(worth * value * (1 - value) + worth**2 / 4) / (1 + worth)
        lo, hi = (float(np.clip(x, 0, 1)) for x in (middle - reach, middle + reach))
        return Estimate(value, lo, hi)


def difference(one: Figure, two: Figure) -> Estimate:
    """Estimate by how much one mean is above another.

    Args:
        one: The mean of some posts.
        two: The mean of others; they may share authors, even posts.

    Returns:
        The difference with its 95% interval.
    """
    size = max(len(one.influence), len(two.influence))
    a, b = (np.pad(f.influence, (0, size - len(f.influence))) for f in (one, two))
    both = one.variance + two.variance
    # Moderated variances, and the correlation that shared authors make.
    product = np.sqrt(one.variance * two.variance)
    spread = np.sqrt((a @ a) * (b @ b))
    variance = both - 2 * product * float(a @ b / spread) if spread > 0 else both
    freedom = both**2 / (one.variance**2 / one.freedom + two.variance**2 / two.freedom)
    return _interval(one.value - two.value, variance, freedom, (-np.inf, np.inf))


def face_value_error(authors: npt.NDArray[np.intp], scores: Array, figure: Figure) -> Estimate:
    """Estimate by how much the plain mean of the scores is too high.

    Both means are of the same posts, so that what makes these posts unlike others cancels out: this
    interval is narrower than the estimate's own.

    Args:
        authors: Number of each post's author. (N,)
        scores: What the student said. (N,)
        figure: The estimate for these posts.

    Returns:
        Plain mean minus estimate with its 95% interval; nothing where there is no estimate.
    """
    if not np.isfinite(figure.value):
        return Estimate(None, None, None)
    n = len(scores)
    share = np.bincount(authors) / n
    effective = float(1 / (share @ share))
    influence = np.bincount(authors, (scores - scores.mean()) / n).astype(np.float64)
    influence /= np.sqrt(1 - min(1 / effective, 0.5))
    plain = Figure(
        value=float(scores.mean()),
        variance=float(influence @ influence),
        influence=influence,
        effective_authors=effective,
        uncorrected=figure.uncorrected,
        n=figure.n,
    )
    return difference(plain, figure)


def _interval(value: float, variance: float, freedom: float, ends: tuple[float, float]) -> Estimate:
    if not np.isfinite(value):
        return Estimate(None, None, None)
    reach = _quantile(freedom) * float(np.sqrt(max(variance, 0.0)))
    value, lo, hi = (float(np.clip(x, *ends)) for x in (value, value - reach, value + reach))
    return Estimate(value, lo, hi)


def _quantile(freedom: float) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + LEVEL) / 2, freedom))
