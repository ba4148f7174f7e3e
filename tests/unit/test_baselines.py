"""The best constant and TF-IDF with ridge, against brute force and against plain scikit-learn."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from postbias.axes import Axis
from postbias.evaluation.baselines import ALPHAS, TOKEN, best_constants, tfidf_ridge
from postbias.stats.bootstrap import draw
from postbias.stats.metrics import LESS_IS_BETTER, Predictions, measure

AXIS = Axis("bias", 0, 10)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "metric", ["mae", "rmse", "r2", "within_05", "within_1", "within_2", "band_accuracy"]
)
def test_no_constant_on_a_grid_is_better_than_the_best_constant(metric: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    labels = np.round(rng.choice([0, 6.5, 7.5, 8.5, 3, 4.2], 101) + rng.normal(0, 0.3, 101), 1)
    labels = labels.clip(0, 10)
    resamples = draw([str(i) for i in range(101)], 1, rng)

    def value(constant: float) -> float:
        constants = np.full(101, constant)
        found = measure(labels, Predictions(constants, constants, constants), AXIS, resamples)
        return float(found[metric][0]) * (-1 if metric in LESS_IS_BETTER else 1)

    best = value(best_constants(labels, AXIS, 0.9)[metric])
    assert best >= max(value(constant) for constant in np.arange(0, 10.01, 0.05)) - 1e-9


def test_the_constant_interval_holds_the_nominal_share_of_the_train_labels() -> None:
    labels = np.random.default_rng(0).uniform(0, 10, 1000)
    best = best_constants(labels, AXIS, 0.9)
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
    found = tfidf_ridge(captions, labels, [AXIS, Axis("other", 0, 10)])

    words = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=TOKEN)
    terms = words.fit_transform(captions["train"]).toarray()
    expected, losses = {}, {}
    for alpha in ALPHAS:
        model = Ridge(alpha=alpha, solver="svd").fit(terms, labels["train"][:, 0])
        valid = model.predict(words.transform(captions["valid"]).toarray()).clip(0, 10)
        losses[alpha] = np.mean((valid - labels["valid"][:, 0]) ** 2)
        expected[alpha] = model.predict(words.transform(captions["test"]).toarray()).clip(0, 10)
    best = min(losses, key=lambda alpha: losses[alpha])
    assert found.alphas[0] == best
    np.testing.assert_allclose(found.predictions["test"][:, 0], expected[best], atol=1e-3)
    assert np.corrcoef(found.predictions["test"][:, 0], labels["test"][:, 0])[0, 1] > 0.9
    assert found.predictions["test"].shape == (50, 2)


def test_an_emoji_and_a_chinese_character_are_words() -> None:
    words = TfidfVectorizer(token_pattern=TOKEN).build_tokenizer()
    assert words("Girls can't 🎉 男人") == ["Girls", "can", "'", "t", "🎉", "男", "人"]


def test_an_empty_caption_is_predicted_from_no_word_at_all() -> None:
    rng = np.random.default_rng(0)
    texts, labels = _captions(100, rng)
    found = tfidf_ridge(
        {"train": texts, "valid": texts, "calib": [], "test": ["", "unseen"]},
        {"train": labels, "valid": labels},
        [AXIS, AXIS],
    )
    assert np.isfinite(found.predictions["test"]).all()
    assert found.predictions["calib"].shape == (0, 2)
    assert found.predictions["test"][0] == pytest.approx(found.predictions["test"][1])


def test_without_any_word_it_knows_the_mean_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    labels = np.array([[1.0], [3.0]])
    with caplog.at_level(logging.WARNING):
        found = tfidf_ridge(
            {"train": ["", ""], "valid": [""], "test": ["", "", ""]},
            {"train": labels, "valid": labels[:1]},
            [AXIS],
        )
    assert found.predictions["test"].tolist() == [[2.0]] * 3
    assert found.alphas == (None,)
    assert "knows the mean only" in caplog.text
