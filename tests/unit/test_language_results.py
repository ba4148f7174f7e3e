"""Results by language: the baseline of each, which languages are judged, and what is cut."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge
from tests.tiny_artifact import write_tiny_artifact

from postbias.axes import Axis
from postbias.demo.caption_writer import CaptionCues, write_caption
from postbias.demo.ground_truth import CLAIM_VALUE, CLAIMS, TOPICS
from postbias.evaluation.baselines import RIDGE_PENALTIES, TOKEN_PATTERN
from postbias.evaluation.evaluation_set import EvaluationSet, EvaluationSets, StudentResults
from postbias.evaluation.gate import GateEvidence, evaluate_gate
from postbias.evaluation.labelled_folds import FoldPredictions, LabelledFold
from postbias.evaluation.language_results import (
    LanguageResult,
    group_languages,
    measure_languages,
)
from postbias.evaluation.token_loss import count_lost_tokens
from postbias.params import GateParams
from postbias.paths import Paths
from postbias.posts.authorship import AuthorCounts
from postbias.scoring.scorer import Scorer
from postbias.stats.bootstrap import resample_authors
from postbias.stats.metrics import Predictions, resampled_mean

AXIS = Axis("bias", 0, 10)
#: Posts by fold and language; two posts per author.
SHARES = {"train": 60, "valid": 20, "calib": 0, "test": 40}
RARE = {"train": 20, "valid": 4, "calib": 0, "test": 40}
NEW = {"train": 0, "valid": 0, "calib": 0, "test": 12}


def _fold(name: str, rng: np.random.Generator) -> LabelledFold:
    ids, authors, captions, labels = [], [], [], []
    for language, shares in (("en", SHARES), ("zh", SHARES), ("de", RARE), ("hi", NEW)):
        for i in range(shares[name]):
            claim = int(rng.integers(len(CLAIMS)))
            topic = TOPICS[int(rng.integers(len(TOPICS)))]
            gender = int(rng.choice([-1, 1]))
            cues = CaptionCues(language, topic, claim, gender, False, None, False)
            ids.append(f"{name}-{language}-{i:03d}")
            authors.append(f"{name}-{language}-{i // 2}")
            captions.append(write_caption(cues, rng))
            labels.append(np.clip(3 + 5 * CLAIM_VALUE[claim] + rng.normal(0, 0.5), 0, 10))
    return LabelledFold(tuple(ids), tuple(authors), tuple(captions), np.array(labels)[:, None])


@pytest.fixture(scope="module")
def sets() -> EvaluationSets:
    rng = np.random.default_rng(0)
    folds = {name: _fold(name, rng) for name in SHARES}
    made = {
        name: EvaluationSet.create(folds[name], (AXIS,), 300, rng) for name in ("valid", "test")
    }
    return EvaluationSets(made["valid"], made["test"], None, folds)


def _student(scores: np.ndarray) -> StudentResults:
    scored = Predictions(scores, scores - 1, scores + 1)
    predictions = FoldPredictions({"bias": scored}, {}, ("text",) * len(scores))
    return StudentResults("0" * 64, predictions, predictions, predictions, {})


def _measure(
    sets: EvaluationSets, scores: np.ndarray, metric: str = "mae"
) -> dict[str, LanguageResult]:
    languages = group_languages(sets.folds)
    texts = {fold: posts.captions for fold, posts in sets.folds.items()}
    student = {"text": _student(scores)}
    results = measure_languages(sets, languages, texts, student, metric)["text"]
    return {one.language: one for one in results}


def test_the_baseline_of_a_language_has_seen_that_language_only(sets: EvaluationSets) -> None:
    test, train, valid = sets.test.fold, sets.folds["train"], sets.folds["valid"]
    found = _measure(sets, np.full(len(test), 5.0))["zh"]
    languages = group_languages(sets.folds)
    own = {
        fold: np.flatnonzero(np.array(languages[fold]) == "zh")
        for fold in ("train", "valid", "test")
    }
    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2), min_df=2, sublinear_tf=True, token_pattern=TOKEN_PATTERN
    )
    x = vectorizer.fit_transform([train.captions[i] for i in own["train"]])
    x_valid = vectorizer.transform([valid.captions[i] for i in own["valid"]])
    x_test = vectorizer.transform([test.captions[i] for i in own["test"]])
    losses, errors = [], []
    for penalty in RIDGE_PENALTIES:
        ridge = Ridge(alpha=penalty, solver="sparse_cg", tol=1e-6)
        ridge.fit(x, train.labels[own["train"], 0])
        residuals = np.clip(ridge.predict(x_valid), 0, 10) - valid.labels[own["valid"], 0]
        losses.append(np.mean(residuals**2))
        predicted = np.clip(ridge.predict(x_test), 0, 10)
        errors.append(np.mean(np.abs(predicted - test.labels[own["test"], 0])))
    assert found.baseline is not None
    np.testing.assert_allclose(found.baseline[0], errors[int(np.argmin(losses))], atol=1e-3)
    assert found.n == len(own["test"])
    assert found.n_learned == len(own["train"])


def test_metrics_are_those_of_the_posts_in_the_language(sets: EvaluationSets) -> None:
    labels = sets.test.fold.labels[:, 0]
    scores = labels + np.random.default_rng(1).normal(0.3, 0.8, len(labels))
    found = _measure(sets, scores, "rmse")
    codes = np.array(group_languages(sets.folds)["test"])
    for code, one in found.items():
        error = (scores - labels)[codes == code]
        if not len(error):
            assert one.metrics == {}
            continue
        np.testing.assert_allclose(one.metrics["mae"][0], np.abs(error).mean())
        np.testing.assert_allclose(one.metrics["error"][0], error.mean())
        np.testing.assert_allclose(one.metrics["rmse"][0], np.sqrt((error**2).mean()))
        np.testing.assert_allclose(one.metrics["coverage"][0], (np.abs(error) <= 1).mean())
        np.testing.assert_allclose(one.metrics["width"][0], 2.0)


def test_languages_with_too_few_labels_are_listed_but_not_judged(sets: EvaluationSets) -> None:
    found = _measure(sets, sets.test.fold.labels[:, 0])
    assert {"en", "zh", "de", "hi"} <= set(found)
    judged = {code for code, one in found.items() if one.is_judged}
    assert judged == {"en", "zh"}
    assert found["de"].baseline is None  # 20 labels are too few to learn from
    assert found["hi"].n_learned == 0


def _language_lines(sets: EvaluationSets, scores: np.ndarray) -> dict[str, bool]:
    found = _measure(sets, scores)
    labels = sets.test.fold.labels[:, 0]
    evidence = GateEvidence(
        metric="mae",
        student=np.ones(301),
        student_fp32=1.0,
        baselines={},
        scores=scores,
        labels=labels,
        n_leaks=0,
        languages={
            code: one.p_worse
            for code, one in found.items()
            if one.is_judged and one.p_worse is not None
        },
    )
    limits = GateParams(
        min_spread=0.3,
        max_int8_loss=0.01,
        alpha=0.05,
        coverage_tolerance=0.02,
        max_swap_change=0.05,
        max_repeat_change=0.1,
    )
    lines = evaluate_gate(evidence, limits)
    found_lines = {k.removeprefix("language_"): v for k, v in lines.items() if "language_" in k}
    assert all(line.limit == 0.05 / len(found_lines) for line in found_lines.values())
    return {code: line.is_passed for code, line in found_lines.items()}


def test_a_student_that_fails_one_language_does_not_pass(sets: EvaluationSets) -> None:
    labels = sets.test.fold.labels[:, 0]
    codes = np.array(group_languages(sets.folds)["test"])
    good = labels + np.random.default_rng(2).normal(0, 0.3, len(labels))
    assert _language_lines(sets, good) == {"en": True, "zh": True}
    # As good as before on the whole, and useless in Chinese.
    poor = np.where(codes == "zh", 10 - labels, good)
    assert _language_lines(sets, poor) == {"en": True, "zh": False}


def test_the_p_value_is_that_of_a_t_test_over_authors() -> None:
    from scipy.stats import ttest_1samp

    rng = np.random.default_rng(5)
    differences = rng.normal(-0.1, 1, 12)  # one post per author
    resamples = resample_authors([str(i) for i in range(12)], 20_000, rng)
    advantage = resampled_mean(differences, resamples)
    one = LanguageResult("de", 12, AuthorCounts(12, 0), 60, {}, None, advantage)
    expected = ttest_1samp(differences, 0, alternative="less").pvalue
    assert one.p_worse == pytest.approx(expected, abs=0.01)
    alone = LanguageResult("de", 12, AuthorCounts(1, 0), 60, {}, None, np.array([0.5, np.nan]))
    assert alone.p_worse is None
    assert not alone.is_judged


def test_lost_tokens_are_those_beyond_the_limit(
    tmp_path: Path, sets: EvaluationSets, caplog: pytest.LogCaptureFixture
) -> None:
    paths = Paths(tmp_path, tmp_path)
    write_tiny_artifact(paths.students / "text", "text")
    write_tiny_artifact(paths.students / "image", "image")
    languages = group_languages(sets.folds)
    with caplog.at_level(logging.WARNING):
        lost = count_lost_tokens(paths, sets.folds, languages, ["text", "image"])
    assert set(lost) == {"text"}
    with Scorer.open(paths.students / "text") as scorer:
        limit = scorer.manifest.max_tokens
        assert limit is not None
        for code, loss in lost["text"].items():
            captions = [
                caption
                for fold, posts in sets.folds.items()
                for caption, found in zip(posts.captions, languages[fold], strict=True)
                if found == code
            ]
            n_read = [len(scorer.graphs.tokenize(caption)) for caption in captions]
            assert loss.n == len(captions)
            # The scorer reads what is counted as read, and never more than the limit.
            read = loss.mean * loss.n * (1 - loss.lost)
            np.testing.assert_allclose(read, sum(n_read), rtol=1e-9)
            assert (loss.cut > 0) == (loss.high > limit or (max(n_read) == limit and loss.lost > 0))
    warned = {code for code, loss in lost["text"].items() if loss.is_much}
    assert warned
    assert all(f"language `{code}` lose" in caplog.text for code in warned)
