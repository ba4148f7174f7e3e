"""Best constants against brute force, and TF-IDF with ridge against plain scikit-learn."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from postbias.axes import Axis
from postbias.evaluation.baselines import (
    RIDGE_PENALTIES,
    TOKEN_PATTERN,
    find_best_constants,
    predict_tfidf_ridge,
)
from postbias.stats.bootstrap import resample_authors
from postbias.stats.metrics import LOWER_IS_BETTER, Predictions, compute_metrics

AXIS = Axis("bias", 0, 10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "metric", ["mae", "rmse", "r2", "within_05", "within_1", "within_2", "band_accuracy"]
)
def test_no_constant_on_a_grid_is_better_than_the_best_constant(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.round(rng.choice([0, 6.5, 7.5, 8.5, 3, 4.2], 101) + rng.normal(0, 0.3, 101), 1)
    labels = labels.clip(0, 10)
    resamples = resample_authors([str(i) for i in range(101)], 1, rng)

    def value(constant: float) -> float:
        constants = np.full(101, constant)
        predictions = Predictions(constants, constants, constants)
        measured = compute_metrics(labels, predictions, AXIS, resamples)
        return float(measured[metric][0]) * (-1 if metric in LOWER_IS_BETTER else 1)

    best = value(find_best_constants(labels, AXIS, 0.9)[metric])
    assert best >= max(value(constant) for constant in np.arange(0, 10.01, 0.05)) - 1e-9


def test_the_constant_interval_covers_the_nominal_share_of_the_train_labels() -> None:
    labels = np.random.default_rng(0).uniform(0, 10, 1000)
    best = find_best_constants(labels, AXIS, 0.9)
    assert np.mean((best["lo"] <= labels) & (labels <= best["hi"])) == pytest.approx(0.9, abs=0.01)


def _captions(n: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    words = ["red", "green", "blue", "sky", "sea", "!", "🎉"]
    chosen = [list(rng.choice(words, 5)) for _ in range(n)]
    labels = np.array([[3.0 * c.count("red") + c.count("🎉"), c.count("sea")] for c in chosen])
    return [" ".join(c) for c in chosen], labels.clip(0, 10)


def test_predictions_are_those_of_the_penalty_that_is_best_on_valid() -> None:
    rng = np.random.default_rng(0)
    drawn = {fold: _captions(n, rng) for fold, n in (("train", 200), ("valid", 80), ("test", 50))}
    captions = {fold: texts for fold, (texts, _) in drawn.items()}
    labels = {fold: y for fold, (_, y) in drawn.items()}
    tfidf = predict_tfidf_ridge(captions, labels, [AXIS, Axis("other", 0, 10)])

    words = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=TOKEN_PATTERN
    )
    terms = words.fit_transform(captions["train"]).toarray()
    expected, losses = {}, {}
    for alpha in RIDGE_PENALTIES:
        model = Ridge(alpha=alpha, solver="svd").fit(terms, labels["train"][:, 0])
        valid = model.predict(words.transform(captions["valid"]).toarray()).clip(0, 10)
        losses[alpha] = np.mean((valid - labels["valid"][:, 0]) ** 2)
        expected[alpha] = model.predict(words.transform(captions["test"]).toarray()).clip(0, 10)
    best = min(losses, key=lambda alpha: losses[alpha])
    assert tfidf.penalties[0] == best
    np.testing.assert_allclose(tfidf.predictions["test"][:, 0], expected[best], atol=1e-3)
    assert np.corrcoef(tfidf.predictions["test"][:, 0], labels["test"][:, 0])[0, 1] > 0.9
    assert tfidf.predictions["test"].shape == (50, 2)


def test_each_emoji_and_chinese_character_is_a_token() -> None:
    words = TfidfVectorizer(token_pattern=TOKEN_PATTERN).build_tokenizer()
    assert words("Girls can't 🎉 男人") == ["Girls", "can", "'", "t", "🎉", "男", "人"]


def test_an_empty_caption_and_one_of_unknown_words_get_the_same_prediction() -> None:
    rng = np.random.default_rng(0)
    texts, labels = _captions(100, rng)
    tfidf = predict_tfidf_ridge(
        {"train": texts, "valid": texts, "calib": [], "test": ["", "unseen"]},
        {"train": labels, "valid": labels},
        [AXIS, AXIS],
    )
    assert np.isfinite(tfidf.predictions["test"]).all()
    assert tfidf.predictions["calib"].shape == (0, 2)
    assert tfidf.predictions["test"][0] == pytest.approx(tfidf.predictions["test"][1])


def test_without_any_word_it_predicts_the_mean_label_and_warns(
    caplog: pytest.LogCaptureFixture,
) -> None:
    labels = np.array([[1.0], [3.0]])
    with caplog.at_level(logging.WARNING):
        tfidf = predict_tfidf_ridge(
            {"train": ["", ""], "valid": [""], "test": ["", "", ""]},
            {"train": labels, "valid": labels[:1]},
            [AXIS],
        )
    assert tfidf.predictions["test"].tolist() == [[2.0]] * 3
    assert tfidf.penalties == (None,)
    assert "captions of the train fold share no word: TF-IDF predicts the mean label" in caplog.text
