"""How wide a student's intervals must be, measured on the calib fold; and what it learned from.

Intervals rest on the scores that ship: int8 and clipped to the axis, as `postbias.scoring` gives
them. The fold was used for nothing else before. Results go into the artifact's manifest.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from postbias.evidence.intervals import fit_intervals
from postbias.posts.shards import take_posts
from postbias.scoring.artifact import Artifact, write_artifact
from postbias.scoring.manifest import Interval
from postbias.scoring.profile import (
    REFERENCE_POSTS,
    choose_ids,
    describe_answers,
    describe_content,
)
from postbias.scoring.scorer import PostInput, Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK = 256


def add_intervals(
    folder: Path,
    posts: Path,
    labels: dict[str, NDArray[np.float32]],
    *,
    coverage: float,
    threads: int,
) -> Artifact:
    """Score the calib fold as it will be scored, and write the offsets into the manifest.

    A fusion student is also shown each post without its pictures and without its caption: posts
    that lack one are rare, and their intervals would otherwise rest on a handful.

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
        manifest = scorer.manifest
        wanted, groups, scores = _score(scorer, posts, labels)
    intervals = {}
    for column, axis in enumerate(manifest.axes):
        residuals = (wanted[:, column] - scores[:, column]).astype(np.float64)
        fitted = fit_intervals(residuals, groups, coverage, span=axis.high - axis.low)
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


def _score(
    scorer: Scorer, posts: Path, labels: dict[str, NDArray[np.float32]]
) -> tuple[NDArray[np.float32], list[str], NDArray[np.float32]]:
    """Return labels (N, A), groups (N,) and scores (N, A) of every view that can be scored."""
    columns = ["caption", "images"] if scorer.manifest.has_image else ["caption"]
    is_fusion = scorer.manifest.modality == "fusion"
    ids = list(labels)
    wanted, groups, scores = [], [], []
    for start in range(0, len(ids), _CHUNK):
        chunk = ids[start : start + _CHUNK]
        rows = take_posts(posts, chunk, columns).to_pylist()
        views = list(_views(rows, with_parts=is_fusion))
        results = scorer.score([view for _, view in views])
        for (row, _), result in zip(views, results, strict=True):
            if result.status == "ok":
                wanted.append(labels[chunk[row]])
                groups.append(str(result.modalities))
                scores.append([result.scores[axis].value for axis in scorer.axes])
    shape = (-1, len(scorer.axes))
    return np.reshape(wanted, shape), groups, np.reshape(scores, shape)


def _views(rows: Sequence[dict[str, Any]], *, with_parts: bool) -> Iterator[tuple[int, PostInput]]:
    """Give each post whole and, if it has both, its caption alone and its pictures alone."""
    for row, post in enumerate(rows):
        caption = post["caption"]
        images = tuple(image["bytes"] or b"" for image in post.get("images", ()))
        yield row, PostInput(caption, images)
        if with_parts and caption.strip() and images:
            yield row, PostInput(caption)
            yield row, PostInput("", images)
