"""Partial pooling: honest intervals, and estimates nearer to the truth than unpooled ones."""

from __future__ import annotations

import numpy as np
import pytest

from postbias.stats.pooling import pool


def _many(spread: float) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(0)
    truths = rng.normal(4, spread, (300, 15))
    variances = rng.uniform(0.02, 1.0, truths.shape)
    return truths, variances, truths + rng.normal(0, np.sqrt(variances))


@pytest.mark.parametrize("spread", [0.2, 0.6])
def test_pooled_estimates_are_nearer_to_the_truth(spread: float) -> None:
    truths, variances, seen = _many(spread)
    pooled = [pool(x, v) for x, v in zip(seen, variances, strict=True)]
    values = np.array([p.values for p in pooled if p])
    assert np.mean((values - truths) ** 2) < 0.7 * np.mean((seen - truths) ** 2)


@pytest.mark.parametrize("spread", [0.2, 0.4, 0.6, 1.0])
def test_their_intervals_hold_the_truth(spread: float) -> None:
    truths, variances, seen = _many(spread)
    held = []
    for truth, x, v in zip(truths, seen, variances, strict=True):
        found = pool(x, v)
        assert found is not None
        held.append((found.lo <= truth) & (truth <= found.hi))
    assert 0.92 <= np.mean(held) <= 0.99


def test_groups_that_differ_by_luck_alone_are_pulled_almost_to_the_mean() -> None:
    seen = np.random.default_rng(0).normal(4, 0.3, 12)
    found = pool(seen, np.ones(12))
    assert found is not None
    assert np.ptp(found.values) < 0.2 * np.ptp(seen)
    assert max(found.own) < 0.2


def test_a_sure_group_keeps_its_estimate_and_a_vague_one_does_not() -> None:
    found = pool(np.array([2.0, 4.0, 6.0, 9.0]), np.array([1e-4, 1e-4, 1e-4, 25.0]))
    assert found is not None
    assert found.values[0] == pytest.approx(2.0, abs=0.01)
    assert abs(found.values[3] - found.mean) < 2.5
    assert found.own[3] < 0.5 < found.own[0]


def test_a_group_without_an_estimate_gets_the_mean_and_a_wide_interval() -> None:
    found = pool(np.array([2.0, 4.0, 6.0, np.nan]), np.array([0.01, 0.01, 0.01, np.nan]))
    assert found is not None
    assert found.values[3] == pytest.approx(found.mean)
    assert found.own[3] == 0
    assert found.hi[3] - found.lo[3] > 3 * (found.hi[0] - found.lo[0])


def test_two_groups_teach_no_spread() -> None:
    assert pool(np.array([1.0, 2.0, np.nan]), np.array([1.0, 1.0, 1.0])) is None
