"""Predictions of labelled posts by cross-fitted students that have not seen their labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from postbias.axes import Axis
from postbias.errors import CountsError
from postbias.evaluation.calibration_scores import collect_out_of_fold
from postbias.evaluation.interval_languages import (
    CaptionLanguages,
    LanguageGroups,
    fit_language_intervals,
)
from postbias.evaluation.labelled_folds import (
    FoldPredictions,
    LabelledFold,
    labels_by_id,
)
from postbias.paths import Paths
from postbias.scoring.out_of_fold import OutOfFoldScores
from postbias.scoring.post_scores import OK
from postbias.stats.conformal import Offsets, fit_intervals
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
    centre nor its width depends on the label. Languages that have intervals of their own in the
    student that ships have them here too.

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
    languages = CaptionLanguages.of_fold(pooled)
    groups = languages.choose_groups(collect_out_of_fold(scores, labels_by_id(pooled)))
    by_axis = {
        axis.name: _add_intervals(scores, whole, pooled, (languages, groups), (axis, coverage))
        for axis in axes
    }
    return FoldPredictions(
        by_axis,
        unscored=dict(sorted(Counter(s for s in whole.statuses if s != OK).items())),
        modalities=tuple(whole.modalities),
    )


def _add_intervals(
    scores: OutOfFoldScores,
    whole: OutOfFoldScores,
    pooled: LabelledFold,
    grouping: tuple[CaptionLanguages, LanguageGroups],
    settings: tuple[Axis, float],
) -> Predictions:
    """Add intervals to the scores of whole posts, each fitted to the residuals of other groups."""
    (languages, groups), (axis, coverage) = grouping, settings
    group_of = languages.assign(whole.post_ids.tolist(), whole.modalities.tolist(), groups)
    column, labels = scores.axes.index(axis.name), labels_by_id(pooled)
    values = whole.values[:, column]
    lo, hi = np.full_like(values, np.nan), np.full_like(values, np.nan)
    for student in np.unique(whole.students):
        others = collect_out_of_fold(scores.select(scores.students != student), labels)
        residuals, span = others.residuals[:, column], axis.high - axis.low
        joint = fit_intervals(
            residuals, others.modalities, coverage, span=span, posts=others.post_ids
        )
        members = languages.find_rows(others, groups)
        own = fit_language_intervals(residuals, members, coverage, span=span)
        for modalities, offset in joint.items():
            of_group: list[tuple[str | None, Offsets]] = [(None, offset)]
            of_group += own.get(modalities, {}).items()
            for group, fitted in of_group:
                rows = (whole.students == student) & (whole.modalities == modalities)
                rows &= np.array([each == group for each in group_of], np.bool_)
                lo[rows] = np.clip(values[rows] + fitted["lo"], axis.low, axis.high)
                hi[rows] = np.clip(values[rows] + fitted["hi"], axis.low, axis.high)
    return Predictions(values, lo, hi)
