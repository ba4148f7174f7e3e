"""Add prediction intervals and a reference profile to the manifest of a new artifact.

Both are computed from the shipped scores: int8, clipped to the axis, by `postbias.scoring`.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from postbias.evaluation.calibration_scores import CalibrationScores, score_calibration_fold
from postbias.evaluation.interval_languages import CaptionLanguages, fit_language_intervals
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import Interval
from postbias.scoring.platforms import count_platforms
from postbias.scoring.reference_profile import (
    REFERENCE_POSTS,
    describe_answers,
    describe_content,
    sample_ids,
)
from postbias.scoring.scorer import Scorer
from postbias.stats.conformal import fit_intervals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from postbias.paths import Paths

logger = logging.getLogger(__name__)


def score_calib(
    folder: Path, paths: Paths, labels: dict[str, NDArray[np.float32]], *, threads: int
) -> CalibrationScores:
    """Score the calib fold with a new student.

    Args:
        folder: Folder of the artifact.
        paths: The repository.
        labels: Labels (A,) by post id of the calib fold, which training has not used.

    Returns:
        The residuals.
    """
    with _open(folder, paths, threads) as scorer:
        return score_calibration_fold(scorer, paths.sampled_posts, labels)


def add_intervals(
    folder: Path, paths: Paths, views: CalibrationScores, *, coverage: float
) -> Artifact:
    """Fit the offsets of the prediction intervals to residuals of posts that were held out.

    Args:
        folder: Folder of the artifact; its `student.json` is replaced.
        paths: The repository; captions say which languages have enough posts for their own.
        views: Residuals of the calib fold, or out-of-fold residuals.
        coverage: Nominal coverage of the intervals.

    Returns:
        The artifact with intervals.
    """
    manifest = Artifact.open(folder).manifest
    languages = CaptionLanguages.read(paths, list(dict.fromkeys(views.post_ids)))
    rows = languages.find_rows(views, languages.choose_groups(views))
    intervals: dict[str, dict[str, Interval]] = {}
    by_language: dict[str, dict[str, dict[str, Interval]]] = {}
    for column, axis in enumerate(manifest.axes):
        span = axis.high - axis.low
        fitted = fit_intervals(
            views.residuals[:, column],
            views.modalities,
            coverage,
            span=span,
            posts=views.post_ids,
        )
        intervals[axis.name] = {group: Interval(**offsets) for group, offsets in fitted.items()}
        if rows:
            own = fit_language_intervals(views.residuals[:, column], rows, coverage, span=span)
            by_language[axis.name] = {
                group: {code: Interval(**offsets) for code, offsets in each.items()}
                for group, each in own.items()
            }
    for group, codes in rows.items():
        logger.info("intervals by language for posts with %s: %s", group, ", ".join(codes))
    complete = dataclasses.replace(
        manifest, coverage=coverage, intervals=intervals, language_intervals=by_language
    )
    return write_artifact(folder, complete)


def add_reference_profile(
    folder: Path, paths: Paths, train: Iterable[str], calib: Iterable[str], *, threads: int
) -> Artifact:
    """Add the distributions that later posts are compared with to detect drift.

    Args:
        folder: Folder of the artifact; its `student.json` is replaced.
        paths: The repository.
        train: Ids of the posts that it was trained on.
        calib: Ids of posts that the student has not seen.

    Returns:
        The complete artifact.
    """
    with _open(folder, paths, threads) as scorer:
        manifest = scorer.manifest
        # Scores and embeddings of training posts differ from those of posts not seen before,
        # so those of calib are used.
        train = list(train)
        content = describe_content(paths.sampled_posts, sample_ids(train, REFERENCE_POSTS))
        platforms = sorted(count_platforms(paths.sampled_posts, train))
        answers = describe_answers(scorer, paths.sampled_posts, sample_ids(calib, REFERENCE_POSTS))
    reference = {"content": content, "answers": answers, "platforms": platforms}
    return write_artifact(folder, dataclasses.replace(manifest, reference=reference))


def _open(folder: Path, paths: Paths, threads: int) -> Scorer:
    return Scorer.open(folder, precision="int8", threads=threads, image_texts=paths.image_texts)
