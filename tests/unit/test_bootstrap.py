"""What a resampled number is worth."""

from __future__ import annotations

import numpy as np
import pytest

from postbias.stats.bootstrap import draw, estimate, p_different, p_not_better


def test_each_replication_draws_as_many_authors_as_there_are() -> None:
    resamples = draw(["a", "b", "a", "c"], 50, np.random.default_rng(0))
    assert resamples.n_authors == 3
    assert (resamples.counts.sum(axis=1) == 3).all()
    assert resamples.counts[0].tolist() == [1, 1, 1]
    assert resamples.authors.tolist() == [0, 1, 0, 2]


def test_the_same_generator_state_gives_the_same_draws() -> None:
    one, two = (draw(list("abcde"), 20, np.random.default_rng(3)) for _ in range(2))
    assert (one.counts == two.counts).all()


def test_an_interval_of_a_mean_covers_it_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(200):
        x = rng.normal(0, 1, 60)
        weights = draw([str(i) for i in range(60)], 200, rng).counts.astype(float)
        found = estimate(weights @ x / 60)
        assert found.lo is not None
        assert found.hi is not None
        hits += found.lo <= 0 <= found.hi
    assert 0.89 <= hits / 200 <= 0.99


def test_clustered_intervals_are_wider_where_authors_repeat_themselves() -> None:
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(0, 1, 50), 10)

    def width(authors: list[str]) -> float:
        resamples = draw(authors, 500, np.random.default_rng(1))
        weights = resamples.counts[:, resamples.authors].astype(float)
        found = estimate(weights @ x / weights.sum(axis=1))
        assert found.lo is not None
        assert found.hi is not None
        return found.hi - found.lo

    assert width([str(i // 10) for i in range(500)]) > 2 * width([str(i) for i in range(500)])


def test_an_undefined_value_has_no_interval_and_many_undefined_draws_give_none() -> None:
    assert estimate(np.array([np.nan, 1, 2])).as_dict() == {"value": None, "lo": None, "hi": None}
    mostly_undefined = estimate(np.array([1.0, np.nan, 1, 2]))
    assert mostly_undefined.as_dict() == {"value": 1, "lo": None, "hi": None}


def test_the_interval_of_one_author_is_not_given() -> None:
    resamples = draw(["a"] * 5, 100, np.random.default_rng(0))
    assert resamples.counts.shape == (1, 1)


def test_a_p_value_is_never_zero_and_undefined_draws_count_against() -> None:
    assert p_not_better(np.ones(1000)) == pytest.approx(1 / 1000)
    assert p_not_better(np.array([1, 1, np.nan, -1])) == pytest.approx(3 / 4)
    assert p_different(np.array([np.nan, 1])) is None
    assert p_different(np.zeros(100)) == 1
