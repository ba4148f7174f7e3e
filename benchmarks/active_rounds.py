"""Check active sampling in rounds: coverage and width, with a student that is trained again.

Each replication draws a corpus of 8,000 posts, labels a simple random sample, fits a ridge
regression, draws the next round by the expected errors of its scores as `postbias next-posts` does,
labels it, fits again, and so on. The estimates are those of the report (`postbias.stats.ppi`), once
with folds set aside and once cross-fitted. Truth: the mean of 2,000,000 posts of the same kind.

Corpora: `demo`, with the planted truth and the simulated teacher of the demo, whose noise is the
same for all posts; `rare`, where most posts have no bias and little error, and errors grow with it.

    python -m benchmarks.active_rounds [--replications 500] [--n 600]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from postbias.demo.ground_truth import draw_cues, simulate_teacher, true_scores
from postbias.stats.active_sampling import (
    Round,
    draw_fixed_number,
    equivalent_sample_size,
    expected_errors_by_score,
    inclusion_weights,
    sampling_probabilities,
)
from postbias.stats.bootstrap import Array
from postbias.stats.estimates import estimate_difference_of_means
from postbias.stats.label_design import HELD_OUT, LEARNED, LabelDesign, labels_only_design
from postbias.stats.ppi import estimate_mean, tune_estimator
from postbias.stats.strata import Bools, Ints

N, N_POPULATION = 8000, 2_000_000
GROUPS, PENALTY, HIGH = 5, 3.0, 6.5
SHARES = {"train": 0.72, "held out": 0.28}  # train and valid, calib and test
ROUNDS = 3
NEXT = 300  # posts of the round whose worth is measured


@dataclass(frozen=True)
class Corpus:
    """Posts with features of the student, labels, authors and a group of interest."""

    x: Array
    y: Array
    authors: Ints
    group: Bools


def draw_demo(n: int, rng: np.random.Generator) -> Corpus:
    """Draw posts of the demo; the student sees all cues, but only their main effects."""
    cues = draw_cues(n, rng)
    y = simulate_teacher(true_scores(cues), rng)["bias"]
    x = [np.eye(5)[cues.claim], np.eye(4)[cues.prop], cues.sticker[:, None], np.ones((n, 1))]
    return Corpus(np.concatenate(x, axis=1), y, cues.author, cues.sponsored.astype(bool))


def draw_rare(n: int, rng: np.random.Generator) -> Corpus:
    """Draw posts of which few have a high score; authors have two to three posts each."""
    authors = rng.integers(0, n * 2 // 5, n)
    topics = rng.normal(0, 1, (n, 8)) + rng.normal(0, 0.5, (authors.max() + 1, 8))[authors]
    level = 10 / (1 + np.exp(2.8 - 1.2 * topics[:, 0] - 0.8 * topics[:, 1]))
    y = np.clip(level * (1 + 0.45 * rng.normal(size=n)), 0, 10)
    x = np.column_stack([np.ones(n), topics, topics[:, 0] ** 2, topics[:, 0] * topics[:, 1]])
    return Corpus(x, np.round(2 * y) / 2, authors, topics[:, 2] > 0.8)


CORPORA: dict[str, Callable[[int, np.random.Generator], Corpus]] = {
    "demo": draw_demo,
    "rare": draw_rare,
}


def fit_ridge(x: Array, y: Array) -> Array:
    """Return the coefficients of a ridge regression, (D,)."""
    gram = x.T @ x + PENALTY * np.eye(x.shape[1])
    coefficients: Array = np.linalg.solve(gram, x.T @ y)
    return coefficients


def score_posts(
    corpus: Corpus, is_labelled: Bools, part: Ints, *, is_cross_fitted: bool
) -> tuple[Array, np.ndarray]:
    """Fit students; return scores by students that have not seen the label, and roles, (N,).

    Args:
        corpus: All posts.
        is_labelled: Mask of the labelled posts. (N,)
        part: Group of each author for cross-fitting, of each post; 0 and 1 are held out. (N,)
        is_cross_fitted: Whether to cross-fit.
    """
    x, y = corpus.x, corpus.y
    if not is_cross_fitted:
        is_held_out = part >= round(SHARES["train"] * 100)
        scores = x @ fit_ridge(x[is_labelled & ~is_held_out], y[is_labelled & ~is_held_out])
        roles = np.where(is_held_out, HELD_OUT, LEARNED)
    else:
        groups, by_student = part % GROUPS, []
        for k in range(GROUPS):
            rows = is_labelled & (groups != k)
            by_student.append(x @ fit_ridge(x[rows], y[rows]))
        stacked = np.stack(by_student)
        scores = np.where(is_labelled, stacked[groups, np.arange(len(y))], stacked.mean(axis=0))
        roles = np.full(len(y), HELD_OUT)
    return np.clip(scores, 0, 10), np.where(is_labelled, roles, 0).astype(np.int8)


def sample_in_rounds(
    corpus: Corpus, n: int, rng: np.random.Generator, *, n_rounds: int, is_cross_fitted: bool
) -> tuple[Array, Array, np.ndarray]:
    """Sample n posts in rounds of equal size; return weights, scores and roles, (N,) each."""
    size = len(corpus.y)
    part = rng.integers(0, 100, corpus.authors.max() + 1)[corpus.authors]
    first = np.zeros(size, bool)
    first[rng.permutation(size)[: n // n_rounds]] = True
    rounds, sizes = [Round(np.full(size, first.mean()), first)], [float(first.sum())]
    sampled = first.copy()
    while True:
        scores, roles = score_posts(corpus, sampled, part, is_cross_fitted=is_cross_fitted)
        weights = inclusion_weights(rounds, sizes)
        if len(rounds) == n_rounds:
            return weights, scores, roles
        squares = np.where(roles == HELD_OUT, (corpus.y - scores) ** 2, np.nan)
        errors = expected_errors_by_score(scores, squares, weights, (0, 10))
        probabilities = sampling_probabilities(errors, n // n_rounds, available=~sampled)
        rounds.append(draw_fixed_number(probabilities, rng.random(size)))
        sizes.append(equivalent_sample_size(errors, probabilities))
        sampled |= rounds[-1].is_sampled


def estimate_all(
    corpus: Corpus, weights: Array, scores: Array, roles: np.ndarray, *, uses_scores: bool
) -> dict[str, tuple[float, float, float]]:
    """Return value and interval of four quantities, estimated as the report does."""
    design = LabelDesign.of_corpus(corpus.authors, roles, weights)
    if not uses_scores:
        design = labels_only_design(design)
    everyone = np.ones(len(scores), bool)
    y, f = np.where(roles > 0, corpus.y, np.nan), scores
    high = np.where(roles > 0, corpus.y >= HIGH, np.nan), (scores >= HIGH).astype(np.float64)
    means = {}
    for name, (values, fs), rows in (
        ("mean", (y, f), everyone),
        ("high", high, everyone),
        ("group", (y, f), corpus.group),
        ("rest", (y, f), ~corpus.group),
    ):
        tuning = tune_estimator(design, values, fs)
        means[name] = estimate_mean(design.subset(rows), values[rows], fs[rows], tuning)
    intervals = {name: means[name].interval(0, 10) for name in ("mean", "group")}
    intervals["high"] = means["high"].share_interval()
    intervals["difference"] = estimate_difference_of_means(means["group"], means["rest"])
    found = {}
    for name, interval in intervals.items():
        assert interval.value is not None
        assert interval.lo is not None
        assert interval.hi is not None
        found[name] = interval.value, interval.lo, interval.hi
    return found


def find_truth(kind: str) -> dict[str, float]:
    """Compute the quantities of a large population."""
    corpus = CORPORA[kind](N_POPULATION, np.random.default_rng(10**6))
    inside, outside = corpus.y[corpus.group].mean(), corpus.y[~corpus.group].mean()
    return {
        "mean": float(corpus.y.mean()),
        "high": float(np.mean(corpus.y >= HIGH)),
        "group": float(inside),
        "difference": float(inside - outside),
    }


def measure_rounds(
    kind: str, replications: int, n: int, *, is_cross_fitted: bool
) -> dict[str, dict[str, dict[str, float]]]:
    """Compare random samples of n and of half as many posts with half as many in rounds.

    Returns:
        By sample and quantity: coverage, mean width, bias, and root mean squared error.
    """
    truth = find_truth(kind)
    samples = {
        f"random, {n}, labels alone": (n, 1),
        f"random, {n}": (n, 1),
        f"random, {n // 2}": (n // 2, 1),
        f"active, {n // 2}": (n // 2, ROUNDS),
    }
    runs: dict[str, dict[str, list[tuple[float, ...]]]] = {
        sample: {name: [] for name in truth} for sample in samples
    }
    for seed in range(replications):
        corpus = CORPORA[kind](N, np.random.default_rng([seed, 1]))
        for sample, (size, n_rounds) in samples.items():
            drawn = sample_in_rounds(
                corpus,
                size,
                np.random.default_rng([seed, 2]),
                n_rounds=n_rounds,
                is_cross_fitted=is_cross_fitted,
            )
            uses_scores = "alone" not in sample
            found = estimate_all(corpus, *drawn, uses_scores=uses_scores)
            for name, (value, lo, hi) in found.items():
                error = value - truth[name]
                row = float(lo <= truth[name] <= hi), hi - lo, error, error**2
                runs[sample][name].append(row)
    columns = ("coverage", "width", "bias", "rmse")
    result = {
        sample: {
            name: dict(zip(columns, np.mean(rows, axis=0).tolist(), strict=True))
            for name, rows in by_name.items()
        }
        for sample, by_name in runs.items()
    }
    for by_name in result.values():
        for row in by_name.values():
            row["rmse"] **= 0.5
    return result


def measure_worth(kind: str, n_known: int | None = None) -> float:
    """Measure what a post of a later round is worth, in posts drawn at random.

    Args:
        kind: The corpus.
        n_known: Number of held-out labels that the expected errors are learned from; None if all
            expected errors are known.
    """
    large = CORPORA[kind](N_POPULATION // 20, np.random.default_rng(0))
    corpus = CORPORA[kind](N, np.random.default_rng(1))
    coefficients = fit_ridge(large.x, large.y)
    known, scores = (np.clip(part.x @ coefficients, 0, 10) for part in (large, corpus))
    edges = np.unique(np.quantile(known, np.linspace(0, 1, 41)))[1:-1]
    bins = np.digitize(known, edges)
    squares = np.bincount(bins, (large.y - known) ** 2) / np.maximum(np.bincount(bins), 1)
    errors = np.sqrt(squares[np.digitize(scores, edges)])
    if n_known is None:
        return equivalent_sample_size(errors, sampling_probabilities(errors, NEXT)) / NEXT
    found = []
    for seed in range(20):
        rows = np.random.default_rng(seed).permutation(N)[:n_known]
        known_squares = np.full(N, np.nan)
        known_squares[rows] = (corpus.y[rows] - scores[rows]) ** 2
        learned = expected_errors_by_score(scores, known_squares, np.ones(N), (0, 10))
        probabilities = sampling_probabilities(learned, NEXT)
        found.append(equivalent_sample_size(errors, probabilities) / NEXT)
    return float(np.mean(found))


def saved_share(random_n: float, random_half: float, active_half: float) -> float:
    """Return which share of labels active sampling saves at the same width as half as many.

    The squared width of random samples is linear in 1 / labels: a part of it is the variance of
    the corpus itself, which no label reduces.
    """
    slope = random_half**2 - random_n**2  # from 1 / n to 2 / n
    needed = 1 / (1 + (active_half**2 - random_n**2) / slope)  # in units of n
    return 1 - 0.5 / needed


def main() -> None:
    """Print one JSON object per corpus, estimator, sample and quantity."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--n", type=int, default=600)
    options = parser.parse_args()
    for kind in CORPORA:
        worth = {str(n or "all"): round(measure_worth(kind, n), 2) for n in (60, 150, 400, None)}
        print(json.dumps({"corpus": kind, "worth by known errors": worth}), flush=True)
        for is_cross_fitted in (False, True):
            measured = measure_rounds(
                kind, options.replications, options.n, is_cross_fitted=is_cross_fitted
            )
            head = {"corpus": kind, "cross-fitted": is_cross_fitted}
            for sample, by_name in measured.items():
                for name, row in by_name.items():
                    rounded = {key: round(value, 4) for key, value in row.items()}
                    print(json.dumps({**head, "sample": sample, "of": name, **rounded}), flush=True)
            for name in by_name:
                widths = [by_name[name]["width"] for by_name in measured.values()][1:]
                saved = saved_share(*widths)
                print(json.dumps({**head, "of": name, "labels saved": round(saved, 3)}), flush=True)


if __name__ == "__main__":
    main()
