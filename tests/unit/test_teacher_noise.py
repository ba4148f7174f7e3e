"""The teacher's noise, against simulated answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from postbias.axes import Axis
from postbias.evaluation.labelled_folds import LabelledFold
from postbias.evaluation.teacher_noise import (
    MIN_REPEATED_POSTS,
    TeacherNoise,
    measure_teacher_noise,
)
from postbias.paths import Paths
from postbias.posts.schema import labels_schema
from postbias.posts.shards import write_table

AXES = (Axis("bias", 0, 10),)


def _measure(root: Path, answers: np.ndarray, *, n_single: int = 10) -> TeacherNoise | None:
    """Write labels of answers (posts, replies) and of posts with a single reply, and measure."""
    paths = Paths(root, root)
    n, replies = answers.shape
    total = n + n_single
    columns: dict[str, object] = {"post_id": [f"p{i:05d}" for i in range(total)]}
    columns["bias"] = [*answers.mean(axis=1), *[5.0] * n_single]
    sds = answers.std(axis=1, ddof=1) if replies > 1 else [None] * n
    columns["bias_sd"] = [*sds, *[None] * n_single]
    columns["n_replies"] = [replies] * n + [1] * n_single
    columns |= {"reason": [""] * total, "teacher": ["t"] * total, "rubric": ["r@1"] * total}
    schema = labels_schema(("bias",))
    write_table(pa.table(columns | {"status": ["ok"] * total}, schema), paths.labels, schema)
    ids = tuple(str(i) for i in columns["post_id"])  # type: ignore[attr-defined]
    authors = tuple(f"a{i // 3}" for i in range(total))
    folds = {"train": LabelledFold(ids, authors, ("",) * total, np.zeros((total, 1)))}
    return measure_teacher_noise(paths, folds, AXES, 200, np.random.default_rng(0))["bias"]


def _answers(n: int, replies: int) -> np.ndarray:
    rng = np.random.default_rng(1)
    return rng.uniform(2, 8, (n, 1)) + rng.normal(0, 0.7, (n, replies))


@pytest.mark.parametrize("replies", [2, 3, 5])
def test_the_floor_is_the_mean_deviation_of_an_answer_from_the_mean_answer(
    tmp_path: Path, replies: int
) -> None:
    noise = _measure(tmp_path, _answers(4000, replies))
    assert noise is not None
    assert noise.n == 4000
    assert noise.floor[0] == pytest.approx(0.7 * np.sqrt(2 / np.pi), rel=0.03)
    assert noise.floor[1:].std() > 0


def test_with_two_replies_the_retest_mae_is_the_mean_difference_between_them(
    tmp_path: Path,
) -> None:
    answers = _answers(200, 2)
    noise = _measure(tmp_path, answers)
    assert noise is not None
    assert noise.retest_mae[0] == pytest.approx(np.abs(answers[:, 0] - answers[:, 1]).mean())


def test_too_few_repeated_posts_give_no_result(tmp_path: Path) -> None:
    assert _measure(tmp_path, _answers(MIN_REPEATED_POSTS - 1, 2)) is None
    assert _measure(tmp_path, _answers(MIN_REPEATED_POSTS, 2)) is not None
    assert _measure(tmp_path, _answers(100, 1)) is None
