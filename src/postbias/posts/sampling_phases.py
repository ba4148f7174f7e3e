"""The three phases of a sample: one post for each caption, not too many by one author, then a draw.

`postbias.posts.sampling` explains the inclusion probabilities.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from postbias.errors import ParamsError
from postbias.params import SampleParams
from postbias.posts.sampling_frame import SamplingFrame

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Eligible:
    """The M posts that the first two phases leave.

    Attributes:
        posts: Their places in the sampling frame. (M,)
        sizes: Number of posts with the caption of each. (M,)
        probability: Probability that the two phases keep it. (M,)
        groups: Number of distinct captions.
        largest_group: Posts that share the most frequent caption.
    """

    posts: np.ndarray
    sizes: np.ndarray
    probability: np.ndarray
    groups: int
    largest_group: int


def find_eligible(
    frame: SamplingFrame, candidates: np.ndarray, max_per_author: int | None
) -> Eligible:
    """Keep one post for each caption, and of these not too many by one author.

    Args:
        frame: All posts.
        candidates: Places of the posts that take part. (C,)
        max_per_author: Maximum number of posts by one author; None for no limit.

    Returns:
        The posts that are kept.
    """
    picked, sizes = _pick_representatives(frame.caption[candidates], frame.random[candidates, 0])
    posts = candidates[picked]
    kept, p = _cap_authors(_codes(frame.author)[posts], frame.random[posts, 1], max_per_author)
    return Eligible(
        posts[kept], sizes[kept], (1 / sizes * p)[kept], len(sizes), int(sizes.max(initial=0))
    )


def allocate_to_strata(available: np.ndarray, n: int) -> np.ndarray:
    """Allocate a sample of `n` posts equally to strata; larger strata make up for exhausted ones.

    Args:
        available: Eligible posts per stratum, all above 0, (H,).
        n: Sample size, at least H.

    Returns:
        Posts to draw per stratum, (H,): at least 1 each, `min(n, available.sum())` in total.
    """
    allocated = np.zeros_like(available)
    remaining = n
    for done, stratum in enumerate(np.argsort(available, kind="stable")):
        allocated[stratum] = min(available[stratum], remaining // (len(available) - done))
        remaining -= int(allocated[stratum])
    return allocated


def _pick_representatives(caption: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pick the post with the lowest random number per caption, (G,), and count its posts, (G,)."""
    order, starts, sizes = _sort_into_groups(caption, random)
    return order[starts], sizes


def _cap_authors(
    author: np.ndarray, random: np.ndarray, max_per_author: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Keep random posts of each author, up to the cap: a mask and inclusion probabilities, (G,)."""
    if max_per_author is None:
        return np.ones(len(author), dtype=bool), np.ones(len(author))
    is_kept = _rank_within(author, random) < max_per_author
    return is_kept, np.minimum(1, max_per_author / np.bincount(author)[author])


def draw_from_strata(
    frame: SamplingFrame, eligible: np.ndarray, params: SampleParams, n_given: int
) -> tuple[np.ndarray, np.ndarray, dict[str, tuple[int, int]]]:
    """Draw from each stratum.

    Args:
        frame: All posts.
        eligible: Places of the posts to draw from. (M,)
        params: Sample size.
        n_given: Posts of a given test fold, which count toward the sample size.

    Returns:
        A mask of drawn posts, (M,), their inclusion probabilities, (M,), and by name of the
        stratum the numbers of eligible and of drawn posts.

    Raises:
        ParamsError: If the sample size is too small.
    """
    n, total = params.n, len(eligible)
    if n is not None and n > total + n_given:
        logger.warning(
            "sample.n is %d but only %d posts can be drawn: all are sampled", n, total + n_given
        )
    if n is not None and n < n_given:
        raise ParamsError(
            f"sample.n is smaller than the given test fold of {n_given} posts, which is kept whole",
            seen=n,
            allowed=f"at least {n_given}, or null",
            do="raise sample.n, or set split.folds to null",
        )
    names, stratum = np.unique(
        frame.stratum.dictionary.to_numpy(zero_copy_only=False)[_codes(frame.stratum)[eligible]],
        return_inverse=True,
    )
    available = np.bincount(stratum)
    size = total if n is None else min(n - n_given, total)
    if size < len(names):
        raise ParamsError(
            f"sample.n allows less than one post for each of {len(names)} strata",
            seen=n,
            allowed=f"at least {len(names) + n_given}",
            do="raise sample.n or stratify by fewer columns",
        )
    allocated = allocate_to_strata(available, size)
    is_drawn = _rank_within(stratum, frame.random[eligible, 2]) < allocated[stratum]
    counts = zip(map(str, names), available.tolist(), allocated.tolist(), strict=True)
    return is_drawn, (allocated / available)[stratum], {name: (a, d) for name, a, d in counts}


def _rank_within(group: np.ndarray, random: np.ndarray) -> np.ndarray:
    """Rank each entry within its group by its random number, from 0; all arrays are (N,)."""
    order, starts, sizes = _sort_into_groups(group, random)
    ranks = np.empty(len(order), dtype=np.int64)
    ranks[order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return ranks


def _sort_into_groups(
    group: np.ndarray, random: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort by group, then random number: the order, (N,), and each group's start and size, (G,)."""
    order = np.lexsort((random, group))
    grouped = group[order]
    starts = np.flatnonzero(np.r_[True, grouped[1:] != grouped[:-1]][: len(order)])
    return order, starts, np.diff(np.r_[starts, len(order)])


def _codes(column: pa.DictionaryArray) -> np.ndarray:
    return np.asarray(column.indices)
