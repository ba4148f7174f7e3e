"""Plans for ratings and labels, against simulated estimates and exhaustive search."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from benchmarks.people_estimates import Study, draw_corpus

from postbias.stats.people_estimates import estimate_people_difference, estimate_people_mean
from postbias.stats.rating_plan import (
    Costs,
    Goal,
    Quantity,
    find_cheapest_mix,
    trace_cost_curve,
)
from postbias.stats.variance_components import (
    GroupComponents,
    estimate_components,
    within_post_variance,
)

_ALL = GroupComponents(1.0, 2.0, 1.4, 1.5, 0.5)
_FEW = GroupComponents(0.2, 2.0, 1.4, 1.5, 0.5)
_MEAN, _GROUP = Quantity("mean", (_ALL,)), Quantity("group", (_FEW,))


def test_the_variance_has_the_limits_of_ratings_alone_and_of_perfect_scores() -> None:
    total = _ALL.unexplained + _ALL.noise + _ALL.by_labels + _ALL.by_scores
    ratings_only = GroupComponents(1.0, 4.0, 1.4, 0.0, 0.0)
    n, labels = np.array([100.0]), np.array([100.0])
    assert ratings_only.variance(n, labels, 10**9, 1)[0] == pytest.approx(total / 100)
    perfect = GroupComponents(1.0, 0.0, 0.0, 0.0, 5.0)
    assert perfect.variance(n, labels, 1000, 1)[0] == pytest.approx(5 / 1000)
    learned = GroupComponents(1.0, 0.0, 0.0, 0.0, 5.0, held_out=0.0)
    assert learned.variance(n, labels, 1000, 1)[0] == pytest.approx(5 / 100)


def test_the_cheapest_mix_is_that_of_an_exhaustive_search() -> None:
    costs = Costs(rating=0.3, label=0.01, n_posts=700)
    goals = [Goal(_MEAN, 0.3), Goal(_GROUP, 0.75)]
    cheapest = np.inf
    for raters, n in product((1, 2), range(20, 400)):
        m = np.arange(float(n), costs.n_posts + 1)
        rated = np.full_like(m, n)
        widths = [g.quantity.half_width(rated, m, costs.n_posts, raters) for g in goals]
        reached = (widths[0] <= 0.3) & (widths[1] <= 0.75)
        cost = costs.total(rated, m, raters)
        cheapest = min(cheapest, np.min(cost[reached], initial=np.inf))
    found = find_cheapest_mix(goals, costs, (1, 2))
    assert found is not None
    assert found.cost == pytest.approx(cheapest, rel=0.01)
    assert found.half_widths["mean"] <= 0.3
    assert found.half_widths["group"] <= 0.75


def test_more_is_needed_for_narrower_intervals_subgroups_and_expensive_labels() -> None:
    costs = Costs(rating=0.3, label=0.01, n_posts=50_000)

    def plan(quantity: Quantity, half_width: float, costs: Costs = costs) -> tuple[int, int]:
        mix = find_cheapest_mix([Goal(quantity, half_width)], costs, (1,))
        assert mix is not None
        return mix.rated, mix.labels

    assert plan(_MEAN, 0.2)[0] > plan(_MEAN, 0.3)[0]
    assert plan(_GROUP, 0.3)[0] == pytest.approx(5 * plan(_MEAN, 0.3)[0], rel=0.1)
    expensive = Costs(rating=0.3, label=0.3, n_posts=50_000)
    assert plan(_MEAN, 0.2, expensive)[1] < plan(_MEAN, 0.2)[1]
    paid = Costs(rating=0.3, label=0.01, n_posts=50_000, existing_labels=10_000)
    assert plan(_MEAN, 0.2, paid)[1] >= 10_000
    assert plan(_MEAN, 0.2, paid)[0] < plan(_MEAN, 0.2)[0]
    assert find_cheapest_mix([Goal(_MEAN, 0.001)], costs, (1,)) is None


def test_the_curve_of_width_against_cost_descends_and_ends_at_the_cheapest_mix() -> None:
    costs = Costs(rating=0.3, label=0.01, n_posts=20_000)
    curve = trace_cost_curve(_MEAN, costs, 1)
    cost, width = np.array([(m.cost, m.half_widths["mean"]) for m in curve]).T
    assert (np.diff(cost) > 0).all()
    assert (np.diff(width) < 0).all()
    for mix in curve[::6]:
        best = find_cheapest_mix([Goal(_MEAN, mix.half_widths["mean"])], costs, (1,))
        assert best is not None
        assert best.cost == pytest.approx(mix.cost, rel=0.03)
    assert trace_cost_curve(_GROUP, Costs(0.3, 0.01, 50), 1) == []


@pytest.mark.parametrize(
    ("n", "m", "teacher_noise"), [(100, 1500, 1.0), (300, 400, 1.0), (200, 1500, 2.8)]
)
def test_the_predicted_half_widths_are_those_of_simulated_estimates(
    n: int, m: int, teacher_noise: float
) -> None:
    shape = {"is_stratified": False, "teacher_noise": teacher_noise, "raters_per_post": 2}
    pilot_study = Study(n_ratings=3000, n_labels=1500, **shape)
    posts, pilot, ratings = draw_corpus(pilot_study, np.random.default_rng(0))
    noise = within_post_variance(ratings[pilot.is_rated])
    sponsored = posts.sponsored > 0
    everyone, first, second = (
        estimate_components(pilot, group, noise=noise, raters=2)
        for group in (np.ones_like(sponsored), sponsored, ~sponsored)
    )
    assert everyone is not None
    assert first is not None
    assert second is not None
    quantities = {
        "mean": Quantity("mean", (everyone,)),
        "difference": Quantity("difference", (first, second)),
    }
    widths: dict[str, list[float]] = {name: [] for name in quantities}
    for seed in range(40):
        study = Study(n_ratings=n, n_labels=m, **shape)
        posts, corpus, _ratings = draw_corpus(study, np.random.default_rng(seed))
        sponsored = posts.sponsored > 0
        for name, estimate in (
            ("mean", estimate_people_mean(corpus)),
            ("difference", estimate_people_difference(corpus, sponsored, ~sponsored)),
        ):
            interval = estimate.people.interval(-np.inf, np.inf)
            assert interval.lo is not None
            assert interval.hi is not None
            widths[name].append((interval.hi - interval.lo) / 2)
    for name, quantity in quantities.items():
        predicted = quantity.half_width(np.array([n]), np.array([n + m]), 6000, 2)[0]
        assert predicted == pytest.approx(np.mean(widths[name]), rel=0.1)


def test_components_of_a_pilot_are_found_and_few_ratings_give_none() -> None:
    study = Study(n_ratings=4000, n_labels=2000, is_stratified=False, raters_per_post=2)
    posts, pilot, ratings = draw_corpus(study, np.random.default_rng(1))
    noise = within_post_variance(ratings[pilot.is_rated])
    truth = posts.ratings - posts.ratings.mean(axis=1, keepdims=True)
    assert noise == pytest.approx(truth.var(axis=1, ddof=1).mean(), rel=0.1)
    everyone = np.ones(len(pilot.scores), bool)
    components = estimate_components(pilot, everyone, noise=noise, raters=2)
    assert components is not None
    total = components.unexplained + noise / 2 + components.by_labels + components.by_scores
    assert total == pytest.approx(np.nanvar(pilot.ratings), rel=0.05)
    assert components.by_labels > 0
    assert components.by_scores > 0
    few = np.isin(np.arange(len(everyone)), np.flatnonzero(pilot.is_rated)[:14])
    assert estimate_components(pilot, few, noise=noise, raters=2) is None
    assert within_post_variance(np.array([[1.0, np.nan], [np.nan, 2.0]])) == 0
