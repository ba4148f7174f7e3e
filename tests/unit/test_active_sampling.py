"""Active sampling: valid whatever the expected errors are, and narrower where they are right."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.active_sampling import N, draw_posts, measure

from postbias.stats.active_sampling import (
    Round,
    draw_fixed_number,
    draw_round,
    equivalent_sample_size,
    estimate_active_mean,
    expected_errors,
    expected_errors_by_score,
    inclusion_weights,
    sampling_probabilities,
)


def test_probabilities_follow_the_errors_and_sum_to_the_sample_size() -> None:
    errors = np.array([0.0, 1.0, 2.0, 4.0])
    probabilities = sampling_probabilities(errors, 1.0, uniform_share=0.4)
    assert probabilities == pytest.approx(0.6 * errors / 7 + 0.4 / 4)
    assert (sampling_probabilities(np.zeros(4), 2.0) == 0.5).all()


def test_certain_posts_leave_the_rest_of_the_sample_to_the_others() -> None:
    rng = np.random.default_rng(0)
    errors = rng.lognormal(0, 2, 200)
    available = rng.random(200) < 0.8
    probabilities = sampling_probabilities(errors, 90, available=available)
    assert probabilities.sum() == pytest.approx(90)
    assert probabilities.max() == 1
    assert (probabilities[~available] == 0).all()
    assert (probabilities[available] > 0).all()
    free = available & (probabilities < 1)
    order = np.argsort(errors[free])
    assert (np.diff(probabilities[free][order]) >= 0).all()
    everything = sampling_probabilities(errors, available.sum(), available=available)
    assert everything == pytest.approx(available.astype(float))


def test_impossible_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="5 posts cannot be sampled from 4"):
        sampling_probabilities(np.ones(4), 5)
    with pytest.raises(ValueError, match=r"uniform share is 0; it must be above 0"):
        sampling_probabilities(np.ones(4), 2, uniform_share=0)
    with pytest.raises(ValueError, match=r"smallest difficulty is 0\.0"):
        expected_errors(np.zeros(3), np.full(3, np.nan), np.ones(3))


def test_expected_errors_are_found_from_a_few_dozen_known_ones() -> None:
    rng = np.random.default_rng(1)
    difficulty = rng.lognormal(0, 1, 4000)
    deviations = 0.7 * difficulty**0.8
    known = rng.random(4000) < 0.05
    squares = np.where(known, (deviations * rng.normal(size=4000)) ** 2, np.nan)
    errors = expected_errors(difficulty, squares, np.ones(4000))
    assert np.corrcoef(np.log(errors), np.log(deviations))[0, 1] > 0.99
    assert np.median(np.abs(np.log(errors / deviations))) < 0.3
    irrelevant = expected_errors(rng.lognormal(0, 1, 4000), squares, np.ones(4000))
    assert np.std(np.log(irrelevant)) < 0.4 * np.std(np.log(errors))
    assert (expected_errors(difficulty, np.full(4000, np.nan), np.ones(4000)) == 1).all()


@pytest.mark.parametrize("is_misleading", [False, True])
def test_rounds_that_depend_on_earlier_ones_give_no_bias_even_with_wrong_errors(
    is_misleading: bool,
) -> None:
    rng = np.random.default_rng(2)
    n = 400
    deviations = rng.lognormal(0, 1, n)
    values = 3 + deviations * rng.normal(size=n)
    assumed = 1 / deviations if is_misleading else deviations
    weighted = []
    for _replication in range(1500):
        first = draw_round(np.full(n, 0.1), rng)
        # The second round looks at what the first has found.
        known = first.is_sampled
        scale = 1 + (values[known].mean() > 3) * assumed
        second = draw_round(sampling_probabilities(scale, 40, available=~known), rng)
        sizes = [40.0, equivalent_sample_size(assumed, second.probabilities)]
        weights = inclusion_weights([first, second], sizes)
        weighted.append(weights @ values / n)
    assert np.mean(weighted) == pytest.approx(
        values.mean(), abs=4 * np.std(weighted) / np.sqrt(len(weighted))
    )


def test_with_equal_probabilities_it_equals_prediction_powered_inference() -> None:
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    rng = np.random.default_rng(3)
    values, scores, _deviations, _difficulty, _authors = draw_posts(rng, 0.0)
    sampled = draw_round(np.full(N, 0.05), rng).is_sampled
    weights = np.where(sampled, 20.0, 0.0)
    estimate = estimate_active_mean(weights, values, scores, np.arange(N))
    arguments = (values[sampled], scores[sampled], scores)
    library = ppi_mean_pointestimate(*arguments, lam=1.0)
    assert estimate.value == pytest.approx(float(np.asarray(library).item()), abs=0.01)
    lo, hi = ppi_mean_ci(*arguments, alpha=0.05, lam=1.0)
    interval = estimate.interval(-np.inf, np.inf)
    assert interval.lo is not None
    assert interval.hi is not None
    assert interval.hi - interval.lo == pytest.approx(float((hi - lo).item()), rel=0.1)


def test_one_sampled_post_gives_no_estimate() -> None:
    weights = np.zeros(10)
    weights[3] = 10
    assert np.isnan(estimate_active_mean(weights, weights, np.ones(10), np.arange(10)).value)


def test_a_single_round_is_weighted_by_its_probabilities() -> None:
    probabilities = np.array([0.5, 0.25, 1.0])
    one = Round(probabilities, np.array([True, False, True]))
    assert inclusion_weights([one], [1.0]) == pytest.approx([2, 0, 1])


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_half_the_measurements_give_the_same_width_where_errors_differ(spread: float) -> None:
    measured = measure(400, 150, spread)
    width = {name: row["width"] for name, row in measured.items()}
    # The standard error of coverage is 1.8 points.
    assert all(row["coverage"] >= 0.89 for row in measured.values())
    if spread:
        assert width["active with known errors, 200"] < width["equal probabilities, 400"]
        assert width["active in two rounds, 200"] < 0.9 * width["labels only, 400"]
        assert width["active in two rounds, 200"] < 0.85 * width["equal probabilities, 200"]
    else:
        assert width["active in two rounds, 200"] == pytest.approx(
            width["equal probabilities, 200"], rel=0.05
        )


def test_a_fixed_number_is_drawn_with_the_given_probabilities() -> None:
    rng = np.random.default_rng(4)
    probabilities = sampling_probabilities(rng.lognormal(0, 1, 60), 12)
    counts, n = np.zeros(60), 4000
    for _replication in range(n):
        drawn = draw_fixed_number(probabilities, rng.random(60)).is_sampled
        assert drawn.sum() == 12
        counts += drawn
    error = np.sqrt(np.maximum(probabilities * (1 - probabilities), 1e-9) / n)
    assert (np.abs(counts / n - probabilities) < 4.5 * error + 1e-3).all()


def test_a_round_with_equal_probabilities_is_worth_its_number_of_posts() -> None:
    rng = np.random.default_rng(5)
    errors = rng.lognormal(0, 1, 500)
    assert equivalent_sample_size(errors, np.full(500, 0.1)) == pytest.approx(50)
    active = equivalent_sample_size(errors, sampling_probabilities(errors, 50))
    assert active > 70
    assert equivalent_sample_size(1 / errors, sampling_probabilities(errors, 50)) < 50


@pytest.mark.parametrize("shape", ["grows", "middle"])
def test_errors_of_similar_scores_are_found_without_a_measure_of_difficulty(shape: str) -> None:
    rng = np.random.default_rng(6)
    scores = np.minimum(rng.exponential(2, 4000), 10)
    deviations = 0.1 + scores / 3 if shape == "grows" else 0.3 + 1.5 * (np.abs(scores - 3) < 1)
    known = rng.random(4000) < 0.1
    squares = np.where(known, (deviations * rng.normal(size=4000)) ** 2, np.nan)
    errors = expected_errors_by_score(scores, squares, np.ones(4000), (0, 10))
    best = equivalent_sample_size(deviations, sampling_probabilities(deviations, 400))
    reached = equivalent_sample_size(deviations, sampling_probabilities(errors, 400))
    assert best > 500
    assert (reached - 400) / (best - 400) > (0.65 if shape == "grows" else 0.5)


def test_few_or_no_known_errors_give_almost_equal_expected_errors() -> None:
    rng = np.random.default_rng(7)
    scores, ones = rng.uniform(0, 10, 3000), np.ones(3000)
    few = np.where(np.arange(3000) < 12, rng.normal(size=3000) ** 2, np.nan)
    probabilities = sampling_probabilities(expected_errors_by_score(scores, few, ones, (0, 10)), 90)
    assert probabilities.max() / probabilities.min() < 4
    assert (expected_errors_by_score(scores, np.full(3000, np.nan), ones, (0, 10)) == 1).all()
