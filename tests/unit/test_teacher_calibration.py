"""Calibration of the teacher to people, against scikit-learn and known relations."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression

from postbias.stats.bootstrap import Array
from postbias.stats.teacher_calibration import Calibration, calibrate_teacher

_LIMITS = (0.0, 10.0)


def _expected_ratings(labels: Array, relation: str) -> Array:
    return {
        "identity": labels,
        "linear": 1 + 0.5 * labels,
        "threshold": np.where(labels > 6, 8.0, 2.0),
    }[relation]


def _calibrate(relation: str, seed: int, n: int = 150) -> tuple[Calibration, Array, Array, Array]:
    rng = np.random.default_rng(seed)
    labels = np.round(rng.uniform(0, 10, n), 1)
    ratings = _expected_ratings(labels, relation) + rng.normal(0, 1, n)
    weights = rng.uniform(1, 3, n)
    calibration = calibrate_teacher(
        labels, ratings, weights, np.arange(n) // 2, limits=_LIMITS, rng=rng
    )
    return calibration, labels, ratings, weights


@pytest.mark.parametrize(
    ("relation", "method", "at_least"),
    [("identity", "none", 0.8), ("linear", "linear", 0.8), ("threshold", "isotonic", 1.0)],
)
def test_the_simplest_adequate_method_is_chosen(
    relation: str, method: str, at_least: float
) -> None:
    chosen = [_calibrate(relation, seed)[0].chosen.method for seed in range(20)]
    assert np.mean([name == method for name in chosen]) >= at_least


@pytest.mark.parametrize("relation", ["linear", "threshold"])
def test_calibrated_labels_are_closer_to_new_ratings_and_none_is_no_worse(relation: str) -> None:
    rng = np.random.default_rng(100)
    fresh = rng.uniform(0, 10, 5000)
    expected = _expected_ratings(fresh, relation)
    for seed in range(5):
        calibration = _calibrate(relation, seed)[0]
        before = np.sqrt(np.mean((fresh - expected) ** 2))
        after = np.sqrt(np.mean((calibration.chosen.apply(fresh) - expected) ** 2))
        assert after < 0.6 * before
        gain, standard_error = calibration.gains[calibration.chosen.method]
        assert gain > 2 * standard_error


def test_the_maps_equal_those_of_scikit_learn() -> None:
    calibration, labels, ratings, weights = _calibrate("linear", 0)
    grid = np.linspace(labels.min(), labels.max(), 50)
    line = LinearRegression().fit(labels[:, None], ratings, weights)
    assert calibration.maps["linear"].apply(grid) == pytest.approx(
        np.clip(line.predict(grid[:, None]), *_LIMITS)
    )
    isotonic = IsotonicRegression(y_min=0, y_max=10, out_of_bounds="clip")
    isotonic.fit(labels, ratings, sample_weight=weights)
    assert calibration.maps["isotonic"].apply(grid) == pytest.approx(isotonic.predict(grid))
    assert (calibration.maps["none"].apply(grid) == grid).all()


def test_the_held_out_error_is_that_of_new_posts_not_of_fitted_ones() -> None:
    errors, in_sample = [], []
    for seed in range(10):
        calibration, labels, ratings, _weights = _calibrate("linear", seed, n=60)
        errors.append(calibration.errors["isotonic"])
        fitted = calibration.maps["isotonic"].apply(labels)
        in_sample.append(np.sqrt(np.mean((fitted - ratings) ** 2)))
    assert np.mean(errors) > 1.0 > np.mean(in_sample)  # the noise is 1


def test_a_decreasing_relation_is_not_turned_around_and_few_authors_give_no_calibration() -> None:
    rng = np.random.default_rng(1)
    labels = rng.uniform(0, 10, 100)
    ratings = 10 - labels + rng.normal(0, 0.5, 100)
    calibration = calibrate_teacher(
        labels, ratings, np.ones(100), np.arange(100), limits=_LIMITS, rng=rng
    )
    for name in ("linear", "isotonic"):
        assert (np.diff(calibration.maps[name].apply(np.linspace(0, 10, 20))) >= -1e-12).all()
    few = calibrate_teacher(
        labels, ratings, np.ones(100), np.arange(100) % 9, limits=_LIMITS, rng=rng
    )
    assert few.chosen.method == "none"
    assert few.gains == {}


def test_a_line_stays_within_the_axis() -> None:
    labels = np.linspace(0, 10, 200)
    rng = np.random.default_rng(2)
    ratings = np.clip(3 * labels - 8, 0, 10)
    steep = calibrate_teacher(
        labels, ratings, np.ones(200), np.arange(200), limits=_LIMITS, rng=rng
    ).maps["linear"]
    mapped = steep.apply(labels)
    assert mapped.min() >= 0
    assert mapped.max() <= 10
    assert steep.apply(np.array([5.0]))[0] == pytest.approx(ratings.mean(), abs=0.1)
