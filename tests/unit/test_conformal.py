"""Conformal intervals: coverage by simulation, quantiles by hand."""

from __future__ import annotations

import logging

import numpy as np
import pytest

from postbias.stats.bootstrap import resample_authors
from postbias.stats.conformal import (
    MIN_GROUP_POSTS,
    MODALITY_GROUPS,
    fit_intervals,
    min_calibration_posts,
    resample_intervals,
)


@pytest.mark.parametrize("n", [19, 60, 300])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_coverage_of_new_residuals_is_nominal(n: int, coverage: float) -> None:
    rng = np.random.default_rng(n)
    covered = []
    for _ in range(300):
        residuals = rng.gumbel(0, 1, n)  # skewed
        offsets = fit_intervals(residuals, ["text"] * n, coverage, span=1e9)["text"]
        new = rng.gumbel(0, 1, 200)
        covered.append(np.mean((offsets["lo"] <= new) & (new <= offsets["hi"])))
    # Split conformal coverage: at least nominal, at most 2 / (n + 1) above (two quantiles).
    assert coverage - 0.01 <= np.mean(covered) <= coverage + 2 / (n + 1) + 0.01


def test_offsets_are_the_finite_sample_quantiles_on_both_sides() -> None:
    residuals = np.random.default_rng(0).permutation(np.arange(1.0, 100.0))  # 1..99
    offsets = fit_intervals(residuals, ["text"] * 99, 0.9, span=1000)["text"]
    assert offsets == {"lo": 5.0, "hi": 95.0, "n": 99}


def test_a_large_group_has_its_own_offsets_and_a_small_one_those_of_all_posts() -> None:
    rng = np.random.default_rng(0)
    precise, imprecise = rng.normal(0, 0.5, 400), rng.normal(0, 3, 100)
    few = rng.normal(0, 3, MIN_GROUP_POSTS - 1)
    fitted = fit_intervals(
        np.concatenate([precise, imprecise, few]),
        ["image+text"] * 400 + ["text"] * 100 + ["image"] * (MIN_GROUP_POSTS - 1),
        0.9,
        span=10,
    )
    assert tuple(fitted) == MODALITY_GROUPS
    assert fitted["image+text"]["hi"] < 1.2 < 3 < fitted["text"]["hi"]
    assert fitted["image"]["n"] == 400 + 100 + MIN_GROUP_POSTS - 1
    assert fitted["image+text"]["hi"] < fitted["image"]["hi"] < fitted["text"]["hi"]


def test_too_few_residuals_give_the_whole_axis_and_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        fitted = fit_intervals(np.zeros(18), ["text"] * 18, 0.9, span=10)
    assert fitted["image"] == {"lo": -10, "hi": 10, "n": 18}
    assert "fitted on only 18 calib posts" in caplog.text


def test_an_empty_calib_fold_gives_the_whole_axis() -> None:
    assert fit_intervals(np.empty(0), [], 0.9, span=10)["text"] == {"lo": -10, "hi": 10, "n": 0}


@pytest.mark.parametrize(("coverage", "minimum"), [(0.9, 19), (0.8, 9), (0.95, 39), (0.99, 199)])
def test_the_minimum_number_of_posts_makes_both_quantiles_finite(
    coverage: float, minimum: int
) -> None:
    assert min_calibration_posts(coverage) == minimum
    residuals = np.arange(float(minimum))
    offsets = fit_intervals(residuals, ["text"] * minimum, coverage, span=1e6)["text"]
    assert (offsets["lo"], offsets["hi"]) == (0, minimum - 1)


def test_no_offset_is_wider_than_the_axis() -> None:
    offsets = fit_intervals(np.linspace(-99, 99, 500), ["text"] * 500, 0.9, span=10)["text"]
    assert (offsets["lo"], offsets["hi"]) == (-10, 10)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_resampled_offsets_are_those_fitted_on_the_resampled_posts(coverage: float) -> None:
    rng = np.random.default_rng(0)
    groups = ["image+text"] * 300 + ["text"] * 200 + ["image"] * 9
    residuals = np.round(rng.gumbel(0, 1, len(groups)), 1)  # with ties
    resamples = resample_authors([f"a{i % 150}" for i in range(len(groups))], 30, rng)
    resampled = resample_intervals(residuals, groups, coverage, span=10, resamples=resamples)
    assert tuple(resampled) == MODALITY_GROUPS
    for row, counts in enumerate(resamples.counts):
        drawn = np.repeat(np.arange(len(groups)), counts[resamples.authors])
        expected = fit_intervals(residuals[drawn], [groups[i] for i in drawn], coverage, span=10)
        for group, offsets in resampled.items():
            assert offsets[row].tolist() == [expected[group]["lo"], expected[group]["hi"]]


def test_resampled_offsets_are_as_wide_as_the_axis_if_too_few_posts_were_drawn() -> None:
    authors = ["many"] * 30 + ["few"] * 3
    resamples = resample_authors(authors, 50, np.random.default_rng(0))
    residuals = np.linspace(-1, 1, 33)
    resampled = resample_intervals(residuals, ["text"] * 33, 0.9, span=10, resamples=resamples)[
        "text"
    ]
    n_drawn = resamples.counts @ np.array([3, 30])  # names in order: few, many
    assert ((resampled == [-10, 10]).all(axis=1) == (n_drawn < min_calibration_posts(0.9))).all()
    assert (n_drawn < min_calibration_posts(0.9)).any()


def test_a_post_with_several_residuals_counts_once_towards_the_minimum() -> None:
    posts = [f"p{i // 3}" for i in range(21)]
    groups = ["image+text", "text", "image"] * 7
    fitted = fit_intervals(np.zeros(21), groups, 0.9, span=10, posts=posts)
    assert fitted["text"] == {"lo": -10, "hi": 10, "n": 7}
    assert fit_intervals(np.zeros(21), groups, 0.9, span=10)["text"]["lo"] == 0


def test_pooled_offsets_of_posts_with_equal_residuals_are_those_of_single_posts() -> None:
    residuals = np.random.default_rng(0).normal(0, 1, 40)
    once = fit_intervals(residuals, ["text"] * 40, 0.9, span=10)["text"]
    groups = ["image+text", "text", "image"] * 40
    thrice = fit_intervals(
        np.repeat(residuals, 3), groups, 0.9, span=10, posts=[f"p{i // 3}" for i in range(120)]
    )
    assert all(offsets == once for offsets in thrice.values())


@pytest.mark.parametrize("n", [19, 30, 49])
@pytest.mark.parametrize("shared", [0.0, 0.7, 1.0])
def test_coverage_of_pooled_groups_is_at_least_nominal_however_alike_residuals_of_a_post_are(
    n: int, shared: float
) -> None:
    """Two thirds of the posts have all three groups, the others a caption only."""
    rng = np.random.default_rng(n)
    groups = [*["image+text", "text", "image"] * (2 * n // 3), *["text"] * (n - 2 * n // 3)]
    post_of = np.r_[np.repeat(np.arange(2 * n // 3), 3), np.arange(2 * n // 3, n)]
    posts = [f"p{post}" for post in post_of]
    weights = 1 / np.bincount(post_of)[post_of]

    def draw() -> np.ndarray:
        own = rng.normal(0, np.sqrt(1 - shared), len(post_of))
        return rng.normal(0, np.sqrt(shared), n)[post_of] + own

    covered = []
    for _ in range(1000):
        offsets = fit_intervals(draw(), groups, 0.9, span=100, posts=posts)["text"]
        new = draw()
        is_covered = (offsets["lo"] <= new) & (new <= offsets["hi"])
        covered.append(weights @ is_covered / n)
    error = np.std(covered) / np.sqrt(len(covered))
    assert np.mean(covered) >= 0.9 - 3 * error
    if shared == 1:
        assert np.mean(covered) <= 0.9 + 2 / (n + 1) + 3 * error


def test_resampled_pooled_offsets_are_those_fitted_on_the_resampled_posts() -> None:
    rng = np.random.default_rng(1)
    groups = ["image+text", "text", "image"] * 30
    posts = np.array([f"p{i // 3}" for i in range(90)])
    residuals = np.round(rng.gumbel(0, 1, 90), 1)  # with ties
    resamples = resample_authors([f"a{i // 9}" for i in range(90)], 30, rng)
    resampled = resample_intervals(
        residuals, groups, 0.9, span=10, resamples=resamples, posts=list(posts)
    )["text"]
    for offsets, counts in zip(resampled, resamples.counts, strict=True):
        repeats = counts[resamples.authors]
        drawn = np.repeat(np.arange(90), repeats)
        copies = np.concatenate([np.arange(n) for n in repeats])
        expected = fit_intervals(
            residuals[drawn],
            [groups[i] for i in drawn],
            0.9,
            span=10,
            posts=[f"{posts[i]}-{copy}" for i, copy in zip(drawn, copies, strict=True)],
        )["text"]
        assert offsets.tolist() == [expected["lo"], expected["hi"]]
