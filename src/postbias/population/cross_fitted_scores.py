"""Scores for cross-prediction-powered inference (Zrnic & Candès, PNAS 2024).

With K students f_k, each trained without group k, their mean prediction over all posts is corrected
by the labels of group k minus the scores of f_k, for all k. The unlabelled posts would have to be
scored by all K students. Here all students score a random sample of them, and the champion scores
all: each unlabelled post has the champion's score, and each sampled one additionally has the
difference between the mean of the K students and the champion, over the sampling probability
(Horvitz-Thompson). The mean over all posts is unbiased for that of the K students, whatever the
champion was trained on, and the variance of the differences is part of the variance of the scores.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from postbias.scoring.out_of_fold import SHIPPED, OutOfFoldScores
from postbias.scoring.post_scores import OK
from postbias.stats.bootstrap import Array
from postbias.stats.label_design import UNLABELLED, LabelDesign

#: A function of each score, such as the indicator of a band. (N,) -> (N,)
Transform = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class CrossFittedScores:
    """Scores of the K students, aligned with the scored posts.

    Attributes:
        rows: Post of each score. (M,)
        weights: Its weight in the score of the post that estimates use. (M,)
        is_out_of_fold: Whether the post is of the group that the student has not seen. (M,)
        values: Scores by axis. (M,)
    """

    rows: npt.NDArray[np.intp]
    weights: Array
    is_out_of_fold: npt.NDArray[np.bool_]
    values: dict[str, Array]

    @classmethod
    def align(
        cls, scores: OutOfFoldScores, post_ids: pa.ChunkedArray, design: LabelDesign
    ) -> CrossFittedScores:
        """Find the posts of the scores, and compute the weights.

        Args:
            scores: Scores of the cross-fitted students.
            post_ids: Ids of the scored posts. (N,)
            design: Their labels. (N,)

        Returns:
            The scores of whole posts that the champion scored too.
        """
        at = pc.index_in(
            pa.array(scores.post_ids, pa.string()), value_set=post_ids.combine_chunks()
        )
        position = at.fill_null(-1).to_numpy(zero_copy_only=False)
        keep = scores.is_whole & (scores.statuses == OK) & (position >= 0)
        keep &= scores.students != SHIPPED  # the champion's own scores are known for all posts
        kept, rows = scores.select(keep), position[keep].astype(np.intp)
        n_scores = np.bincount(rows, minlength=len(design.roles))
        is_out_of_fold = n_scores[rows] == 1  # all other posts are scored by every student
        is_unlabelled = design.roles == UNLABELLED
        n_sampled = int(np.count_nonzero(is_unlabelled & (n_scores > 1)))
        probability = n_sampled / max(1, int(np.count_nonzero(is_unlabelled)))
        # Students are weighted by the labels of their groups, which differ slightly in size.
        weight = np.bincount(kept.students[is_out_of_fold], design.weights[rows[is_out_of_fold]])
        weights = (weight / weight.sum())[kept.students]
        weights[is_unlabelled[rows]] /= max(probability, np.finfo(np.float64).tiny)
        weights[is_out_of_fold] = 1.0
        values = {axis: kept.values[:, column] for column, axis in enumerate(scores.axes)}
        return cls(rows, weights, is_out_of_fold, values)

    def correct(self, axis: str, champion: Array, transform: Transform) -> Array:
        """Replace the champion's scores for the estimation of a mean.

        Args:
            axis: Name of the axis.
            champion: The champion's scores. (N,)
            transform: What the mean is of.

        Returns:
            Out-of-fold values of labelled posts, and for the others the champion's values plus
            those of the K students minus the champion's, weighted as described above. (N,)
        """
        n = len(champion)
        plain = transform(champion)
        total = np.bincount(self.rows, self.weights, minlength=n)
        added = np.bincount(self.rows, self.weights * transform(self.values[axis]), minlength=n)
        corrected: Array = plain * (1 - total) + added
        return corrected

    def replace_seen(self, axis: str, champion: Array) -> Array:
        """Replace the champion's scores of the posts that it was trained on by out-of-fold ones."""
        scores = champion.copy()
        kept = self.is_out_of_fold
        scores[self.rows[kept]] = self.values[axis][kept]
        return scores
