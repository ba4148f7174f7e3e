"""How wide a student's intervals must be, measured on the calib fold; and what it learned from.

Intervals rest on the scores that ship: int8 and clipped to the axis, as `postbias.scoring` gives
them. The fold was used for nothing else before. Results go into the artifact's manifest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from postbias.evaluation.calibration_scores import see_calib
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import Interval
from postbias.scoring.reference_profile import (
    REFERENCE_POSTS,
    choose_ids,
    describe_answers,
    describe_content,
)
from postbias.scoring.scorer import Scorer
from postbias.stats.conformal import fit_intervals

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def add_intervals(
    folder: Path,
    posts: Path,
    labels: dict[str, NDArray[np.float32]],
    *,
    coverage: float,
    threads: int,
) -> Artifact:
    """Score the calib fold as it will be scored, and write the offsets into the manifest.

    Args:
        folder: The artifact; its `student.json` is replaced.
        posts: Folder of post shards.
        labels: Labels (A,) of the calib fold by post id.
        coverage: Nominal coverage.
        threads: CPU threads.

    Returns:
        The complete artifact.
    """
    with Scorer.open(folder, precision="int8", threads=threads) as scorer:
        manifest, views = scorer.manifest, see_calib(scorer, posts, labels)
    intervals = {}
    for column, axis in enumerate(manifest.axes):
        span = axis.high - axis.low
        fitted = fit_intervals(views.residuals[:, column], views.groups, coverage, span=span)
        intervals[axis.name] = {group: Interval(**offsets) for group, offsets in fitted.items()}
    complete = dataclasses.replace(manifest, coverage=coverage, intervals=intervals)
    return write_artifact(folder, complete)


def add_reference(
    folder: Path, posts: Path, train: Iterable[str], calib: Iterable[str], *, threads: int
) -> Artifact:
    """Write into the manifest what posts the student knows are like.

    What anybody can see of posts comes from those it learned from. What it makes of posts comes
    from the calib fold, drawn from the same: those that it learned by heart get other scores.

    Args:
        folder: The artifact; its `student.json` is replaced.
        posts: Folder of post shards.
        train: Ids of the train fold.
        calib: Ids of the calib fold.
        threads: CPU threads.

    Returns:
        The complete artifact.
    """
    with Scorer.open(folder, precision="int8", threads=threads) as scorer:
        manifest = scorer.manifest
        content = describe_content(posts, choose_ids(train, REFERENCE_POSTS))
        answers = describe_answers(scorer, posts, choose_ids(calib, REFERENCE_POSTS))
    reference = {"content": content, "answers": answers}
    return write_artifact(folder, dataclasses.replace(manifest, reference=reference))
