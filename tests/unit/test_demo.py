"""The demo corpus: the same bytes every time, a truth to check, and what real exports hold."""

from __future__ import annotations

import hashlib
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from postbias.demo import best_answers, build_demo_data, write_demo
from postbias.demo.ground_truth import (
    AXES,
    LANGUAGES,
    Cues,
    draw_cues,
    planted_truth,
    teacher_answers,
)
from postbias.errors import InputError, UnreadableImageError
from postbias.posts.images import decode

N_POSTS = 400


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo") / "data"
    build_demo_data(folder, n_posts=N_POSTS, seed=5)
    return folder


@pytest.fixture(scope="module")
def posts(data: Path) -> pd.DataFrame:
    return pq.read_table(data / "posts").to_pandas().set_index("post_id")


@pytest.fixture(scope="module")
def truth(data: Path) -> pd.DataFrame:
    return pq.read_table(data / "truth.parquet").to_pandas().set_index("post_id")


def test_the_same_seed_writes_the_same_bytes(tmp_path: Path) -> None:
    def digest(folder: Path) -> str:
        write_demo(folder, n_posts=60, seed=3)
        hasher = hashlib.sha256()
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            hasher.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
        return hasher.hexdigest()

    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_every_post_of_the_corpus_has_a_truth_and_broken_ones_are_rejects(
    data: Path, posts: pd.DataFrame, truth: pd.DataFrame
) -> None:
    rejects = pq.read_table(data / "rejects.parquet").to_pandas()
    assert len(posts) == N_POSTS
    assert set(posts.index) == set(truth.index)
    assert (rejects.query("stage == 'import'").reason == "broken_file").sum() == 4


def test_labels_are_of_posts_in_the_corpus_and_in_range(data: Path, posts: pd.DataFrame) -> None:
    labels = pd.read_csv(data / "labels.csv", dtype={"post_id": str})
    assert set(labels.post_id) <= set(posts.index)
    assert labels[list(AXES)].stack().between(0, 10).all()
    assert labels.reason.str.len().min() > 0
    assert 0.85 < len(labels) / len(posts) < 0.98


def test_what_the_truth_says_can_be_seen_can_be_decoded(
    posts: pd.DataFrame, truth: pd.DataFrame
) -> None:
    def is_readable(data: bytes) -> bool:
        try:
            return bool(decode(data, 48).shape == (48, 48, 3))
        except UnreadableImageError:
            return False

    seen = posts.images.map(lambda images: any(is_readable(image["bytes"]) for image in images))
    assert (seen == truth.has_picture.loc[posts.index]).all()
    assert ((posts.caption != "") == truth.has_caption.loc[posts.index]).all()


def test_it_holds_what_real_exports_hold(posts: pd.DataFrame) -> None:
    assert posts.images.map(len).max() > 1
    assert posts.images.map(len).min() == 0
    assert 1 < posts.author.nunique() < len(posts)
    assert 0.05 < posts.sponsored.mean() < 0.3
    assert posts.caption.str.contains("@").any()


def test_the_truth_is_a_function_of_the_cues_that_a_post_shows(truth: pd.DataFrame) -> None:
    cues = Cues(*(truth[field.name].to_numpy() for field in fields(Cues)))
    for axis, values in planted_truth(cues).items():
        np.testing.assert_allclose(values, truth[axis])


def test_nothing_can_be_told_from_a_caption_or_picture_that_is_not_there(
    truth: pd.DataFrame,
) -> None:
    blind = truth[~truth.has_caption]
    assert (blind.gender == 0).all()
    assert (blind.claim == truth[truth.gender == 0].claim.mode()[0]).all()
    unseen = truth[~truth.has_picture]
    assert (unseen[["figure", "prop"]] == 0).all().all()
    assert not unseen.sticker.any()


def test_the_best_answers_are_what_a_strong_learner_approaches_and_never_betters() -> None:
    # An independent way to the same answers: boosted trees that see the cues of each modality.
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(11)
    cues = draw_cues(30_000, rng)
    answers = teacher_answers(planted_truth(cues), rng)
    views = {
        "text": (["claim", "gender", "address", "topic"], cues.has_caption),
        "image": (["figure", "prop", "sticker", "topic"], cues.has_picture),
        "fusion": (["claim", "gender", "address", "figure", "prop", "sticker"], None),
    }
    best = best_answers(cues, 200_000, seed=1)
    for modality, (names, has) in views.items():
        rows = np.flatnonzero(has) if has is not None else np.arange(len(cues))
        x = np.column_stack([getattr(cues, name)[rows] for name in names]).astype(float)
        for axis in AXES:
            y, half = answers[axis][rows], len(rows) // 2
            model = HistGradientBoostingRegressor(random_state=0).fit(x[:half], y[:half])
            ceiling = r2_score(y[half:], best[modality][axis][rows][half:])
            assert ceiling - 0.04 < model.score(x[half:], y[half:]) < ceiling + 0.005


def test_there_is_no_best_answer_to_what_a_post_does_not_have(truth: pd.DataFrame) -> None:
    cues = Cues(*(truth[field.name].to_numpy() for field in fields(Cues)))
    best = best_answers(cues, 20_000, seed=1)
    for axis in AXES:
        assert (np.isfinite(best["text"][axis]) == cues.has_caption).all()
        assert (np.isfinite(best["image"][axis]) == cues.has_picture).all()
        assert np.isfinite(best["fusion"][axis]).all()


def test_neither_modality_alone_comes_near_both_together() -> None:
    rng = np.random.default_rng(2)
    cues = draw_cues(30_000, rng)
    answers = teacher_answers(planted_truth(cues), rng)
    both = cues.has_caption & cues.has_picture
    for axis in AXES:
        y = answers[axis][both]
        error = {
            name: np.var(y - by_axis[axis][both])
            for name, by_axis in best_answers(cues, 100_000, seed=2).items()
        }
        assert error["fusion"] < min(error["text"], error["image"]) - 0.25 * np.var(y)


def test_every_fold_meets_every_language_at_several_authors() -> None:
    cues = draw_cues(5000, np.random.default_rng(4))
    for language in range(len(LANGUAGES)):
        n_authors = len(np.unique(cues.author[cues.language == language]))
        assert n_authors * 0.14 > 4  # 14% of the authors are in calib, as many in test


def test_answers_heap_as_real_teachers_do() -> None:
    rng = np.random.default_rng(0)
    answers = teacher_answers(planted_truth(draw_cues(20_000, rng)), rng)["bias"]
    shares = pd.Series(answers).value_counts(normalize=True)
    assert 0.1 < shares.iloc[0] < 0.4
    assert len(shares) > 15


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "posts").mkdir()
    with pytest.raises(InputError, match="something else"):
        build_demo_data(tmp_path, n_posts=10)
    assert list(tmp_path.iterdir()) == [tmp_path / "posts"]
