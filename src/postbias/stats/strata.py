"""Strata of dominant authors, whose labels are not a sample of many authors.

Folds hold whole authors, so one author with a large part of the posts is either held out or learned
from as a whole, and an author larger than a fold is never held out. Neither set of labels is then a
random part of the corpus. Survey sampling has the same problem with clusters that are selected with
certainty (Kish, Survey Sampling, 1965, ch. 6), and the solution is the same: each is a stratum of
its own, weighted by its share of the posts, which is known exactly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

#: An author with a larger share of the posts is a separate stratum.
DOMINANT_SHARE = 0.05

#: Stratum of the authors that can be in any fold, and of those that are never held out.
ANY_FOLD, NEVER_HELD_OUT = 0, 1
_FIRST_AUTHOR = 2


@dataclass(frozen=True, slots=True)
class Strata:
    """Strata of N posts.

    Attributes:
        index: `ANY_FOLD`, `NEVER_HELD_OUT`, or a higher number for each dominant author. (N,)
        units: Index of the independent unit of each post: its author or, in the stratum of a
            dominant author, the post itself. (N,)
        unlabelled_shares: Share of the posts of each dominant author without a label, who is
            treated as one of the other authors. (U,)
    """

    index: Ints
    units: Ints
    unlabelled_shares: npt.NDArray[np.float64]


def stratify(authors: Ints, posts: Ints, is_labelled: Bools, is_never_held_out: Bools) -> Strata:
    """Assign posts to strata.

    Args:
        authors: Author index of each post. (N,)
        posts: Distinct index of each post, the same in every subset of posts. (N,)
        is_labelled: Whether the post has a label. (N,)
        is_never_held_out: Whether no label of its author can be held out. (N,)

    Returns:
        The strata; each of them has a label.
    """
    shares = np.bincount(authors) / len(authors)
    is_dominant = (shares > DOMINANT_SHARE)[authors]
    shared = np.where(is_never_held_out, NEVER_HELD_OUT, ANY_FOLD)
    index = np.where(is_dominant, _FIRST_AUTHOR + authors, shared)
    counts = np.bincount(index)
    is_unlabelled = (counts > 0) & (np.bincount(index, is_labelled) == 0)
    unlabelled_shares = counts[is_unlabelled] / len(authors)
    index = np.where(is_unlabelled[index], ANY_FOLD, index)
    if not is_labelled[index == ANY_FOLD].any():
        # Nothing is known of these posts, so they are treated like all the others.
        index, unlabelled_shares = np.zeros_like(index), np.zeros(0)
    # Odd numbers are posts and even numbers authors, so that two subsets number them alike.
    units = np.where(index >= _FIRST_AUTHOR, 2 * posts + 1, 2 * authors)
    return Strata(index, units, unlabelled_shares)
