"""The alternative annotator test, against its reference implementation and simulated nulls."""

from __future__ import annotations

import numpy as np
import pytest
from benchmarks.alternative_annotator import STUDIES, find_boundary_noise, measure_passing

from postbias.stats.alternative_annotator import (
    AlternativeAnnotatorTest,
    run_alternative_annotator_test,
)
from postbias.stats.bootstrap import Array


def _simulate() -> tuple[Array, Array, Array]:
    """Draw incomplete ratings (70, 3), and labels of a worse and of a better teacher (70,)."""
    rng = np.random.default_rng(11)
    truth = rng.normal(5, 2, 70)
    ratings = np.round(truth[:, None] + rng.normal(0, 1.2, (70, 3)))
    ratings[rng.random(ratings.shape) < 0.15] = np.nan
    worse = np.round(truth + rng.normal(0, 1.2, 70))
    return ratings, worse, np.round(truth + rng.normal(0, 0.7, 70))


def _run(
    ratings: Array, labels: Array, epsilon: float, **options: list[str]
) -> AlternativeAnnotatorTest:
    result = run_alternative_annotator_test(ratings, labels, epsilon=epsilon, **options)
    assert result is not None
    return result


@pytest.mark.parametrize(
    ("teacher", "epsilon", "winning_rate", "advantage", "p_values"),
    [  # github.com/nitaytech/AltTest: alt_test(..., scoring_function="neg_rmse")
        ("worse", 0.1, 0, 0.6795196804271214, (0.0818744536, 0.2054062393, 0.5894858451)),
        ("worse", 0.2, 0, 0.6795196804271214, (0.0106142434, 0.0362611957, 0.2224801409)),
        ("better", 0.1, 0, 0.701139822736919, (0.0668394419, 0.0724733100, 0.1877575044)),
        ("better", 0.2, 2 / 3, 0.701139822736919, (0.0066441505, 0.0086481390, 0.0397063874)),
    ],
)
def test_it_equals_the_reference_implementation(
    teacher: str,
    epsilon: float,
    winning_rate: float,
    advantage: float,
    p_values: tuple[float, ...],
) -> None:
    ratings, worse, better = _simulate()
    result = _run(ratings, worse if teacher == "worse" else better, epsilon)
    assert result.winning_rate == pytest.approx(winning_rate)
    assert result.advantage == pytest.approx(advantage)
    assert [c.p_value for c in result.comparisons] == pytest.approx(p_values)
    assert result.is_passed == (winning_rate >= 0.5)


def test_an_inadequate_teacher_passes_in_at_most_five_percent_of_simulations() -> None:
    study = STUDIES["2 raters, 50 posts"]  # the largest share of all studies: one win is enough
    noise = find_boundary_noise(study, 0.15)
    assert measure_passing(study, noise, 1000) <= 0.05
    assert measure_passing(study, noise / 3, 100) > 0.6


def test_a_teacher_that_repeats_the_consensus_passes_and_a_random_one_fails() -> None:
    ratings, _worse, _better = _simulate()
    assert _run(ratings, np.nanmean(ratings, axis=1), 0.1).is_passed
    random = _run(ratings, np.random.default_rng(0).uniform(0, 10, 70), 0.2)
    assert random.winning_rate == 0
    assert random.advantage < 0.4


def test_a_teacher_that_ties_on_every_post_wins_only_with_a_penalty() -> None:
    ratings = np.tile(np.arange(40.0)[:, None], (1, 3))
    assert _run(ratings, ratings[:, 0], 0.1).winning_rate == 1
    assert _run(ratings, ratings[:, 0], 0.0).winning_rate == 0


def test_posts_of_one_author_are_not_independent_evidence() -> None:
    ratings, _worse, better = _simulate()
    copies = 5
    authors = [str(i) for i in range(70)] * copies
    repeated, labels = np.tile(ratings, (copies, 1)), np.tile(better, copies)
    once, clustered = _run(ratings, better, 0.1), _run(repeated, labels, 0.1, authors=authors)
    naive = _run(repeated, labels, 0.1)
    for one, many, independent in zip(
        once.comparisons, clustered.comparisons, naive.comparisons, strict=True
    ):
        assert many.p_value == pytest.approx(one.p_value, rel=1e-6)
        assert independent.p_value < one.p_value


def test_too_few_shared_posts_give_no_result_and_a_senseless_epsilon_is_refused() -> None:
    ratings, worse, _better = _simulate()
    assert run_alternative_annotator_test(ratings[:29], worse[:29], epsilon=0.1) is None
    assert run_alternative_annotator_test(ratings[:, :1], worse, epsilon=0.1) is None
    unlabelled = np.full(70, np.nan)
    assert run_alternative_annotator_test(ratings, unlabelled, epsilon=0.1) is None
    with pytest.raises(ValueError, match=r"epsilon is 1\.5; .* must be in \[0, 1\)"):
        run_alternative_annotator_test(ratings, worse, epsilon=1.5)
