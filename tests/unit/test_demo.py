"""The demo corpus: reproducible bytes, consistent ground truth, and the flaws of real exports."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import fields
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from postbias.demo.build import build_demo_data
from postbias.demo.caption_writer import CaptionCues, write_caption
from postbias.demo.ground_truth import (
    AXES,
    CLAIMS,
    LANGUAGES,
    TOPICS,
    Cues,
    draw_cues,
    optimal_predictions,
    simulate_teacher,
    true_scores,
)
from postbias.demo.lexicon import choose_forms
from postbias.demo.raw_export import write_raw_export
from postbias.errors import InputError, UnreadableImageError
from postbias.posts.images import decode_square

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
        write_raw_export(folder, n_posts=60, seed=3)
        hasher = hashlib.sha256()
        for file in sorted(p for p in folder.rglob("*") if p.is_file()):
            hasher.update(file.relative_to(folder).as_posix().encode() + file.read_bytes())
        return hasher.hexdigest()

    assert digest(tmp_path / "a") == digest(tmp_path / "b")


def test_text_in_images_is_off_by_default(truth: pd.DataFrame) -> None:
    assert "quoted" not in truth


def test_the_claim_of_a_quoted_post_is_in_its_image_only(tmp_path: Path, data: Path) -> None:
    folder = tmp_path / "data"
    build_demo_data(folder, n_posts=N_POSTS, seed=5, image_text=0.1)
    truth, default = (
        pq.read_table(path / "truth.parquet").to_pandas().set_index("post_id")
        for path in (folder, data)
    )
    same = truth.drop(columns=["quoted", "objects", "drawn_from"])  # the images are drawn anew
    pd.testing.assert_frame_equal(same, default.drop(columns=["objects", "drawn_from"]))
    quoted = truth.index[truth.quoted]
    assert len(quoted) == 0.1 * N_POSTS
    posts = pq.read_table(folder / "posts").to_pandas().set_index("post_id")
    for post_id in quoted:
        (image,) = posts.images[post_id]
        pixels = decode_square(image["bytes"], 480)
        band = pixels[:81].min(axis=2)
        assert (band > 200).mean() > 0.5  # white
        assert 0.02 < (band < 100).mean() < 0.4  # with letters
    gendered = re.compile(r"\b(?:wom[ae]n|m[ae]n|girls?|boys?|ladies|gentlemen)\b", re.IGNORECASE)
    others = truth.index[~truth.quoted & (truth.gender != 0)]
    assert not posts.caption[quoted].str.contains(gendered).any()
    assert posts.caption[others].str.contains(gendered).sum() > 20


def test_every_post_has_a_true_score_and_broken_ones_are_rejects(
    data: Path, posts: pd.DataFrame, truth: pd.DataFrame
) -> None:
    rejects = pq.read_table(data / "rejects.parquet").to_pandas()
    assert len(posts) == N_POSTS
    assert set(posts.index) == set(truth.index)
    assert (rejects.query("stage == 'import'").reason == "broken_file").sum() == 4


def test_labels_belong_to_posts_of_the_corpus_and_are_in_range(
    data: Path, posts: pd.DataFrame
) -> None:
    labels = pd.read_csv(data / "labels.csv", dtype={"post_id": str})
    assert set(labels.post_id) <= set(posts.index)
    assert labels[list(AXES)].stack().between(0, 10).all()
    assert labels.reason.str.len().min() > 0
    assert 0.85 < len(labels) / len(posts) < 0.98


def test_cues_say_whether_a_post_has_a_caption_and_a_readable_image(
    posts: pd.DataFrame, truth: pd.DataFrame
) -> None:
    def is_readable(data: bytes) -> bool:
        try:
            return bool(decode_square(data, 48).shape == (48, 48, 3))
        except UnreadableImageError:
            return False

    has_readable_image = posts.images.map(
        lambda images: any(is_readable(image["bytes"]) for image in images)
    )
    assert (has_readable_image == truth.has_picture.loc[posts.index]).all()
    assert ((posts.caption != "") == truth.has_caption.loc[posts.index]).all()


def test_the_corpus_has_the_features_of_real_exports(posts: pd.DataFrame) -> None:
    assert posts.images.map(len).max() > 1
    assert posts.images.map(len).min() == 0
    assert 1 < posts.author.nunique() < len(posts)
    assert 0.05 < posts.sponsored.mean() < 0.3
    assert posts.caption.str.contains("@").any()


def test_the_true_score_is_a_function_of_the_cues(truth: pd.DataFrame) -> None:
    cues = Cues(*(truth[field.name].to_numpy() for field in fields(Cues)))
    for axis, values in true_scores(cues).items():
        np.testing.assert_allclose(values, truth[axis])


def test_a_missing_caption_or_image_has_no_cues(
    truth: pd.DataFrame,
) -> None:
    without_caption = truth[~truth.has_caption]
    assert (without_caption.gender == 0).all()
    assert (without_caption.claim == truth[truth.gender == 0].claim.mode()[0]).all()
    without_image = truth[~truth.has_picture]
    assert (without_image[["figure", "prop"]] == 0).all().all()
    assert not without_image.sticker.any()


def test_a_strong_learner_approaches_the_optimal_predictions_but_never_beats_them() -> None:
    # An independent estimate of the same expectations: boosted trees on the cues of each modality.
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.metrics import r2_score

    rng = np.random.default_rng(11)
    cues = draw_cues(30_000, rng)
    labels = simulate_teacher(true_scores(cues), rng)
    visible_cues = {
        "text": (["claim", "gender", "address", "topic"], cues.has_caption),
        "image": (["figure", "prop", "sticker", "topic"], cues.has_picture),
        "fusion": (["claim", "gender", "address", "figure", "prop", "sticker"], None),
    }
    predictions = optimal_predictions(cues, 200_000, seed=1)
    for modality, (names, has) in visible_cues.items():
        rows = np.flatnonzero(has) if has is not None else np.arange(len(cues))
        x = np.column_stack([getattr(cues, name)[rows] for name in names]).astype(float)
        for axis in AXES:
            y, half = labels[axis][rows], len(rows) // 2
            model = HistGradientBoostingRegressor(random_state=0).fit(x[:half], y[:half])
            ceiling = r2_score(y[half:], predictions[modality][axis][rows][half:])
            assert ceiling - 0.04 < model.score(x[half:], y[half:]) < ceiling + 0.005


def test_a_modality_that_a_post_lacks_has_no_prediction(truth: pd.DataFrame) -> None:
    cues = Cues(*(truth[field.name].to_numpy() for field in fields(Cues)))
    predictions = optimal_predictions(cues, 20_000, seed=1)
    for axis in AXES:
        assert (np.isfinite(predictions["text"][axis]) == cues.has_caption).all()
        assert (np.isfinite(predictions["image"][axis]) == cues.has_picture).all()
        assert np.isfinite(predictions["fusion"][axis]).all()


def test_fusion_is_far_better_than_either_modality_alone() -> None:
    rng = np.random.default_rng(2)
    cues = draw_cues(30_000, rng)
    labels = simulate_teacher(true_scores(cues), rng)
    both = cues.has_caption & cues.has_picture
    for axis in AXES:
        y = labels[axis][both]
        error = {
            name: np.var(y - by_axis[axis][both])
            for name, by_axis in optimal_predictions(cues, 100_000, seed=2).items()
        }
        assert error["fusion"] < min(error["text"], error["image"]) - 0.25 * np.var(y)


def test_every_fold_has_several_authors_of_every_language() -> None:
    cues = draw_cues(5000, np.random.default_rng(4))
    for language in range(len(LANGUAGES)):
        n_authors = len(np.unique(cues.author[cues.language == language]))
        assert n_authors * 0.14 > 8  # 14% of the authors are in calib, as many in test


@pytest.mark.parametrize("language", LANGUAGES)
def test_captions_are_written_in_the_script_of_their_language(language: str) -> None:
    scripts = {"zh": "CJK", "ar": "ARABIC", "hi": "DEVANAGARI"}
    rng = np.random.default_rng(3)
    for claim, gender, topic in product(range(len(CLAIMS)), (-1, 1), TOPICS):
        cues = CaptionCues(language, topic, claim, gender, address=True, brand=None, sponsored=True)
        caption = write_caption(cues, rng)
        assert not set("{}[]<>|") & set(caption)  # every slot, choice and form is resolved
        letters = [unicodedata.name(char).split()[0] for char in caption if char.isalpha()]
        assert letters.count(scripts.get(language, "LATIN")) > 0.9 * len(letters)


def test_the_forms_of_a_word_agree_with_the_group() -> None:
    assert choose_forms("{G} <feitos/feitas> [a|b]", 0) == "{G} feitos [a|b]"
    assert choose_forms("{G} <feitos/feitas> [a|b]", 1) == "{G} feitas [a|b]"


def test_labels_are_heaped_like_those_of_real_teachers() -> None:
    rng = np.random.default_rng(0)
    labels = simulate_teacher(true_scores(draw_cues(20_000, rng)), rng)["bias"]
    shares = pd.Series(labels).value_counts(normalize=True)
    assert 0.1 < shares.iloc[0] < 0.4
    assert len(shares) > 15


def test_a_folder_with_other_content_is_not_changed(tmp_path: Path) -> None:
    (tmp_path / "posts").mkdir()
    with pytest.raises(InputError, match="not empty and not a demo corpus"):
        build_demo_data(tmp_path, n_posts=10)
    assert list(tmp_path.iterdir()) == [tmp_path / "posts"]
