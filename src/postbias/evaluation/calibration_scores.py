"""Score the calib fold: the residuals that a student's prediction intervals are fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from postbias.posts.shards import read_selected_posts
from postbias.scoring.post_scores import BATCH_SIZE
from postbias.scoring.scorer import OK, PostInput, Scorer
from postbias.stats.bootstrap import Array


@dataclass(frozen=True, slots=True)
class CalibrationScores:
    """Scores of the calib fold, one row per post and group of modalities.

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
    columns = ["caption", "images"] if scorer.manifest.reads_images else ["caption"]
    is_fusion = scorer.manifest.modality == "fusion"
    ids = list(labels)
    post_ids, modalities, residuals = [], [], []
    for start in range(0, len(ids), BATCH_SIZE):
        chunk = ids[start : start + BATCH_SIZE]
        rows = read_selected_posts(posts, chunk, columns).to_pylist()
        variants = list(_iter_variants(rows, is_fusion=is_fusion))
        results = scorer.score([post for _, post in variants])
        scored: set[tuple[int, str]] = set()
        for (row, _), result in zip(variants, results, strict=True):
            key = (row, str(result.modalities))
            # An unreadable image makes the whole post and its caption alone the same variant.
            if result.status == OK and key not in scored:
                scored.add(key)
                post_ids.append(chunk[row])
                modalities.append(key[1])
                scores = np.array([result.scores[axis].value for axis in scorer.axes], np.float32)
                residuals.append(labels[chunk[row]] - scores)
    shape = (-1, len(scorer.axes))
    return CalibrationScores(
        tuple(post_ids), tuple(modalities), np.reshape(residuals, shape).astype(np.float64)
    )


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
