"""The residuals that prediction intervals are fitted on: of the calib fold, or out-of-fold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from postbias.posts.shards import read_selected_posts
from postbias.scoring.out_of_fold import SHIPPED, OutOfFoldScores, VariantScore
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import OK, PostInput, Scorer
from postbias.stats.bootstrap import Array

# With fewer posts that no student has seen, the mean difference of two students is not estimated.
_MIN_UNSEEN_POSTS = 30


@dataclass(frozen=True, slots=True)
class CalibrationScores:
    """Residuals of posts that were held out, one row per post and group of modalities.

    A fusion student also scores each post without its images and without its caption: posts that
    lack one of them are rare, and their intervals would otherwise rest on a handful.

    Attributes:
        post_ids: Post of each row. (n,)
        modalities: Modalities that the score was computed from. (n,)
        residuals: Label minus score, by axis in the student's order. (n, A)
    """

    post_ids: tuple[str, ...]
    modalities: tuple[str, ...]
    residuals: Array


def score_calibration_fold(
    scorer: Scorer, posts: Path, labels: Mapping[str, npt.NDArray[np.floating[Any]]]
) -> CalibrationScores:
    """Score every variant of every post of the calib fold that the student can score.

    Args:
        scorer: The student, as shipped.
        posts: Folder of post shards.
        labels: Labels (A,) by post id of the calib fold.

    Returns:
        The scores; none of a post that cannot be scored.
    """
    post_ids, modalities, residuals = [], [], []
    for post_id, _, result in score_variants(scorer, posts, list(labels)):
        if result.status == OK:
            post_ids.append(post_id)
            modalities.append(str(result.modalities))
            scores = np.array([result.scores[axis].value for axis in scorer.axes], np.float32)
            residuals.append(labels[post_id] - scores)
    shape = (-1, len(scorer.axes))
    return CalibrationScores(
        tuple(post_ids), tuple(modalities), np.reshape(residuals, shape).astype(np.float64)
    )


def collect_out_of_fold(
    scores: OutOfFoldScores, labels: Mapping[str, npt.NDArray[np.floating[Any]]]
) -> CalibrationScores:
    """Compute the residuals of out-of-fold scores.

    Args:
        scores: The scores of cross-fitted students.
        labels: Labels (A,) by post id of the cross-fitted posts.

    Returns:
        The residuals, in the order of the scores; none of a post that cannot be scored.
    """
    is_used = np.array([post_id in labels for post_id in scores.post_ids], np.bool_)
    kept = scores.select(is_used & (scores.statuses == OK))
    values = np.array([labels[post_id] for post_id in kept.post_ids], np.float64)
    return CalibrationScores(
        tuple(kept.post_ids),
        tuple(kept.modalities),
        values.reshape(-1, len(scores.axes)) - kept.values,
    )


def collect_recentred(
    scores: OutOfFoldScores, labels: Mapping[str, npt.NDArray[np.floating[Any]]]
) -> CalibrationScores:
    """Estimate the residuals of the student that ships from out-of-fold residuals.

    Students from the same labels may differ in their mean score, above all if they were trained
    briefly. So the mean difference between each student and the one that ships, on posts that
    neither has seen, is added to the residuals of the former; no label is needed for it.

    Args:
        scores: The scores of the cross-fitted students and of the one that ships.
        labels: Labels (A,) by post id of the cross-fitted posts.

    Returns:
        The residuals, in the order of `collect_out_of_fold`.
    """
    is_used = np.array([post_id in labels for post_id in scores.post_ids], np.bool_)
    kept = scores.select(is_used & (scores.statuses == OK))
    found = collect_out_of_fold(scores, labels)
    shifts = np.zeros_like(found.residuals)
    pairs = zip(kept.students.tolist(), found.modalities, strict=True)
    differences = _differences_to_shipped(scores)
    for row, (student, modalities) in enumerate(pairs):
        of_group = differences.get((student, modalities), [])
        if len(of_group) < _MIN_UNSEEN_POSTS:
            of_group = differences.get((student, None), [])
        if len(of_group) >= _MIN_UNSEEN_POSTS:
            shifts[row] = np.mean(of_group, axis=0)
    return replace(found, residuals=found.residuals + shifts)


def _differences_to_shipped(scores: OutOfFoldScores) -> dict[tuple[int, str | None], list[Array]]:
    """List the differences (A,) to the student that ships by student and modalities, or all."""
    keys = list(zip(scores.post_ids, scores.modalities, strict=True))
    is_scored = scores.statuses == OK
    shipped = {keys[row]: row for row in np.flatnonzero((scores.students == SHIPPED) & is_scored)}
    differences: dict[tuple[int, str | None], list[Array]] = {}
    for row in np.flatnonzero((scores.students != SHIPPED) & is_scored):
        if keys[row] in shipped:
            difference = scores.values[row] - scores.values[shipped[keys[row]]]
            for modalities in (scores.modalities[row], None):
                key = int(scores.students[row]), modalities
                differences.setdefault(key, []).append(difference)
    return differences


def score_variants(scorer: Scorer, posts: Path, ids: Sequence[str]) -> Iterator[VariantScore]:
    """Score posts and, for a fusion student, their captions alone and their images alone.

    Args:
        scorer: The student.
        posts: Folder of post shards.
        ids: Ids of the posts.

    Yields:
        The result of each whole post; those of its parts only if they have a score from other
        modalities.
    """
    columns = ["caption", "images"] if scorer.manifest.reads_images else ["caption"]
    is_fusion = scorer.manifest.modality == "fusion"
    for start in range(0, len(ids), BATCH_SIZE):
        chunk = ids[start : start + BATCH_SIZE]
        rows = read_selected_posts(posts, chunk, columns).to_pylist()
        variants = list(_iter_variants(rows, is_fusion=is_fusion))
        results = scorer.score([post for _, post in variants])
        scored: set[tuple[int, str | None]] = set()
        whole = -1
        for (row, _), result in zip(variants, results, strict=True):
            is_whole = row != whole
            whole = row
            # An unreadable image makes the whole post and its caption alone the same variant.
            if is_whole or (result.status == OK and (row, result.modalities) not in scored):
                yield chunk[row], is_whole, result
            scored.add((row, result.modalities))


def _iter_variants(
    rows: Sequence[dict[str, Any]], *, is_fusion: bool
) -> Iterator[tuple[int, PostInput]]:
    """Yield each post and, for a fusion student, its caption alone and its images alone."""
    for row, post in enumerate(rows):
        caption = post["caption"]
        images = tuple(image["bytes"] or b"" for image in post.get("images", ()))
        yield row, PostInput(caption, images)
        if is_fusion and caption.strip() and images:
            yield row, PostInput(caption)
            yield row, PostInput("", images)
