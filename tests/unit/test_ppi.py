"""Prediction-powered estimates, against the `ppi_py` library and known ground truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from postbias.demo.ground_truth import Cues, draw_cues, simulate_teacher, true_scores
from postbias.stats.bootstrap import Array
from postbias.stats.estimates import (
    MeanEstimate,
    SampleSizes,
    estimate_difference_of_means,
    plug_in_error,
)
from postbias.stats.label_design import (
    HELD_OUT,
    LEARNED,
    UNLABELLED,
    LabelDesign,
    labels_only_design,
)
from postbias.stats.ppi import estimate_mean, tune_estimator

_N, _LABELS, _REPLICATIONS = 4000, 600, 500


def _simulate_posts(rng: np.random.Generator, n: int = 900) -> tuple[LabelDesign, Array, Array]:
    """Simulate posts of one author each, a third of them labelled, all labels held out."""
    scores = rng.normal(5, 2, n)
    labels = scores + rng.normal(0.5, 1, n)
    roles = np.where(rng.random(n) < 1 / 3, HELD_OUT, UNLABELLED).astype(np.int8)
    design = LabelDesign.of_corpus(np.arange(n), roles, np.where(roles, 1.0, 0.0))
    return design, np.where(roles, labels, np.nan), scores


def test_without_learned_labels_and_clusters_it_equals_the_library() -> None:
    from ppi_py import ppi_mean_ci, ppi_mean_pointestimate

    design, labels, scores = _simulate_posts(np.random.default_rng(0))
    is_held_out = design.roles == HELD_OUT
    tuning = tune_estimator(design, labels, scores)
    estimate = estimate_mean(design, labels, scores, tuning)
    arguments = (labels[is_held_out], scores[is_held_out], scores)
    assert estimate.value == pytest.approx(
        ppi_mean_pointestimate(*arguments, lam=tuning.lam).item()
    )
    lo, hi = ppi_mean_ci(*arguments, alpha=0.05, lam=tuning.lam)
    interval = estimate.interval(-np.inf, np.inf)
    assert interval.hi is not None
    assert interval.lo is not None
    # The library treats the labelled posts as a separate sample; here they are part of all posts.
    assert interval.hi - interval.lo == pytest.approx((hi - lo).item(), rel=0.1)


def test_the_tuned_estimate_is_close_to_that_of_the_library() -> None:
    from ppi_py import ppi_mean_pointestimate

    design, labels, scores = _simulate_posts(np.random.default_rng(1), n=6000)
    is_held_out = design.roles == HELD_OUT
    estimate = estimate_mean(design, labels, scores, tune_estimator(design, labels, scores))
    library = ppi_mean_pointestimate(labels[is_held_out], scores[is_held_out], scores[~is_held_out])
    assert estimate.value == pytest.approx(library.item(), abs=0.02)


def test_with_learned_labels_only_it_is_their_weighted_mean() -> None:
    design, labels, scores = _simulate_posts(np.random.default_rng(2))
    design = LabelDesign.of_corpus(
        design.authors, labels_only_design(design).roles, design.weights * (1 + design.authors % 3)
    )
    labelled = design.roles == LEARNED
    estimate = estimate_mean(design, labels, scores, tune_estimator(design, labels, scores))
    expected = np.average(labels[labelled], weights=design.weights[labelled])
    assert estimate.value == pytest.approx(expected)


@pytest.mark.parametrize("role", [LEARNED, HELD_OUT])
def test_where_every_post_is_labelled_it_is_the_mean_of_the_labels(role: int) -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(5, 2, 400)
    labels = scores + rng.normal(0.5, 1, 400)
    roles = np.full(400, role, np.int8)
    design = LabelDesign.of_corpus(np.arange(400), roles, np.ones(400))
    estimate = estimate_mean(design, labels, scores, tune_estimator(design, labels, scores))
    assert estimate.value == pytest.approx(labels.mean(), rel=1e-12)


@dataclass(frozen=True)
class _Study:
    """How posts are labelled, and how good the scores are."""

    n_posts: int = 400
    per_author: int = 1
    labelled: float = 1.0
    held_out: float = 0.3
    noise: float = 1.0  # of the scores, in points
    is_skewed: bool = False


_STUDIES = {
    "all labelled": _Study(),
    "all labelled, few posts": _Study(n_posts=60),
    "all labelled, skewed": _Study(is_skewed=True),
    "all labelled, four posts per author": _Study(per_author=4),
    "nearly all labelled": _Study(labelled=0.95),
    "half labelled": _Study(n_posts=800, per_author=2, labelled=0.5),
    "useless scores": _Study(n_posts=1000, per_author=2, labelled=0.3, noise=20),
    "useless scores, few held out": _Study(1000, 2, 0.3, held_out=0.1, noise=20),
    "useless scores, skewed": _Study(1000, 1, 0.3, noise=20, is_skewed=True),
}


def _draw(study: _Study, seed: int) -> tuple[LabelDesign, Array, Array]:
    """Draw posts whose student has overfitted the learned labels."""
    rng = np.random.default_rng(seed)
    n, n_authors = study.n_posts, study.n_posts // study.per_author
    authors = np.repeat(np.arange(n_authors), study.per_author)
    labels = rng.normal(0, 1, n_authors)[authors] + rng.normal(0, 1.5, n)
    labels = np.exp(labels / 2) if study.is_skewed else labels
    is_held_out = (rng.random(n_authors) < study.held_out)[authors]
    roles = np.where(is_held_out, HELD_OUT, LEARNED)
    roles = np.where(rng.random(n) < study.labelled, roles, UNLABELLED).astype(np.int8)
    scores = 0.8 * labels + study.noise * rng.normal(0, 1, n)
    scores = np.where(roles == LEARNED, 0.3 * scores + 0.7 * labels, scores)
    design = LabelDesign.of_corpus(authors, roles, np.where(roles, 1 / study.labelled, 0.0))
    return design, np.where(roles, labels, np.nan), scores


@pytest.mark.parametrize("study", [name for name in _STUDIES if name.startswith("all")])
def test_where_every_post_is_labelled_in_either_role_it_is_the_mean_of_the_labels(
    study: str,
) -> None:
    for seed in range(5):
        design, labels, scores = _draw(_STUDIES[study], seed)
        estimate = estimate_mean(design, labels, scores, tune_estimator(design, labels, scores))
        assert estimate.value == pytest.approx(labels.mean(), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("study", _STUDIES)
def test_its_squared_error_is_never_noticeably_larger_than_that_of_the_mean_of_the_labels(
    study: str,
) -> None:
    truth = np.exp(3.25 / 8) if _STUDIES[study].is_skewed else 0.0  # exp(x / 2), var(x) = 3.25
    errors = []
    for seed in range(300):
        design, labels, scores = _draw(_STUDIES[study], seed)
        estimate = estimate_mean(design, labels, scores, tune_estimator(design, labels, scores))
        errors.append((estimate.value - truth, np.nanmean(labels) - truth))
    squared = np.square(errors)  # (R, 2)
    excess = squared[:, 0] - squared[:, 1]
    standard_error = excess.std() / np.sqrt(len(excess))
    # 33% to 134% larger, with all posts labelled, if the weight of the held-out labels is fitted
    # before `lam` is clipped.
    assert excess.mean() <= 0.02 * squared[:, 1].mean() + 3 * standard_error


def test_few_labels_or_authors_give_no_estimate() -> None:
    design, labels, scores = _simulate_posts(np.random.default_rng(4))
    tuning = tune_estimator(design, labels, scores)
    few = np.flatnonzero(design.roles == HELD_OUT)[:9]
    rows = np.isin(np.arange(len(scores)), few)
    estimate = estimate_mean(design.subset(rows), labels[rows], scores[rows], tuning)
    assert np.isnan(estimate.value)
    assert estimate.interval(0, 10).value is None
    assert estimate.share_interval().value is None
    one_author = LabelDesign.of_corpus(np.zeros_like(design.authors), design.roles, design.weights)
    assert np.isnan(estimate_mean(one_author, labels, scores, tuning).value)


def test_an_estimated_share_of_zero_has_an_interval_of_positive_width() -> None:
    estimate = MeanEstimate(
        0.0, 1e-4, np.zeros(3), 30.0, 0.0, SampleSizes(100, 40, 10, 30)
    ).share_interval()
    assert estimate.lo == 0
    assert estimate.hi is not None
    assert 0.005 < estimate.hi < 0.2


def _simulate_student(
    cues: Cues, answers: Array, learned: Array, rng: np.random.Generator
) -> Array:
    """Fit main effects of the cues, shrink toward the mean, and overfit the learned posts."""
    columns = [np.eye(5)[cues.claim], np.eye(4)[cues.prop], cues.sticker[:, None], np.ones((_N, 1))]
    x = np.concatenate(columns, axis=1)
    fitted = x @ np.linalg.lstsq(x[learned], answers[learned], rcond=None)[0]
    scores = 0.8 * fitted + 0.2 * answers[learned].mean() + rng.normal(0, 0.3, _N)
    scores[learned] = 0.3 * scores[learned] + 0.7 * answers[learned]
    return np.clip(scores, 0, 10)


@pytest.fixture(scope="module")
def replications() -> dict[str, Array]:
    """Simulate 500 corpora: sample, label, train and estimate."""
    population = draw_cues(400_000, np.random.default_rng(10**6))
    labels_of_all = simulate_teacher(true_scores(population), np.random.default_rng(1))["bias"]
    is_sponsored = population.sponsored
    is_high = labels_of_all >= 6.5
    truths = {
        "mean": labels_of_all.mean(),
        "high": is_high.mean(),
        "sponsored": labels_of_all[is_sponsored].mean(),
        "difference": labels_of_all[is_sponsored].mean() - labels_of_all[~is_sponsored].mean(),
    }
    rows: dict[str, list[tuple[float, ...]]] = {name: [] for name in (*truths, "naive", "error")}
    for seed in range(_REPLICATIONS):
        rng = np.random.default_rng(seed)
        cues = draw_cues(_N, rng)
        answers = simulate_teacher(true_scores(cues), rng)["bias"]
        # Sponsored posts are sampled three times as often, and folds contain whole authors.
        rate = np.where(cues.sponsored, 3.0, 1.0)
        probability = rate / rate.sum() * _LABELS
        is_sampled = rng.random(_N) < probability
        is_held_out = (rng.random(cues.author.max() + 1) < 0.26)[cues.author]
        roles = np.where(is_sampled, np.where(is_held_out, HELD_OUT, LEARNED), UNLABELLED).astype(
            np.int8
        )
        scores = _simulate_student(cues, answers, roles == LEARNED, rng)
        design = LabelDesign.of_corpus(
            cues.author, roles, np.where(is_sampled, 1 / probability, 0.0)
        )
        labels = np.where(is_sampled, answers, np.nan)
        high = np.where(is_sampled, answers >= 6.5, np.nan), (scores >= 6.5).astype(np.float64)
        means = {}
        for name, (y, f), group in (
            ("mean", (labels, scores), np.ones(_N, bool)),
            ("high", high, np.ones(_N, bool)),
            ("sponsored", (labels, scores), cues.sponsored),
            ("organic", (labels, scores), ~cues.sponsored),
        ):
            part, tuning = design.subset(group), tune_estimator(design, y, f)
            means[name] = estimate_mean(part, y[group], f[group], tuning)
            labels_only_tuning = tune_estimator(labels_only_design(design), y, f)
            labels_only = estimate_mean(
                labels_only_design(part), y[group], f[group], labels_only_tuning
            )
            if name in truths:
                is_share = name == "high"
                with_scores, without = (
                    x.share_interval() if is_share else x.interval(0, 10)
                    for x in (means[name], labels_only)
                )
                rows[name].append(
                    (
                        with_scores.value,
                        with_scores.lo,
                        with_scores.hi,
                        without.hi - without.lo,
                        means[name].plug_in,
                    )
                )
        difference = estimate_difference_of_means(means["sponsored"], means["organic"])
        rows["difference"].append((difference.value, difference.lo, difference.hi, np.inf, np.nan))
        error = plug_in_error(design.strata, high[1], means["high"])
        true_error = high[1].mean() - np.mean(answers >= 6.5)  # of these posts
        rows["error"].append(
            (error.value - true_error, error.lo - true_error, error.hi - true_error, np.inf, np.nan)
        )
        naive_design = LabelDesign.of_corpus(
            design.authors, np.where(is_sampled, HELD_OUT, 0).astype(np.int8), design.weights
        )
        naive = estimate_mean(
            naive_design, *high, tune_estimator(naive_design, *high)
        ).share_interval()
        rows["naive"].append((naive.value, naive.lo, naive.hi, np.inf, np.nan))
    truths |= {"naive": truths["high"], "error": 0.0}
    return {
        name: np.column_stack([np.array(values, float), np.full(len(values), truths[name])])
        for name, values in rows.items()
    }


@pytest.mark.parametrize("what", ["mean", "high", "sponsored", "difference"])
def test_coverage_of_the_true_value_is_nominal(replications: dict[str, Array], what: str) -> None:
    _, lo, hi, _, _, truth = replications[what].T
    assert 0.93 <= np.mean((lo <= truth) & (truth <= hi)) <= 0.97


@pytest.mark.parametrize("what", ["mean", "high", "sponsored"])
def test_intervals_are_narrower_than_from_the_labels_alone(
    replications: dict[str, Array], what: str
) -> None:
    _, lo, hi, labels_only_width, _, _ = replications[what].T
    assert np.mean(hi - lo) < 0.97 * np.mean(labels_only_width)


def test_the_estimate_is_unbiased_although_the_student_is_biased(
    replications: dict[str, Array],
) -> None:
    value, _, _, _, plug_in, truth = replications["high"].T
    assert abs(np.mean(value - truth)) < 0.003
    assert np.mean(plug_in - truth) < -0.02


def test_treating_learned_labels_as_held_out_ones_would_undercover(
    replications: dict[str, Array],
) -> None:
    _, lo, hi, _, _, truth = replications["naive"].T
    assert np.mean((lo <= truth) & (truth <= hi)) < 0.9


def test_the_plug_in_error_is_estimated_more_precisely_than_the_share_itself(
    replications: dict[str, Array],
) -> None:
    _, lo, hi, _, _, truth = replications["error"].T
    _, share_lo, share_hi, _, _, _ = replications["high"].T
    # The standard error of coverage over 500 replications is 1 point.
    assert np.mean((lo <= truth) & (truth <= hi)) >= 0.92
    assert np.mean(hi - lo) < np.mean(share_hi - share_lo)


def test_without_an_estimate_the_plug_in_error_is_undefined() -> None:
    design, labels, scores = _simulate_posts(np.random.default_rng(5))
    mean = estimate_mean(design, labels, scores, tune_estimator(design, labels, scores))
    undefined = MeanEstimate(np.nan, np.nan, mean.influence, 1.0, mean.plug_in, mean.sizes)
    assert plug_in_error(design.strata, scores, undefined).value is None
