"""Agreement of raters, against published values, other libraries and known variance components."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from postbias.axes import Axis
from postbias.stats.agreement import intraclass_correlation, krippendorff_alpha, weighted_kappa
from postbias.stats.bootstrap import Array, Resamples, resample_authors, summarize_replicates
from postbias.stats.metrics import band_indices
from postbias.stats.rater_statistics import (
    compare_raters,
    compare_repeated_ratings,
    pearson_correlation,
)

AXIS = Axis("bias", 0, 10)
_ = np.nan
#: Shrout and Fleiss (Psychological Bulletin 1979), table 2: 6 targets, 4 judges.
SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], float
)
#: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), section C: 4 raters, 12 units.
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3],
        [_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _],
    ]
).T


def _posts(n: int, replications: int = 0) -> Resamples:
    rng = np.random.default_rng(0)
    return resample_authors([str(i) for i in range(n)], replications, rng)


def _simulate_ratings(
    rng: np.random.Generator, *, n: int, n_raters: int, spread: float = 2.0, missing: float = 0.0
) -> Array:
    """Draw ratings with post variance `spread`², rater variance 0.25 and error variance 1."""
    raters = rng.normal(0, 0.5, n_raters)
    ratings = rng.normal(4, spread, n)[:, None] + raters + rng.normal(0, 1, (n, n_raters))
    return np.where(rng.random(ratings.shape) < missing, np.nan, ratings)


def test_alpha_equals_that_of_the_library() -> None:
    # krippendorff 0.9.0: krippendorff.alpha(ratings.T, level_of_measurement="interval")
    assert krippendorff_alpha(KRIPPENDORFF, _posts(12))[0] == pytest.approx(0.8491071428571428)
    assert krippendorff_alpha(SHROUT_FLEISS, _posts(6))[0] == pytest.approx(0.14730785039046446)


def test_intraclass_correlations_equal_the_published_ones() -> None:
    icc = intraclass_correlation(SHROUT_FLEISS, _posts(6))
    # pingouin 0.7.0: ICC(A,1) 0.289764, ICC(A,k) 0.620051; the paper has .29 and .62.
    assert icc.single[0] == pytest.approx(0.289764, abs=1e-6)
    assert icc.mean[0] == pytest.approx(0.620051, abs=1e-6)
    assert icc.k[0] == 4


def test_variance_components_of_incomplete_designs_solve_the_general_moment_equations() -> None:
    rng = np.random.default_rng(1)
    ratings = _simulate_ratings(rng, n=40, n_raters=4, missing=0.4)
    ratings = ratings[np.isfinite(ratings).any(axis=1)]
    post, rater = np.nonzero(np.isfinite(ratings))
    y = ratings[post, rater]
    z_post, z_rater = np.eye(len(ratings))[post], np.eye(4)[rater]
    mean = np.full((len(y), len(y)), 1 / len(y))
    projections = [
        z @ np.linalg.pinv(z) - mean for z in (z_post, z_rater, np.eye(len(y)))
    ]  # E[y' Q y] = sum of component x trace(Q Z Z')
    covariances = [z @ z.T for z in (z_post, z_rater, np.eye(len(y)))]
    system = np.array([[np.trace(q @ v) for v in covariances] for q in projections])
    a, b, e = np.linalg.solve(system, [y @ q @ y for q in projections])
    icc = intraclass_correlation(ratings, _posts(len(ratings)))
    assert icc.single[0] == pytest.approx(a / (a + b + e))
    k = 1 / np.mean(1 / np.isfinite(ratings).sum(axis=1))
    assert icc.k[0] == pytest.approx(k)
    assert icc.mean[0] == pytest.approx(a / (a + (b + e) / k))


def test_missing_ratings_do_not_bias_the_correlation() -> None:
    rng = np.random.default_rng(2)
    found = [
        intraclass_correlation(
            _simulate_ratings(rng, n=400, n_raters=30, missing=0.8), _posts(400)
        ).single[0]
        for _ in range(20)
    ]
    assert np.mean(found) == pytest.approx(4 / 5.25, abs=4 * np.std(found) / np.sqrt(20))


def test_kappa_equals_that_of_scikit_learn_and_is_averaged_over_pairs() -> None:
    ratings = _simulate_ratings(np.random.default_rng(3), n=80, n_raters=3)
    ratings[:30, 2] = np.nan
    expected, shared = [], []
    for first, second in ((0, 1), (0, 2), (1, 2)):
        rows = np.isfinite(ratings[:, [first, second]]).all(axis=1)
        bands = (band_indices(ratings[rows, column], AXIS) for column in (first, second))
        expected.append(cohen_kappa_score(*bands, weights="quadratic"))
        shared.append(rows.sum())
    kappa = weighted_kappa(ratings, AXIS, _posts(80))[0]
    assert kappa == pytest.approx(np.average(expected, weights=shared))


def test_a_replicate_is_the_coefficient_of_the_resampled_posts_written_out() -> None:
    ratings = _simulate_ratings(np.random.default_rng(4), n=30, n_raters=3, missing=0.3)
    resamples = resample_authors([f"a{i // 2}" for i in range(30)], 3, np.random.default_rng(5))
    copies = resamples.counts[2, resamples.authors]
    written_out = np.repeat(ratings, copies, axis=0)
    alone = _posts(len(written_out))
    for coefficient in (
        krippendorff_alpha,
        lambda x, r: intraclass_correlation(x, r).mean,
        lambda x, r: weighted_kappa(x, AXIS, r),
        lambda x, r: compare_raters(x, r)[1].consistency,
    ):
        replicate = coefficient(ratings, resamples)[2]
        assert replicate == pytest.approx(coefficient(written_out, alone)[0])


@pytest.mark.parametrize(
    "ratings",
    [np.full((5, 2), 3.0), np.array([[1.0, _], [_, 2.0], [3.0, _]]), np.full((4, 2), _)],
    ids=["constant", "no shared post", "nothing rated"],
)
def test_without_information_on_agreement_coefficients_are_undefined(ratings: Array) -> None:
    resamples = _posts(len(ratings), replications=20)
    icc = intraclass_correlation(ratings, resamples)
    for replicates in (
        krippendorff_alpha(ratings, resamples),
        icc.single,
        icc.mean,
        weighted_kappa(ratings, AXIS, resamples),
    ):
        assert np.isnan(replicates).all()


def test_intervals_over_posts_contain_the_reliability_of_these_raters() -> None:
    # With the rater effects fixed: post 4, variance of the three effects 0.25, error 1.
    rng = np.random.default_rng(6)
    effects = np.array([-0.5, 0.0, 0.5])
    covered, n_replications = {"icc": 0, "alpha": 0}, 300
    truth = 4 / 5.25
    for _replication in range(n_replications):
        ratings = rng.normal(4, 2, 100)[:, None] + effects + rng.normal(0, 1, (100, 3))
        resamples = resample_authors([str(i) for i in range(100)], 300, rng)
        for name, replicates in (
            ("icc", intraclass_correlation(ratings, resamples).single),
            ("alpha", krippendorff_alpha(ratings, resamples)),
        ):
            estimate = summarize_replicates(replicates)
            assert estimate.lo is not None
            assert estimate.hi is not None
            covered[name] += estimate.lo <= truth <= estimate.hi
    # The standard error of coverage is 1.3 points; percentile intervals are slightly too narrow.
    assert min(covered.values()) / n_replications > 0.90


def test_bias_and_consistency_of_each_rater_are_found() -> None:
    rng = np.random.default_rng(7)
    truth = rng.normal(5, 2, 2000)
    ratings = truth[:, None] + rng.normal(0, 1, (2000, 3)) + [0.6, 0.0, 0.0]
    ratings[:, 2] = rng.normal(5, 2, 2000)  # rates at random
    ratings[1000:, 1] = np.nan
    compared = compare_raters(ratings[:, :2], _posts(2000, 50))
    assert compared[0].n == 1000
    assert compared[0].bias[0] == pytest.approx(0.6, abs=0.15)
    assert compared[1].bias[0] == pytest.approx(-0.6, abs=0.15)
    assert compared[0].consistency[0] == pytest.approx(4 / 5, abs=0.05)
    assert compared[0].distance[0] > 0.6
    assert compare_raters(ratings, _posts(2000))[2].consistency[0] == pytest.approx(0, abs=0.08)


def test_the_error_of_one_rating_is_found_from_repeated_posts() -> None:
    rng = np.random.default_rng(8)
    truth = rng.normal(5, 2, 4000)
    first, second = (truth + rng.normal(shift, 0.8, 4000) for shift in (0, 0.3))
    retest = compare_repeated_ratings(first, second, _posts(4000))
    assert retest.shift[0] == pytest.approx(0.3, abs=0.05)
    assert retest.error_sd[0] == pytest.approx(np.sqrt(0.8**2 + 0.3**2 / 2), rel=0.05)
    assert retest.reliability[0] == pytest.approx(4 / (4 + 0.8**2 + 0.3**2 / 2), abs=0.02)
    assert retest.distance[0] == pytest.approx(np.mean(np.abs(second - first)))


def test_pearson_correlation_ignores_missing_pairs_and_constants() -> None:
    rng = np.random.default_rng(9)
    x = rng.normal(size=50)
    y = np.where(np.arange(50) < 10, np.nan, x + rng.normal(size=50))
    correlation = pearson_correlation(x, y, _posts(50))[0]
    assert correlation == pytest.approx(np.corrcoef(x[10:], y[10:])[0, 1])
    assert np.isnan(pearson_correlation(np.ones(50), y, _posts(50))[0])
