"""Predictions of labelled posts by cross-fitted students that have not seen their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from postbias.axes import Axis
from postbias.errors import CountsError
from postbias.evaluation.calibration_scores import collect_out_of_fold
from postbias.evaluation.labelled_folds import (
    FoldPredictions,
    LabelledFold,
    labels_by_id,
)
from postbias.paths import Paths
from postbias.scoring.out_of_fold import OutOfFoldScores
from postbias.scoring.post_scores import OK
from postbias.stats.conformal import fit_intervals
from postbias.stats.metrics import Predictions


def read_out_of_fold(paths: Paths, modality: str, axes: Sequence[Axis]) -> OutOfFoldScores:
    """Read the scores of the cross-fitted students of one modality.

    Raises:
        SchemaError: If they are missing or damaged.
    """
    names = [axis.name for axis in axes]
    return OutOfFoldScores.read(paths.out_of_fold / f"{modality}.parquet", names)


def predict_out_of_fold(
    scores: OutOfFoldScores,
    fold: LabelledFold,
    pooled: LabelledFold,
    settings: tuple[Sequence[Axis], float],
) -> FoldPredictions:
    """Arrange out-of-fold scores as predictions of cross-fitted posts.

    The interval of a score is fitted to the residuals of the other groups, so that neither its
    centre nor its width depends on the label.

    Args:
        scores: Scores of the cross-fitted students.
        fold: Some or all of the cross-fitted posts.
        pooled: All of them.
        settings: The axes, and the nominal coverage of the intervals.

    Returns:
        Predictions in the order of the fold.

    Raises:
        CountsError: If a post of the fold has neither a score nor a reason.
    """
    axes, coverage = settings
    whole = scores.select(scores.is_whole)
    row_of = {post_id: row for row, post_id in enumerate(whole.post_ids)}
    missing = [post_id for post_id in fold.post_ids if post_id not in row_of]
    if missing:
        raise CountsError(
            f"{len(missing)} of {len(fold)} labelled posts have no out-of-fold score",
            seen=missing[0],
            do="run `dvc repro`, so that students and split match",
        )
    whole = whole.select(np.array([row_of[post_id] for post_id in fold.post_ids], np.intp))
    by_axis = {axis.name: _add_intervals(scores, whole, pooled, axis, coverage) for axis in axes}
    return FoldPredictions(
        by_axis,
        unscored=dict(sorted(Counter(s for s in whole.statuses if s != OK).items())),
        modalities=tuple(whole.modalities),
    )


def _add_intervals(
    scores: OutOfFoldScores,
    whole: OutOfFoldScores,
    pooled: LabelledFold,
    axis: Axis,
    coverage: float,
) -> Predictions:
    """Add intervals to the scores of whole posts, each fitted to the residuals of other groups."""
    column, labels = scores.axes.index(axis.name), labels_by_id(pooled)
    values = whole.values[:, column]
    lo, hi = np.full_like(values, np.nan), np.full_like(values, np.nan)
    for student in np.unique(whole.students):
        others = collect_out_of_fold(scores.select(scores.students != student), labels)
        offsets = fit_intervals(
            others.residuals[:, column],
            others.modalities,
            coverage,
            span=axis.high - axis.low,
            posts=others.post_ids,
        )
        for modalities, offset in offsets.items():
            rows = (whole.students == student) & (whole.modalities == modalities)
            lo[rows] = np.clip(values[rows] + offset["lo"], axis.low, axis.high)
            hi[rows] = np.clip(values[rows] + offset["hi"], axis.low, axis.high)
    return Predictions(values, lo, hi)
