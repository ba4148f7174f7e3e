"""Which of the scored posts have a label, how it was used, and with what probability."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array
from postbias.stats.strata import Bools, Ints, Strata, stratify

#: Role of a post: no label, a label that the student learned from, or a held-out label.
UNLABELLED, LEARNED, HELD_OUT = 0, 1, 2


@dataclass(frozen=True)
class LabelDesign:
    """Which of the scored posts have a label, and how the label was used and sampled.

    The student's errors are too small on posts that it was trained or selected on, so its error is
    estimated from held-out labels only; learned ones contribute as labels. The scores of learned
    posts do not represent those of other posts either: in the mean score of all posts they are
    replaced by held-out ones, since both are random parts of one sample. Folds are assigned by
    author, with equal probability for all, so a held-out label needs no additional weight. Dominant
    authors, and authors who are never held out, are strata of their own (`postbias.stats.strata`).

    Attributes:
        authors: Author index of each post. (N,)
        roles: `UNLABELLED`, `LEARNED` or `HELD_OUT`. (N,)
        weights: 1 / inclusion probability of labelled posts; 0 for the others. (N,)
        is_never_held_out: Whether no label of the post's author can be held out. (N,)
        posts: Distinct index of each post, kept in subsets. (N,)
    """

    authors: Ints
    roles: npt.NDArray[np.int8]
    weights: Array
    is_never_held_out: Bools
    posts: Ints

    @classmethod
    def of_corpus(
        cls,
        authors: Ints,
        roles: npt.NDArray[np.int8],
        weights: Array,
        is_never_held_out: Bools | None = None,
    ) -> LabelDesign:
        """Make the design of all posts; by default every author can be held out."""
        never = np.zeros(len(authors), dtype=bool)
        if is_never_held_out is not None:
            never = is_never_held_out
        return cls(authors, roles, weights, never, np.arange(len(authors)))

    def subset(self, rows: Bools | Ints | slice) -> LabelDesign:
        """Return the design of the posts in a mask (N,), or of rows in ascending order."""
        return LabelDesign(*(getattr(self, field.name)[rows] for field in fields(self)))

    @cached_property
    def strata(self) -> Strata:
        """The strata of the posts."""
        is_labelled = self.roles != UNLABELLED
        return stratify(self.authors, self.posts, is_labelled, self.is_never_held_out)


def labels_only_design(design: LabelDesign) -> LabelDesign:
    """Mark all labels as learned, so that the estimator is the weighted mean of the labels."""
    roles = np.where(design.roles == UNLABELLED, UNLABELLED, LEARNED).astype(np.int8)
    return replace(design, roles=roles)
