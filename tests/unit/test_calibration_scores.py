"""Scores of the calib fold: one residual per post and group of modalities."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.unit import evaluation_corpus as corpus

from postbias.evaluation.calibration_scores import CalibrationScores, score_calibration_fold
from postbias.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def scores(tmp_path_factory: pytest.TempPathFactory) -> CalibrationScores:
    """Scores of all posts of the corpus by its fusion student, against labels of 5."""
    paths = corpus.write_corpus(Path(tmp_path_factory.mktemp("corpus")))
    labels = {corpus.post_id(i): np.full(2, 5.0) for i in range(corpus.N)}
    with Scorer.open(paths.students / "fusion") as scorer:
        return score_calibration_fold(scorer, paths.posts, labels)


def _groups_of(scores: CalibrationScores, i: int) -> list[str]:
    rows = zip(scores.post_ids, scores.modalities, strict=True)
    return sorted(used for post_id, used in rows if post_id == corpus.post_id(i))


def test_a_post_enters_each_group_at_most_once(scores: CalibrationScores) -> None:
    counts = Counter(zip(scores.post_ids, scores.modalities, strict=True))
    assert set(counts.values()) == {1}
    assert len(scores.residuals) == len(scores.post_ids)


def test_a_post_with_caption_and_image_is_in_all_groups_and_others_in_one(
    scores: CalibrationScores,
) -> None:
    special = {*corpus.NO_CAPTION, *corpus.NO_IMAGE, *corpus.BROKEN}
    whole = next(i for i in range(corpus.N) if i not in special)
    assert _groups_of(scores, whole) == ["image", "image+text", "text"]
    broken = next(i for i in corpus.BROKEN if i not in {*corpus.NO_CAPTION, *corpus.NO_IMAGE})
    assert _groups_of(scores, broken) == ["text"]
    without_caption = next(i for i in corpus.NO_CAPTION if i not in corpus.NO_IMAGE)
    assert _groups_of(scores, without_caption) == ["image"]
