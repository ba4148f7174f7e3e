"""The synthetic corpora on which fusion is compared with its better half, and that comparison."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from benchmarks import fusion_training
from benchmarks.fusion_corpora import CORPORA, Posts, draw_posts, heap
from benchmarks.fusion_trials import _params, holm
from numpy.typing import NDArray
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import RidgeCV
from tests.conftest import ROOT


def test_labels_have_the_frequencies_of_real_scores_and_keep_their_order() -> None:
    values = np.random.default_rng(0).normal(size=14976)
    labels = heap(values)
    shares = {value: np.mean(labels == value) for value in np.unique(labels).tolist()}
    assert len(shares) == 21
    expected = {8.5: 0.37, 6.5: 0.23, 7.5: 0.15, 0.0: 0.06}  # shared/real/README.md
    assert {value: round(shares[value], 2) for value in expected} == expected
    assert (np.diff(labels[values.argsort()]) >= 0).all()


def features(posts: Posts) -> dict[str, NDArray[np.float64]]:
    """Counts of words, and the difference between red and blue."""
    words = CountVectorizer().fit_transform(posts.captions).toarray().astype(float)
    red, _, blue = posts.pixels.astype(float).mean(axis=(1, 2)).T
    return {"text": words, "image": (red - blue)[:, None]}


@pytest.mark.parametrize("name", CORPORA)
def test_each_modality_carries_the_signal_that_the_corpus_says(name: str) -> None:
    posts = draw_posts(CORPORA[name], 4000, np.random.default_rng(0))
    found = {}
    for modality, x in features(posts).items():
        model = RidgeCV(np.logspace(-2, 3, 6)).fit(x[:3000], posts.labels[:3000])
        found[modality] = model.score(x[3000:], posts.labels[3000:])
    limits = {
        "image useless": (0.3, 1, -0.1, 0.01),
        "caption useless": (-0.1, 0.01, 0.1, 1),
        "image weak": (0.3, 1, 0.001, 0.1),
        "caption weak": (0.001, 0.1, 0.1, 1),
        "redundant": (0.3, 1, 0.1, 1),
        "both": (0.1, 0.6, 0.05, 0.6),
    }[name]
    assert limits[0] < found["text"] < limits[1]
    assert limits[2] < found["image"] < limits[3]


def test_holm_rejects_what_the_step_down_procedure_rejects() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        p = rng.beta(0.3, 2, size=rng.integers(1, 8))
        rejected = np.zeros(len(p), bool)
        for step, row in enumerate(p.argsort()):
            if p[row] * (len(p) - step) >= 0.05:
                break
            rejected[row] = True
        assert ((holm(p) < 0.05) == rejected).all()
    assert holm([]).tolist() == []


def test_a_trial_trains_and_tests_all_three_students(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fusion_training, "_STORE", tmp_path)
    options = Namespace(params=ROOT / "params" / "resnet18-distilbert.yaml", set=["train.epochs=2"])
    trial = fusion_training.Trial("image useless", 200, 0, _params(options, 200))
    fusion_training.run(trial)
    result = json.loads(trial.file.read_text(encoding="utf-8"))
    assert set(result["r2"]) == {"fusion", "text", "image"}
    assert max(result["r2"].values()) < 0.5
    better = result["r2"]["fusion"] > max(result["r2"]["text"], result["r2"]["image"])
    assert (result["t"] > 0) == better
    assert trial.file != fusion_training.Trial("both", 200, 0, trial.params).file
