"""What a student makes of the calib fold: the residuals that its intervals rest on.

A fusion student is also shown each post without its pictures and without its caption: posts that
lack one are rare, and their intervals would otherwise rest on a handful. Scores are those that
ship: int8 and clipped to the axis. Fits nothing and writes nothing.
"""

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
class Views:
    """Posts of the calib fold as a student saw them, each once or, for a fusion student, thrice.

    Attributes:
        post_ids: The post of each view. (n,)
        groups: The modalities that its score was made from. (n,)
        residuals: Label minus score, by axis in the student's order. (n, A)
    """

    post_ids: tuple[str, ...]
    groups: tuple[str, ...]
    residuals: Array


def see_calib(
    scorer: Scorer, posts: Path, labels: Mapping[str, npt.NDArray[np.floating[Any]]]
) -> Views:
    """Score the calib fold in all views that the student can score.

    Args:
        scorer: The student, as it ships.
        posts: Folder of post shards.
        labels: Labels (A,) of the calib fold by post id.

    Returns:
        The views; none of a post that cannot be scored.
    """
    columns = ["caption", "images"] if scorer.manifest.has_image else ["caption"]
    is_fusion = scorer.manifest.modality == "fusion"
    ids = list(labels)
    seen, groups, residuals = [], [], []
    for start in range(0, len(ids), BATCH_SIZE):
        chunk = ids[start : start + BATCH_SIZE]
        rows = read_selected_posts(posts, chunk, columns).to_pylist()
        views = list(_views(rows, with_parts=is_fusion))
        for (row, _), result in zip(views, scorer.score([v for _, v in views]), strict=True):
            if result.status == OK:
                seen.append(chunk[row])
                groups.append(str(result.modalities))
                scores = np.array([result.scores[axis].value for axis in scorer.axes], np.float32)
                residuals.append(labels[chunk[row]] - scores)
    shape = (-1, len(scorer.axes))
    return Views(tuple(seen), tuple(groups), np.reshape(residuals, shape).astype(np.float64))


def _views(rows: Sequence[dict[str, Any]], *, with_parts: bool) -> Iterator[tuple[int, PostInput]]:
    """Give each post whole and, if it has both, its caption alone and its pictures alone."""
    for row, post in enumerate(rows):
        caption = post["caption"]
        images = tuple(image["bytes"] or b"" for image in post.get("images", ()))
        yield row, PostInput(caption, images)
        if with_parts and caption.strip() and images:
            yield row, PostInput(caption)
            yield row, PostInput("", images)
