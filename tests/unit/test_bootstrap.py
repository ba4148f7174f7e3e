"""Bootstrap over authors: resamples, intervals and p-values."""

from __future__ import annotations

import numpy as np
import pytest

from postbias.stats.bootstrap import (
    one_sided_p_value,
    resample_authors,
    summarize_replicates,
    two_sided_p_value,
)


def test_each_replication_draws_as_many_authors_as_there_are() -> None:
    resamples = resample_authors(["a", "b", "a", "c"], 50, np.random.default_rng(0))
    assert resamples.n_authors == 3
    assert (resamples.counts.sum(axis=1) == 3).all()
    assert resamples.counts[0].tolist() == [1, 1, 1]
    assert resamples.authors.tolist() == [0, 1, 0, 2]


def test_the_same_generator_state_gives_the_same_resamples() -> None:
    first, second = (
        resample_authors(list("abcde"), 20, np.random.default_rng(3)) for _ in range(2)
    )
    assert (first.counts == second.counts).all()


def test_intervals_of_a_mean_have_about_their_nominal_coverage() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        x = rng.normal(0, 1, 60)
        weights = resample_authors([str(i) for i in range(60)], 200, rng).counts.astype(float)
        estimate = summarize_replicates(weights @ x / 60)
        assert estimate.lo is not None
        assert estimate.hi is not None
        hits += estimate.lo <= 0 <= estimate.hi
    assert 0.89 <= hits / 200 <= 0.99


def test_intervals_over_authors_are_wider_if_posts_of_an_author_are_alike() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(0, 1, 50), 10)

    def width(authors: list[str]) -> float:
        resamples = resample_authors(authors, 500, np.random.default_rng(1))
        weights = resamples.counts[:, resamples.authors].astype(float)
        estimate = summarize_replicates(weights @ x / weights.sum(axis=1))
        assert estimate.lo is not None
        assert estimate.hi is not None
        return estimate.hi - estimate.lo

    assert width([str(i // 10) for i in range(500)]) > 2 * width([str(i) for i in range(500)])


def test_an_undefined_value_or_many_undefined_replicates_give_no_interval() -> None:
    assert summarize_replicates(np.array([np.nan, 1, 2])).as_dict() == {
        "value": None,
        "lo": None,
        "hi": None,
    }
    mostly_undefined = summarize_replicates(np.array([1.0, np.nan, 1, 2]))
    assert mostly_undefined.as_dict() == {"value": 1, "lo": None, "hi": None}


def test_a_single_author_is_not_resampled() -> None:
    resamples = resample_authors(["a"] * 5, 100, np.random.default_rng(0))
    assert resamples.counts.shape == (1, 1)


def test_a_p_value_is_never_zero_and_undefined_replicates_count_against_an_advantage() -> None:
    assert one_sided_p_value(np.ones(1000)) == pytest.approx(1 / 1000)
    assert one_sided_p_value(np.array([1, 1, np.nan, -1])) == pytest.approx(3 / 4)
    assert two_sided_p_value(np.array([np.nan, 1])) is None
    assert two_sided_p_value(np.zeros(100)) == 1
