"""Estimates for corpora in which a few authors write many of the posts, by simulation.

Each replication draws new ordinary authors and new posts, samples some posts for labelling, assigns
folds with the code of the split stage, fits a student that recognises large authors it has learned
from, and estimates. The truth is the expected label given how much each large author posts.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pytest

from postbias.params import FoldShares
from postbias.posts.fold_assignment import assign_folds, find_oversized_groups
from postbias.stats.bootstrap import Array, Estimate
from postbias.stats.estimates import MeanEstimate, estimate_difference_of_means
from postbias.stats.label_design import HELD_OUT, LEARNED, UNLABELLED, LabelDesign
from postbias.stats.ppi import estimate_mean, tune_estimator

logger = logging.getLogger(__name__)

SHARES = FoldShares(train=0.64, valid=0.08, calib=0.14, test=0.14)
_SPONSORED = 0.12
_HIGH = 6.5


@dataclass(frozen=True)
class Scenario:
    """Large authors with their share of posts and difference to the others, and the labelling."""

    shares: tuple[float, ...] = ()
    effects: tuple[float, ...] = ()
    n_posts: int = 4000
    n_labels: int | None = 600  # None labels every post
    base: float = 4.0
    linked_share: float = 0.0  # share of small authors who are linked by near-duplicates
    linked_effect: float = 0.0


SCENARIOS = {
    "no large author": Scenario(),
    "one author of 20%": Scenario((0.2,), (2.0,)),
    "one author of 40%": Scenario((0.4,), (-2.0,)),
    "one author of 60%": Scenario((0.6,), (2.0,)),
    "two authors of 16%": Scenario((0.16, 0.16), (2.0, -1.0)),
    "one author of 12%, smaller than a fold": Scenario((0.12,), (2.0,)),
    "three authors of 8%": Scenario((0.08,) * 3, (2.0, 2.0, -1.0)),
    "one author of 20%, all posts labelled": Scenario((0.2,), (2.0,), 1500, None),
    "20% of the authors linked by near-duplicates": Scenario(linked_share=0.2, linked_effect=1.5),
}
RARE = Scenario((0.2,), (1.0,), base=1.0)  # hardly a label in the high band


def _draw_posts(s: Scenario, rng: np.random.Generator) -> tuple[Array, Array, Array, Array, Array]:
    """Draw author, group, expected label, label, and whether the post is sponsored, (N,) each."""
    large = [round(share * s.n_posts) for share in s.shares]
    rest = s.n_posts - sum(large)
    n_small = rest // 8
    weight = np.minimum(rng.lognormal(0, 0.9, n_small), 5.0)
    extra = rng.choice(n_small, rest - n_small, p=weight / weight.sum())
    sizes = [np.full(size, n_small + i) for i, size in enumerate(large)]
    authors = np.concatenate([np.arange(n_small), extra, *sizes])
    effects = np.concatenate([rng.normal(0, 0.8, n_small), s.effects])
    groups = np.arange(len(effects))
    n_linked = int(s.linked_share * n_small)
    groups[:n_linked] = 0
    effects[:n_linked] += s.linked_effect
    sponsored = rng.random(s.n_posts) < _SPONSORED
    content = s.base + effects[authors] + rng.normal(0, 1.2, s.n_posts) + 0.5 * sponsored
    labels = np.clip(np.round(2 * (content + rng.normal(0, 0.9, s.n_posts))) / 2, 0, 10)
    groups = np.unique(groups, return_inverse=True)[1]
    return authors, groups[authors], content, labels, sponsored


def _kinds(s: Scenario, authors: Array, groups: Array) -> Array:
    """Number the kinds of authors: small, linked, and each large one."""
    first_large = authors.max() - len(s.shares) + 1
    small = np.where((groups == 0) & (s.linked_share > 0), 1, 0)
    return np.where(authors >= first_large, authors - first_large + 2, small)


def _subsets(labels: Array, sponsored: Array) -> list[tuple[Array, Array]]:
    everything = np.ones(len(labels), dtype=bool)
    is_high = (labels >= _HIGH).astype(np.float64)
    return [(labels, everything), (is_high, everything), (labels, sponsored), (labels, ~sponsored)]


def _expectations(s: Scenario, draws: int = 300) -> Array:
    """Return the expected value of each quantity for each kind of author, (K, 4)."""
    rng = np.random.default_rng(10**6)
    sums, counts = np.zeros((2 + len(s.shares), 4)), np.zeros((2 + len(s.shares), 4))
    for _ in range(draws):
        authors, groups, _, labels, sponsored = _draw_posts(s, rng)
        kinds = _kinds(s, authors, groups)
        for j, (values, rows) in enumerate(_subsets(labels, sponsored)):
            sums[:, j] += np.bincount(kinds[rows], values[rows], minlength=len(sums))
            counts[:, j] += np.bincount(kinds[rows], minlength=len(sums))
    return sums / np.maximum(counts, 1)


def _simulate_student(
    authors: Array, content: Array, labels: Array, learned: Array, rng: np.random.Generator
) -> Array:
    """Fit a ridge that knows large authors if it has learned from them, and overfit its posts."""
    large = np.flatnonzero(np.bincount(authors) > 0.02 * len(authors))
    seen = content + rng.normal(0, 1, len(authors))
    x = np.column_stack([np.ones(len(authors)), seen, *(authors == a for a in large)])
    penalty = np.diag([0.0] + [5.0] * (x.shape[1] - 1))
    gram, moment = x[learned].T @ x[learned] + penalty, x[learned].T @ labels[learned]
    scores = x @ np.linalg.solve(gram, moment) + rng.normal(0, 0.4, authors.max() + 1)[authors]
    scores = 0.8 * (scores + rng.normal(0, 0.2, len(authors))) + 0.2 * labels[learned].mean()
    scores[learned] = 0.3 * scores[learned] + 0.7 * labels[learned]
    return np.clip(scores, 0, 10)


def _replicate(s: Scenario, expected: Array, seed: int) -> Array:
    """Return value, lower and upper end, and truth of each quantity, (4, 4)."""
    rng = np.random.default_rng(seed)
    authors, groups, content, labels, sponsored = _draw_posts(s, rng)
    rate = np.where(sponsored, 3.0, 1.0)
    probability = np.ones(s.n_posts) if s.n_labels is None else rate / rate.sum() * s.n_labels
    sampled = rng.random(s.n_posts) < probability
    _, numbered = np.unique(groups[sampled], return_inverse=True)
    names = [str(group) for group in np.unique(groups[sampled])]
    folds = assign_folds(numbered, names, SHARES, seed)
    oversized = np.unique(groups[sampled])[find_oversized_groups(numbered, SHARES.model_dump())]
    roles = np.full(s.n_posts, UNLABELLED, np.int8)
    roles[sampled] = np.where(np.isin(folds, ["calib", "test"]), HELD_OUT, LEARNED)
    scores = _simulate_student(authors, content, labels, roles == LEARNED, rng)
    weights = np.where(sampled, 1 / probability, 0.0)
    design = LabelDesign.of_corpus(authors, roles, weights, np.isin(groups, oversized))
    kinds = _kinds(s, authors, groups)
    means: list[MeanEstimate] = []
    truths: list[float] = []
    for j, (values, rows) in enumerate(_subsets(labels, sponsored)):
        known = np.where(sampled, values, np.nan)
        predicted = scores if j != 1 else (scores >= _HIGH).astype(np.float64)
        tuning = tune_estimator(design, known, predicted)
        means.append(estimate_mean(design.subset(rows), known[rows], predicted[rows], tuning))
        truths.append(float(np.bincount(kinds[rows], minlength=len(expected)) / rows.sum()
                            @ expected[:, j]))  # fmt: skip
    estimates = (
        means[0].interval(0, 10),
        means[1].share_interval(),
        means[2].interval(0, 10),
        estimate_difference_of_means(means[2], means[3]),
    )
    truths[3] = truths[2] - truths[3]
    return np.array([_row(e, truth) for e, truth in zip(estimates, truths, strict=True)])


def _row(estimate: Estimate, truth: float) -> tuple[float, ...]:
    assert estimate.value is not None
    assert estimate.lo is not None
    assert estimate.hi is not None
    return estimate.value, estimate.lo, estimate.hi, truth


def _simulate(s: Scenario, replications: int) -> tuple[Array, Array]:
    """Return coverage and bias of the mean, high share, sponsored mean and difference, (4,)."""
    expected = _expectations(s)
    rows = np.array([_replicate(s, expected, seed) for seed in range(replications)])
    value, lo, hi, truth = (rows[:, :, i] for i in range(4))  # (R, 4)
    return ((lo <= truth) & (truth <= hi)).mean(axis=0), (value - truth).mean(axis=0)


def test_a_dominant_author_that_is_never_held_out_does_not_bias_the_mean() -> None:
    coverage, bias = _simulate(SCENARIOS["one author of 20%, all posts labelled"], 150)
    assert np.abs(bias[[0, 2]]).max() < 0.06  # 0.35 if the author is treated as one of many
    assert coverage.min() >= 0.88


@pytest.mark.slow
@pytest.mark.parametrize("name", SCENARIOS)
def test_intervals_have_their_nominal_coverage_with_dominant_authors(name: str) -> None:
    coverage, bias = _simulate(SCENARIOS[name], 1000)
    logger.info("%s: coverage %s, bias %s", name, coverage.round(3), bias.round(3))
    # 1,000 replications determine a coverage to within 0.7 points (standard error).
    assert coverage.min() >= 0.92
    assert coverage.max() <= 0.975
    assert np.abs(bias).max() < 0.02


def test_a_band_without_labels_has_an_interval_that_contains_the_small_truth() -> None:
    coverage, _ = _simulate(RARE, 60)
    assert coverage[1] >= 0.95  # of the share in the high band
