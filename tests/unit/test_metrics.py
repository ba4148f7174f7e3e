"""Metrics against scikit-learn and SciPy, on the data and on resamples written out row by row."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from postbias.axes import BAND_NAMES, Axis
from postbias.stats.bootstrap import Resamples, resample_authors
from postbias.stats.metrics import (
    INTERVAL_METRICS,
    POINT_METRICS,
    Predictions,
    advantage_over,
    band_indices,
    calibration_curve,
    compute_metrics,
    mean_absolute_error,
)

AXIS = Axis("bias", 0, 10)


def _posts(n: int = 200, seed: int = 0) -> tuple[np.ndarray, Predictions, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = np.round(rng.uniform(0, 10, n) * 2) / 2  # heaped, so ranks have ties
    values = np.clip(np.round(labels + rng.normal(0, 1.5, n), 1), 0, 10)
    half = rng.uniform(0.5, 3, n)
    authors = rng.integers(0, n // 5, n).astype(str)
    return labels, Predictions(values, values - half, values + half), authors


def _within(limit: float) -> Callable[[np.ndarray, np.ndarray], float]:
    return lambda y, x: float(np.mean(np.round(np.abs(y - x), 6) <= limit))


def _bands(x: np.ndarray) -> np.ndarray:
    return np.where(x < 3.5, 0, np.where(x < 6.5, 1, 2))


REFERENCES: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "mae": sk.mean_absolute_error,
    "rmse": sk.root_mean_squared_error,
    "r2": sk.r2_score,
    "pearson": lambda y, x: stats.pearsonr(y, x).statistic,
    "spearman": lambda y, x: stats.spearmanr(y, x).statistic,
    "within_05": _within(0.5),
    "within_1": _within(1.0),
    "within_2": _within(2.0),
    "band_accuracy": lambda y, x: sk.accuracy_score(_bands(y), _bands(x)),
    "qwk": lambda y, x: sk.cohen_kappa_score(_bands(y), _bands(x), weights="quadratic"),
    "auc_high": lambda y, x: sk.roc_auc_score(_bands(y) == 2, x),
}


def _write_out(resamples: Resamples, replication: int) -> np.ndarray:
    """Return the row numbers of a resample, each as often as its author was drawn."""
    times = resamples.counts[replication][resamples.authors]
    return np.repeat(np.arange(len(times)), times)


@pytest.mark.parametrize("metric", POINT_METRICS)
def test_each_metric_equals_its_reference_on_resamples_written_out(metric: str) -> None:
    labels, predictions, authors = _posts()
    resamples = resample_authors(authors, 300, np.random.default_rng(1))
    measured = compute_metrics(labels, predictions, AXIS, resamples)[metric]
    for replication in (0, 1, 2, 255, 256, 257, 300):
        rows = _write_out(resamples, replication)
        expected = REFERENCES[metric](labels[rows], predictions.values[rows])
        assert measured[replication] == pytest.approx(expected, abs=1e-10), replication


def test_interval_metrics_are_the_covered_share_and_the_mean_width() -> None:
    labels, predictions, authors = _posts()
    resamples = resample_authors(authors, 5, np.random.default_rng(1))
    measured = compute_metrics(labels, predictions, AXIS, resamples)
    rows = _write_out(resamples, 3)
    lo, hi, y = predictions.lo[rows], predictions.hi[rows], labels[rows]
    assert measured["coverage"][3] == pytest.approx(np.mean((lo <= y) & (y <= hi)))
    assert measured["width"][3] == pytest.approx(np.mean(hi - lo))


def test_posts_without_a_score_are_left_out_and_not_counted_as_wrong() -> None:
    labels, predictions, authors = _posts()
    rows = np.arange(len(labels)) % 3 > 0
    resamples = resample_authors(authors, 100, np.random.default_rng(1))
    measured = compute_metrics(labels, predictions.restrict(rows), AXIS, resamples)
    assert measured["mae"][0] == pytest.approx(
        sk.mean_absolute_error(labels[rows], predictions.values[rows])
    )
    kept = _write_out(resamples, 7)
    kept = kept[rows[kept]]
    assert measured["spearman"][7] == pytest.approx(
        stats.spearmanr(labels[kept], predictions.values[kept]).statistic
    )


def test_a_constant_has_errors_but_no_correlation() -> None:
    labels, _, authors = _posts()
    constant = np.full(len(labels), 7.3)
    nan = np.full(len(labels), np.nan)
    resamples = resample_authors(authors, 50, np.random.default_rng(1))
    measured = compute_metrics(labels, Predictions(constant, nan, nan), AXIS, resamples)
    assert np.isfinite(measured["mae"]).all()
    assert np.isfinite(measured["r2"]).all()
    for metric in ("pearson", "spearman", "coverage", "width"):
        assert np.isnan(measured[metric]).all()
    assert measured["qwk"] == pytest.approx(0, abs=1e-12)
    assert measured["auc_high"] == pytest.approx(0.5)


def test_constant_labels_have_no_r2_and_no_correlation() -> None:
    _, predictions, authors = _posts()
    resamples = resample_authors(authors, 50, np.random.default_rng(1))
    measured = compute_metrics(np.full(len(authors), 0.1), predictions, AXIS, resamples)
    for metric in ("r2", "pearson", "spearman", "auc_high"):
        assert np.isnan(measured[metric]).all()
    assert np.isfinite(measured["mae"]).all()


def test_without_any_score_all_metrics_are_undefined() -> None:
    labels, predictions, authors = _posts(20)
    none = predictions.restrict(np.zeros(20, bool))
    measured = compute_metrics(
        labels, none, AXIS, resample_authors(authors, 10, np.random.default_rng(1))
    )
    assert set(measured) == {*POINT_METRICS, *INTERVAL_METRICS}
    assert all(np.isnan(replicates).all() for replicates in measured.values())


@pytest.mark.parametrize(
    ("low", "high"), [(0, 10), (-1, 1), (0, 1), (0, 100), (0, 3), (1, 7), (1, 5), (0.1, 0.7)]
)
def test_a_value_on_an_edge_is_in_the_higher_band_however_it_is_computed(
    low: float, high: float
) -> None:
    axis, span = Axis("axis", low, high), high - low
    for share, below, above in ((0.35, "low", "moderate"), (0.65, "moderate", "high")):
        edges = [
            low + share * span,
            (low * (100 - round(100 * share)) + high * round(100 * share)) / 100,
            float(np.float32(low + share * span)),
            round(low + share * span, 6),
        ]
        assert {axis.band(edge) for edge in edges} == {above}, edges
        assert axis.band(low + (share - 1e-4) * span) == below


@given(
    low=st.floats(-100, 100),
    span=st.floats(0.1, 200),
    steps=st.lists(st.integers(0, 200), min_size=1),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_bands_are_those_of_the_scorer_on_any_scale(
    low: float, span: float, steps: list[int], dtype: type
) -> None:
    axis = Axis("axis", low, low + span)
    values = (low + np.array(steps) / 200 * span).astype(dtype)
    names = [BAND_NAMES[band] for band in band_indices(values, axis)]
    assert names == [axis.band(float(value)) for value in values]


def test_a_smaller_error_and_a_larger_correlation_are_better() -> None:
    low, high = np.array([1.0]), np.array([2.0])
    assert advantage_over("mae", low, high) > 0
    assert advantage_over("rmse", low, high) > 0
    assert advantage_over("spearman", high, low) > 0


def test_the_mean_absolute_error_equals_that_of_compute_metrics() -> None:
    labels, predictions, authors = _posts()
    some = predictions.restrict(np.arange(len(labels)) % 4 > 0)
    resamples = resample_authors(authors, 300, np.random.default_rng(1))
    np.testing.assert_allclose(
        mean_absolute_error(labels, some, resamples),
        compute_metrics(labels, some, AXIS, resamples)["mae"],
        rtol=1e-12,
    )


@pytest.mark.parametrize(("labels", "values"), [([1.0] * 9, [2.0] * 9), ([1, 2, 3], [1, 1, 9])])
def test_calibration_counts_each_post_once(labels: list[float], values: list[float]) -> None:
    curve = calibration_curve(np.array(labels), np.array(values))
    assert sum(n for _, _, n in curve) == len(labels)
    assert np.average([y for _, y, _ in curve], weights=[n for _, _, n in curve]) == pytest.approx(
        np.mean(labels)
    )
    assert [x for x, _, _ in curve] == sorted({x for x, _, _ in curve})
