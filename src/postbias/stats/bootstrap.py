"""Cluster bootstrap over authors: resampling, percentile intervals and p-values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

#: Confidence level of every interval around a metric or an estimate.
CONFIDENCE_LEVEL = 0.95

#: No interval is reported if more than this share of the replicates is undefined.
MAX_UNDEFINED_SHARE = 0.05

# Replications per chunk; bounds memory, because rank metrics hold replications x posts.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Resamples:
    """Bootstrap resamples of authors.

    Posts of one author resemble each other, so a bootstrap over posts would give intervals that are
    too narrow: whole authors are resampled. All models share the resamples, so that differences
    between them are paired.

    Attributes:
        authors: Author index of each post. (n,)
        counts: Times that each author was drawn; the first row is all ones, the data as they are.
            (1 + R, A)
    """

    authors: npt.NDArray[np.intp]
    counts: npt.NDArray[np.uint16]

    @property
    def n_authors(self) -> int:
        """Number of distinct authors."""
        return int(self.counts.shape[1])

    def iter_chunks(self) -> Iterator[Array]:
        """Iterate over the counts as floats, some replications at a time.

        Yields:
            Consecutive rows of `counts`. (c, A)
        """
        for start in range(0, len(self.counts), _CHUNK):
            yield self.counts[start : start + _CHUNK].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A point estimate with its 95% interval; `None` where undefined.

    Attributes:
        value: The point estimate.
        lo: Lower limit of the interval.
        hi: Upper limit of the interval.
    """

    value: float | None
    lo: float | None
    hi: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the estimate as it is written to JSON reports."""
        return {"value": self.value, "lo": self.lo, "hi": self.hi}


def resample_authors(
    authors: Sequence[str], replications: int, rng: np.random.Generator
) -> Resamples:
    """Draw as many authors as there are, with replacement, in each replication.

    Args:
        authors: Author of each post. (n,)
        replications: Number of replications, R.

    Returns:
        The data as they are, then the resamples; no resamples for fewer than two authors, so that
        nothing gets an interval or a significant p-value.
    """
    names, codes = np.unique(np.asarray(authors, dtype=object), return_inverse=True)
    n = len(names)
    if n < 2:  # all resamples of one author are equal and would look like certainty
        replications = 0
    counts = np.ones((1 + replications, n), np.uint16)
    for row in counts[1:]:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return Resamples(codes, counts)


def summarize_replicates(replicates: Array) -> Estimate:
    """Summarize a statistic and its bootstrap replicates as an estimate with percentile interval.

    Args:
        replicates: The statistic on the data, then on each resample. (1 + R,)

    Returns:
        The estimate; without an interval if there are no replicates or too many are undefined.
    """
    value, draws = replicates[0], replicates[1:]
    if not np.isfinite(value):
        return Estimate(None, None, None)
    defined = draws[np.isfinite(draws)]
    if len(defined) < (1 - MAX_UNDEFINED_SHARE) * len(draws) or not len(defined):
        return Estimate(float(value), None, None)
    lo, hi = np.quantile(defined, [(1 - CONFIDENCE_LEVEL) / 2, (1 + CONFIDENCE_LEVEL) / 2])
    return Estimate(float(value), float(lo), float(hi))


def one_sided_p_value(advantage: Array) -> float:
    """Compute the p-value of the null hypothesis that there is no advantage.

    Args:
        advantage: The advantage on the data, then on each resample. (1 + R,)

    Returns:
        Share of replicates without an advantage, the data counted as one, so that p is never 0; an
        undefined replicate counts as no advantage.
    """
    draws = advantage[1:]
    return float((1 + np.count_nonzero(~(draws > 0))) / (1 + len(draws)))


def two_sided_p_value(difference: Array) -> float | None:
    """Compute the p-value of the null hypothesis that there is no difference.

    Args:
        difference: The difference on the data, then on each resample. (1 + R,)

    Returns:
        Twice the smaller one-sided p-value, at most 1; `None` if the difference is undefined.
    """
    if not np.isfinite(difference[0]):
        return None
    return min(1.0, 2 * min(one_sided_p_value(difference), one_sided_p_value(-difference)))
