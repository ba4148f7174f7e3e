"""AUC and average precision over several test sets, with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from postbias.stats.bootstrap import Array, Resamples, resample_authors
from postbias.stats.ranks import roc_auc

METRICS = ("auc", "average_precision")


@dataclass(frozen=True, slots=True)
class RankedPosts:
    """All tested posts of a task, and bootstrap resamples of them that all methods share.

    Attributes:
        rows: Row of each post by its id.
        is_positive: Mask of the positive class. (n,)
        resamples: Resamples of posts.
    """

    rows: Mapping[str, int]
    is_positive: NDArray[np.bool_]
    resamples: Resamples

    @classmethod
    def draw(
        cls, post_ids: Sequence[str], is_positive: NDArray[np.bool_], replications: int
    ) -> RankedPosts:
        """Draw resamples of posts; the data sets do not name authors."""
        resamples = resample_authors(post_ids, replications, np.random.default_rng(0))
        rows = dict(zip(post_ids, resamples.authors.tolist(), strict=True))
        ordered = np.empty_like(is_positive)
        ordered[resamples.authors] = is_positive
        return cls(rows, ordered, resamples)

    def measure(self, partitions: Sequence[Mapping[str, float]]) -> dict[str, Array]:
        """Measure one method: the mean over its partitions of each metric.

        Args:
            partitions: Scores by post id of each partition's test posts. Partitions may share
                posts, which are then resampled together.

        Returns:
            Replicates by metric: on the data, then on each resample. (1 + R,)
        """
        replicates: dict[str, list[Array]] = {name: [] for name in METRICS}
        for scores in partitions:
            rows = np.array([self.rows[post_id] for post_id in scores], np.intp)
            values = np.array(list(scores.values()))
            given = (values, self.is_positive[rows], rows, self.resamples)
            replicates["auc"].append(roc_auc(*given))
            replicates["average_precision"].append(average_precision(*given))
        return {name: np.mean(parts, axis=0) for name, parts in replicates.items()}


def average_precision(
    values: Array,
    is_positive: NDArray[np.bool_],
    authors: NDArray[np.intp],
    resamples: Resamples,
) -> Array:
    """Compute the average precision on the data and on every resample.

    The mean over the positive posts of the precision among the posts with at least their value, as
    in scikit-learn.

    Args:
        values: Value that the posts are ranked by. (n,)
        is_positive: Mask of the positive class. (n,)
        authors: Author index of each row in the resamples. (n,)
        resamples: Resamples of authors.

    Returns:
        Replicates; NaN where a resample has no positive post. (1 + R,)
    """
    order = np.argsort(-values, kind="stable")
    ends = np.flatnonzero(np.diff(values[order], append=np.nan))  # last row of each distinct value
    parts = []
    for chunk in resamples.iter_chunks():
        weights = chunk[:, authors[order]]  # (c, n)
        found = np.cumsum(weights * is_positive[order], axis=1)[:, ends]  # (c, G)
        seen = np.cumsum(weights, axis=1)[:, ends]
        precision = np.divide(found, seen, out=np.zeros_like(found), where=seen > 0)
        gained = np.diff(found, axis=1, prepend=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append((precision * gained).sum(axis=1) / found[:, -1])
    return np.concatenate(parts)
