"""Resample authors, and say what a resampled number is worth.

Posts of one author resemble each other, so a bootstrap over posts would give intervals that are too
narrow: authors are drawn instead, each with all its posts. The draws are made once and used for
every student and baseline, so that differences between two of them are paired. Knows nothing of
metrics: those are in `postbias.stats.metrics`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]

#: Level of every interval around a metric.
LEVEL = 0.95

#: An interval is not given when more than this share of the replications is undefined.
MAX_UNDEFINED = 0.05

# Bounds memory: replications times posts, for ranks.
_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Resamples:
    """How often each author was drawn in each replication.

    Attributes:
        authors: Index of each post's author. (n,)
        counts: Draws per author; the first row is all ones, the data as they are. (1 + R, A)
    """

    authors: npt.NDArray[np.intp]
    counts: npt.NDArray[np.uint16]

    @property
    def n_authors(self) -> int:
        """Number of authors that can be drawn."""
        return int(self.counts.shape[1])

    def chunks(self) -> Iterator[Array]:
        """Give the draws as numbers to multiply with, a few replications at a time.

        Yields:
            Rows of `counts` in order. (c, A)
        """
        for start in range(0, len(self.counts), _CHUNK):
            yield self.counts[start : start + _CHUNK].astype(np.float64)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its interval; `None` where it is not defined.

    Attributes:
        value: The number on the data as they are.
        lo: Lower end of the 95% interval.
        hi: Upper end of the 95% interval.
    """

    value: float | None
    lo: float | None
    hi: float | None

    def as_dict(self) -> dict[str, float | None]:
        """Return the estimate as it stands in `evaluate.json`."""
        return {"value": self.value, "lo": self.lo, "hi": self.hi}


def draw(authors: Sequence[str], replications: int, rng: np.random.Generator) -> Resamples:
    """Draw authors with replacement, as many as there are.

    Args:
        authors: The author of each post. (n,)
        replications: How often to draw.
        rng: Where the randomness comes from.

    Returns:
        The draws, after one row that stands for the data as they are; no draws where there are
        fewer than two authors, so that no interval and no significance comes of them.
    """
    names, codes = np.unique(np.asarray(authors, dtype=object), return_inverse=True)
    n = len(names)
    if n < 2:  # one author drawn again and again would look like certainty
        replications = 0
    counts = np.ones((1 + replications, n), np.uint16)
    for row in counts[1:]:
        row[:] = np.bincount(rng.integers(n, size=n), minlength=n)
    return Resamples(codes, counts)


def estimate(replicates: Array) -> Estimate:
    """Turn a number and its replications into the number with a percentile interval.

    Args:
        replicates: The value on the data, then one value per replication. (1 + R,)

    Returns:
        The estimate; no interval where there are no replications or too many of them are
        undefined.
    """
    value, draws = replicates[0], replicates[1:]
    if not np.isfinite(value):
        return Estimate(None, None, None)
    defined = draws[np.isfinite(draws)]
    if len(defined) < (1 - MAX_UNDEFINED) * len(draws) or not len(defined):
        return Estimate(float(value), None, None)
    lo, hi = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(float(value), float(lo), float(hi))


def p_not_better(advantage: Array) -> float:
    """Return the one-sided p-value of "it is no better".

    Args:
        advantage: By how much it is better: on the data, then per replication. (1 + R,)

    Returns:
        The share of replications without an advantage, with the data counted as one of them, so
        that it is never 0; an undefined replication counts as one without.
    """
    draws = advantage[1:]
    return float((1 + np.count_nonzero(~(draws > 0))) / (1 + len(draws)))


def p_different(difference: Array) -> float | None:
    """Return the two-sided p-value of "there is no difference".

    Args:
        difference: The difference on the data, then per replication. (1 + R,)

    Returns:
        Twice the smaller one-sided p-value, at most 1; `None` where the difference is undefined.
    """
    if not np.isfinite(difference[0]):
        return None
    return min(1.0, 2 * min(p_not_better(difference), p_not_better(-difference)))
