"""How far the teacher is from itself, where it was asked about a post more than once.

A student learns single answers, and a single answer is off by chance: a student that knew the
teacher's mean answer to every post would still be off by that much on average. Known only where
labels rest on several replies. Knows nothing of students.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, pi, sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.axes import Axis
from postbias.evaluation.labelled_folds import Fold
from postbias.paths import Paths
from postbias.posts.shards import read_table
from postbias.stats.bootstrap import Array, draw
from postbias.stats.metrics import mean_of

#: Fewer repeated posts say nothing of the teacher's error.
MIN_RETESTED = 30


@dataclass(frozen=True, slots=True)
class Retest:
    """How far the teacher's answers to the same post are apart, on one axis.

    Replicates are the number on the data, then one value per draw of authors.

    Attributes:
        n: Posts with two replies or more.
        floor: Mean distance of one answer from the teacher's mean answer to the post: no student
            can be shown to have a smaller MAE than that against single answers. (1 + R,)
    """

    n: int
    floor: Array

    @property
    def apart(self) -> Array:
        """Mean distance of two answers to the same post: the test-retest MAE, (1 + R,)."""
        return self.floor * sqrt(2)


def teacher_retest(
    paths: Paths,
    folds: Mapping[str, Fold],
    axes: Sequence[Axis],
    replications: int,
    rng: np.random.Generator,
) -> dict[str, Retest | None]:
    """Measure the teacher against itself on the labelled posts of all folds.

    Args:
        paths: The repository; reads the labels.
        folds: All folds.
        axes: The axes.
        replications: How often to draw authors.
        rng: Where the randomness comes from.

    Returns:
        By axis; None where fewer than `MIN_RETESTED` posts have two replies.
    """
    names = [f"{axis.name}_sd" for axis in axes]
    labels = read_table(paths.labels, columns=["post_id", "n_replies", *names])
    author_of = {
        post_id: author
        for fold in folds.values()
        for post_id, author in zip(fold.post_ids, fold.authors, strict=True)
    }
    is_known = pc.is_in(labels["post_id"], value_set=pa.array(author_of, pa.string()))
    labels = labels.filter(pc.and_(is_known, pc.greater(labels["n_replies"], 1)))
    labels = labels.filter(pc.is_valid(labels[names[0]])).sort_by("post_id")
    if labels.num_rows < MIN_RETESTED:
        return {axis.name: None for axis in axes}
    authors = [author_of[post_id] for post_id in labels["post_id"].to_pylist()]
    resamples = draw(authors, replications, rng)
    share = np.array([_error_of_sd(n) for n in labels["n_replies"].to_pylist()])
    return {
        axis.name: Retest(
            labels.num_rows, mean_of(labels[name].to_numpy().astype(np.float64) * share, resamples)
        )
        for axis, name in zip(axes, names, strict=True)
    }


def _error_of_sd(n: int) -> float:
    """Return what mean sd of n normal answers is to be multiplied by; 1 for two answers."""
    log_c4 = 0.5 * log(2 / (n - 1)) + lgamma(n / 2) - lgamma((n - 1) / 2)
    return sqrt(2 / pi) / exp(log_c4)
