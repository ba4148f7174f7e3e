"""Score the single posts of the page `Try`, and describe the student that does."""

from __future__ import annotations

import dataclasses
from typing import Any

from postbias.app.upload_limits import MAX_TRY_IMAGES
from postbias.errors import InputError, PostbiasError
from postbias.explanation.nearest_posts import explain_with_nearest
from postbias.params import load_params
from postbias.paths import Paths
from postbias.scoring.post_scores import PostInput
from postbias.scoring.request import RequestFaultError, answer_row, read_post
from postbias.scoring.scorer import Scorer
from postbias.teacher.rubric import load_rubric

Json = dict[str, Any]


def read_try_post(body: object) -> PostInput:
    """Read a post that a browser sent.

    Args:
        body: `caption`, a text, and `images`, a list of base64 texts; both optional.

    Returns:
        The post.

    Raises:
        InputError: If it is something else, or has too many images.
    """
    if not isinstance(body, dict) or body.keys() - {"caption", "images"}:
        raise RequestFaultError("not a post", allowed="caption and images")
    post = read_post(body)
    if len(post.images) > MAX_TRY_IMAGES:
        raise InputError("too many images", seen=len(post.images), allowed=MAX_TRY_IMAGES)
    return post


def score_single_post(scorer: Scorer, post: PostInput) -> Json:
    """Score a post.

    Returns:
        The row that REST answers with, and `sent`, the number of images of the post.
    """
    (result,) = scorer.score([post])
    return answer_row(scorer.axes, result) | {"sent": len(post.images)}


def explain_single_post(scorer: Scorer, post: PostInput) -> Json:
    """Explain the score of a post on the main axis.

    Returns:
        The explanation as JSON, and its `status`.
    """
    explanation = explain_with_nearest(scorer, post)
    return explanation.as_json() | {"status": explanation.score.status}


def describe_student(scorer: Scorer, paths: Paths | None) -> Json:
    """Describe what a student scores and reads, and what it was trained on.

    Args:
        scorer: The student.
        paths: The repository, for the questions of its rubric; None outside of one.
    """
    manifest = scorer.manifest
    return {
        "axes": [dataclasses.asdict(axis) for axis in manifest.axes],
        "rubric_axes": _describe_rubric_axes(manifest.rubric, paths),
        "band_limits": [round(x, 2) for x in manifest.axes[0].band_thresholds],
        "digest": scorer.artifact.digest,
        "modality": manifest.modality,
        "reads_images": manifest.reads_images,
        "reads_text": manifest.has_text,
        "max_images": manifest.max_images,
        "n_train": manifest.n_train,
        "rubric": manifest.rubric,
        "coverage": manifest.coverage,
        "is_demo": paths is not None and (paths.data / "truth.parquet").is_file(),
    }


def _describe_rubric_axes(rubric_id: str, paths: Paths | None) -> list[Json]:
    """Return question and anchors by axis, if the repository has the rubric of the student."""
    if paths is None:
        return []
    try:
        rubric = load_rubric(paths.root / load_params(paths.params).annotate.rubric)
    except PostbiasError:  # the page works without
        return []
    return [
        {
            "name": axis.name,
            "question": axis.question,
            "anchors": [{"score": a.score, "meaning": a.meaning} for a in axis.anchors],
        }
        for axis in rubric.axes
        if rubric.ref == rubric_id
    ]
