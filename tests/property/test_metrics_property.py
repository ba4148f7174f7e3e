"""Invariants of metrics on generated data."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from postbias.axes import Axis
from postbias.stats.bootstrap import resample_authors
from postbias.stats.metrics import Predictions, compute_metrics

AXIS = Axis("bias", 0, 10)
GRID = st.integers(0, 20).map(lambda half: half / 2)


@st.composite
def posts(draw_from: st.DrawFn) -> tuple[np.ndarray, np.ndarray, list[str]]:
    n = draw_from(st.integers(2, 30))
    labels = draw_from(arrays(np.float64, n, elements=GRID))
    values = draw_from(arrays(np.float64, n, elements=GRID))
    authors = draw_from(st.lists(st.sampled_from("abcdef"), min_size=n, max_size=n))
    return labels, values, authors


def _predictions(values: np.ndarray) -> Predictions:
    return Predictions(values, values - 1, values + 1)


@settings(deadline=None, max_examples=60)
@given(posts(), st.integers(0, 2**32 - 1))
def test_the_rank_correlation_of_any_resample_is_that_of_its_rows_written_out(
    drawn: tuple[np.ndarray, np.ndarray, list[str]], seed: int
) -> None:
    labels, values, authors = drawn
    resamples = resample_authors(authors, 5, np.random.default_rng(seed))
    measured = compute_metrics(labels, _predictions(values), AXIS, resamples)["spearman"]
    for replication, counts in enumerate(resamples.counts):
        rows = np.repeat(np.arange(len(labels)), counts[resamples.authors])
        y, x = labels[rows], values[rows]
        if len(rows) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan(measured[replication])
        else:
            expected = stats.spearmanr(y, x).statistic
            assert measured[replication] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=60)
@given(posts(), st.randoms(use_true_random=False))
def test_the_order_of_posts_does_not_matter(
    drawn: tuple[np.ndarray, np.ndarray, list[str]], random: st.random_module
) -> None:
    labels, values, authors = drawn
    order = np.arange(len(labels))
    random.shuffle(order)  # type: ignore[attr-defined]
    shuffled = [authors[i] for i in order]
    original = compute_metrics(
        labels, _predictions(values), AXIS, resample_authors(authors, 20, np.random.default_rng(1))
    )
    reordered = compute_metrics(
        labels[order],
        _predictions(values[order]),
        AXIS,
        resample_authors(shuffled, 20, np.random.default_rng(1)),
    )
    for metric, replicates in original.items():
        np.testing.assert_allclose(replicates, reordered[metric], atol=1e-9, err_msg=metric)


@settings(deadline=None, max_examples=60)
@given(posts())
def test_shares_are_in_0_to_1_and_correlations_in_minus_1_to_1(
    drawn: tuple[np.ndarray, np.ndarray, list[str]],
) -> None:
    labels, values, authors = drawn
    resamples = resample_authors(authors, 20, np.random.default_rng(1))
    measured = compute_metrics(labels, _predictions(values), AXIS, resamples)
    limits = {"band_accuracy": 0, "coverage": 0, "within_05": 0, "within_1": 0, "within_2": 0}
    limits |= {"auc_high": 0}
    for metric, lowest in {**limits, "pearson": -1, "spearman": -1, "qwk": -1}.items():
        defined = measured[metric][np.isfinite(measured[metric])]
        assert ((lowest <= defined) & (defined <= 1)).all(), metric
    assert (measured["rmse"] >= measured["mae"] - 1e-9).all()
