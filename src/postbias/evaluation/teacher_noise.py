"""Test-retest noise of the teacher, from posts that it labelled more than once.

A student is judged against single answers of the teacher, which deviate from its mean answer by
chance: even a student that always predicts the mean answer would have an error of that size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, pi, sqrt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from postbias.axes import Axis
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.paths import Paths
from postbias.posts.shards import read_table
from postbias.stats.bootstrap import Array, resample_authors
from postbias.stats.metrics import resampled_mean

#: Minimum number of posts with repeated labels.
MIN_REPEATED_POSTS = 30


@dataclass(frozen=True, slots=True)
class TeacherNoise:
    """Noise of the teacher's answers on one axis.

    Attributes:
        n: Posts with two or more replies.
        floor: Replicates of the mean absolute deviation of one answer from the teacher's mean
            answer: the noise floor of a student's MAE against single answers. (1 + R,)
    """

    n: int
    floor: Array

    @property
    def retest_mae(self) -> Array:
        """Mean absolute difference of two answers to the same post, (1 + R,)."""
        return self.floor * sqrt(2)


def measure_teacher_noise(
    paths: Paths,
    folds: Mapping[str, LabelledFold],
    axes: Sequence[Axis],
    replications: int,
    rng: np.random.Generator,
) -> dict[str, TeacherNoise | None]:
    """Measure the teacher's noise on the labelled posts of all folds.

    Args:
        replications: Number of bootstrap replications.

    Returns:
        By axis; `None` with fewer than `MIN_REPEATED_POSTS` posts.
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
    if labels.num_rows < MIN_REPEATED_POSTS:
        return {axis.name: None for axis in axes}
    authors = [author_of[post_id] for post_id in labels["post_id"].to_pylist()]
    resamples = resample_authors(authors, replications, rng)
    factors = np.array([_deviation_per_sd(n) for n in labels["n_replies"].to_pylist()])
    return {
        axis.name: TeacherNoise(
            labels.num_rows,
            resampled_mean(labels[name].to_numpy().astype(np.float64) * factors, resamples),
        )
        for axis, name in zip(axes, names, strict=True)
    }


def _deviation_per_sd(n: int) -> float:
    """Return the mean absolute deviation of one of n normal answers per sd of the n answers.

    Their sd is corrected for its small-sample bias, c4(n); the factor is 1 for two answers.
    """
    log_c4 = 0.5 * log(2 / (n - 1)) + lgamma(n / 2) - lgamma((n - 1) / 2)
    return sqrt(2 / pi) / exp(log_c4)
