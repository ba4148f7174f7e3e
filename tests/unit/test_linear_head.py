"""A linear head is the penalised optimum, with the penalty that predicts left-out posts best."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import RidgeCV
from sklearn.preprocessing import StandardScaler

from postbias.axes import Axis
from postbias.student import linear_head
from postbias.student.embedding_cache import EmbeddedDataset
from postbias.student.linear_head import evaluate_head, fit_linear_head
from postbias.student.network import Head

Array = NDArray[np.float64]
AXES = (Axis("bias", 0, 10), Axis("orientation", 0, 10))


def make_fold(n: int, dim: int, *, noise: float, seed: int = 0) -> EmbeddedDataset:
    """Draw posts whose labels are linear in few directions of their embedding, and noise."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).normal(size=(dim, dim)) * np.linspace(3, 0.1, dim)
    text = rng.normal(size=(n, dim)) @ mixing
    weights = np.random.default_rng(2).normal(size=(dim, 2))
    signal = text @ weights
    labels = 5 + 1.5 * signal / signal.std(0) + noise * rng.normal(size=(n, 2))
    parts = {"text": torch.from_numpy(text).float(), "has_text": torch.ones(n, 1)}
    return EmbeddedDataset(parts, labels.clip(0, 10).astype(np.float32))


def make_head(fold: EmbeddedDataset, *, bounded: bool = False) -> Head:
    head = Head([fold.parts["text"].shape[1]], None, 2, 0.3, bounded=bounded)
    if bounded:
        head.scale.fill_(10.0)
    else:
        head.center.copy_(torch.from_numpy(fold.labels.mean(0)))
        head.scale.copy_(torch.from_numpy(fold.labels.std(0)))
    return head


def normalise_rows(embeddings: Array) -> Array:
    """As the head's layer norm does."""
    centred = embeddings - embeddings.mean(1, keepdims=True)
    normalised: Array = centred / embeddings.std(1, keepdims=True)
    return normalised


def normalise(fold: EmbeddedDataset) -> Array:
    return normalise_rows(fold.parts["text"].double().numpy())


@torch.no_grad()
def score(head: Head, fold: EmbeddedDataset) -> Array:
    return head(fold.parts["text"], fold.parts["has_text"]).double().numpy()


def predict_by_ridge(features: Array, labels: Array, penalty: float, new: Array) -> Array:
    """Ridge regression by the normal equations, on standardised features."""
    center, scale = features.mean(0), features.std(0)
    standardised = (features - center) / scale
    gram = standardised.T @ standardised + penalty * np.eye(features.shape[1])
    weights = np.linalg.solve(gram, standardised.T @ (labels - labels.mean()))
    predicted: Array = (new - center) / scale @ weights + labels.mean()
    return predicted


def test_scores_are_those_of_the_penalty_with_the_lowest_leave_one_out_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    penalties = np.logspace(0, 4, 5)
    monkeypatch.setattr(linear_head, "_PENALTIES", penalties)
    fold, new = make_fold(60, 40, noise=2.0), make_fold(30, 40, noise=2.0, seed=5)
    head = make_head(fold)
    fit_linear_head(head, fold, "mse")
    features, scores = normalise(fold), score(head, new)
    for axis in range(2):
        labels = fold.labels[:, axis].astype(float)
        # The scale of the features is that of all posts, as for the penalty of scikit-learn.
        standardised = (features - features.mean(0)) / features.std(0)
        errors = []
        for penalty in penalties:
            gram = standardised.T @ standardised + penalty * np.eye(40)
            hat = standardised @ np.linalg.solve(gram, standardised.T) + 1 / 60
            residuals = labels - labels.mean() - (hat - 1 / 60) @ (labels - labels.mean())
            errors.append(np.mean((residuals / (1 - np.diag(hat))) ** 2))
        best = penalties[int(np.argmin(errors))]
        expected = predict_by_ridge(features, labels, best, normalise(new))
        np.testing.assert_allclose(scores[:, axis], expected, rtol=1e-3, atol=1e-3)


def test_logistic_regression_is_stationary_for_shares_of_the_range() -> None:
    fold = make_fold(300, 12, noise=1.0)
    assert len(np.unique(fold.labels)) > 100  # not only the ends
    head = make_head(fold, bounded=True)
    fit_linear_head(head, fold, "cross_entropy")
    features = normalise(fold)
    scale = features.std(0)
    residuals = (fold.labels - score(head, fold)) / 10  # (N, A)
    weights = head.last_layer.weight[:, :12].detach().double().numpy() * scale  # (A, F)
    gradients = residuals.T @ ((features - features.mean(0)) / scale)  # (A, F)
    np.testing.assert_allclose(residuals.mean(0), 0, atol=1e-4)  # the offset has no penalty
    for weight, gradient in zip(weights, gradients, strict=True):
        penalty = float(gradient @ weight / (weight @ weight))
        np.testing.assert_allclose(gradient, penalty * weight, atol=5e-2 * np.abs(gradient).max())
        nearest = np.abs(np.log(linear_head._LOGISTIC_PENALTIES / penalty)).min()
        assert nearest < 0.1  # a penalty of the grid


def test_a_fusion_head_sees_both_modalities_and_a_missing_one_has_no_effect() -> None:
    rng = np.random.default_rng(3)
    text, image = (normalise_rows(rng.normal(size=(400, dim))) for dim in (6, 4))
    has_image = (rng.random(400) < 0.7).astype(float)[:, None]
    labels = 5 + text[:, :2] + has_image * image[:, :2] + 0.1 * rng.normal(size=(400, 2))
    parts = {
        "text": torch.from_numpy(text).float(),
        "has_text": torch.ones(400, 1),
        "image": torch.from_numpy(image).float(),
        "has_image": torch.from_numpy(has_image).float(),
    }
    fold = EmbeddedDataset(parts, labels.astype(np.float32))
    head = Head([6, 4], None, 2, 0.3)
    fit_linear_head(head, fold, "mse")
    metrics = evaluate_head(head, fold, AXES, "mse")
    assert metrics["valid_r2"] > 0.8
    assert metrics["valid_r2_orientation"] > 0.8
    absent = {"has_image": torch.zeros(400, 1)}
    with torch.no_grad():
        hidden = head(**parts | absent)
        other = head(**parts | absent | {"image": torch.randn(400, 4)})
    assert torch.equal(hidden, other)


def test_with_noisy_labels_it_predicts_as_ridge_regression_and_better_than_least_squares() -> None:
    fold, new = make_fold(300, 200, noise=4.0), make_fold(1000, 200, noise=0.0, seed=9)
    head = make_head(fold)
    fit_linear_head(head, fold, "mse")
    scaler = StandardScaler().fit(normalise(fold))
    reference = RidgeCV(np.logspace(0, 6, 25), alpha_per_target=True)
    reference.fit(scaler.transform(normalise(fold)), fold.labels)
    expected = reference.predict(scaler.transform(normalise(new)))
    scores = score(head, new)
    np.testing.assert_allclose(scores, expected, atol=1e-3)
    least_squares = predict_by_ridge(
        normalise(fold), fold.labels[:, 0].astype(float), 1e-3, normalise(new)
    )
    errors = [np.square(s - new.labels[:, 0]).mean() for s in (scores[:, 0], least_squares)]
    assert errors[0] < 0.5 * errors[1]
