"""Partial pooling: nominal coverage, and smaller errors than unpooled estimates."""

from __future__ import annotations

import numpy as np
import pytest

from postbias.stats.pooling import pool_estimates


def _simulate_groups(spread: float) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    truths = rng.normal(4, spread, (300, 15))
    variances = rng.uniform(0.02, 1.0, truths.shape)
    return truths, variances, truths + rng.normal(0, np.sqrt(variances))


@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_pooled_estimates_are_closer_to_the_truth(spread: float) -> None:
    truths, variances, estimates = _simulate_groups(spread)
    pooled = [pool_estimates(x, v) for x, v in zip(estimates, variances, strict=True)]
    values = np.array([p.values for p in pooled if p])
    assert np.mean((values - truths) ** 2) < 0.7 * np.mean((estimates - truths) ** 2)


@pytest.mark.parametrize("spread", [0.2, 0.4, 0.6, 1.0])
def test_pooled_intervals_have_nominal_coverage(spread: float) -> None:
    truths, variances, estimates = _simulate_groups(spread)
    covered = []
    for truth, x, v in zip(truths, estimates, variances, strict=True):
        result = pool_estimates(x, v)
        assert result is not None
        covered.append((result.lo <= truth) & (truth <= result.hi))
    assert 0.92 <= np.mean(covered) <= 0.99


def test_groups_that_differ_by_sampling_error_alone_are_shrunk_almost_to_the_mean() -> None:
    estimates = np.random.default_rng(0).normal(4, 0.3, 12)
    result = pool_estimates(estimates, np.ones(12))
    assert result is not None
    assert np.ptp(result.values) < 0.2 * np.ptp(estimates)
    assert max(result.own_share) < 0.2


def test_a_precise_estimate_is_kept_and_an_imprecise_one_is_shrunk() -> None:
    result = pool_estimates(np.array([2.0, 4.0, 6.0, 9.0]), np.array([1e-4, 1e-4, 1e-4, 25.0]))
    assert result is not None
    assert result.values[0] == pytest.approx(2.0, abs=0.01)
    assert abs(result.values[3] - result.mean) < 2.5
    assert result.own_share[3] < 0.5 < result.own_share[0]


def test_a_group_without_an_estimate_gets_the_mean_and_a_wide_interval() -> None:
    result = pool_estimates(np.array([2.0, 4.0, 6.0, np.nan]), np.array([0.01, 0.01, 0.01, np.nan]))
    assert result is not None
    assert result.values[3] == pytest.approx(result.mean)
    assert result.own_share[3] == 0
    assert result.hi[3] - result.lo[3] > 3 * (result.hi[0] - result.lo[0])


def test_two_groups_are_not_pooled() -> None:
    assert pool_estimates(np.array([1.0, 2.0, np.nan]), np.array([1.0, 1.0, 1.0])) is None
