"""Compare active sampling with equal probabilities on posts whose scores err to different degrees.

The error of the score has a standard deviation that varies from post to post (log-normally), of
which the sampler sees a noisy measure, as the width of a prediction interval is. A quarter of the
active sample is drawn first, with equal probabilities, and shows how large errors are; the rest
follows the expected errors. Every method measures the mean of 8,000 posts of 2,000 authors.

    python benchmarks/active_sampling.py [--replications 500] [--n 400]
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from postbias.stats.active_sampling import (
    draw_round,
    equivalent_sample_size,
    estimate_active_mean,
    expected_errors,
    inclusion_weights,
    sampling_probabilities,
)
from postbias.stats.bootstrap import Array
from postbias.stats.estimates import MeanEstimate

N, AUTHORS = 8000, 2000
TRUTH = 4.0
FIRST_SHARE = 0.25


def draw_posts(
    rng: np.random.Generator, spread: float
) -> tuple[Array, Array, Array, Array, np.ndarray]:
    """Draw values, scores, standard deviations of errors, difficulty and authors, (N,) each."""
    authors = rng.integers(0, AUTHORS, N)
    scores = TRUTH + rng.normal(0, 1.0, AUTHORS)[authors] * 0.5 + rng.normal(0, 1.5, N)
    deviations = 0.6 * np.exp(rng.normal(0, spread, N))
    values = scores + deviations * rng.normal(0, 1, N)
    difficulty = deviations * np.exp(rng.normal(0, 0.3, N))
    return values, scores, deviations, difficulty, authors


def sample_uniformly(n: int, rng: np.random.Generator) -> Array:
    """Draw posts with equal probability; return their weights."""
    sampled = draw_round(np.full(N, n / N), rng).is_sampled
    return np.where(sampled, N / n, 0.0)


def sample_actively(n: int, posts: tuple[Array, ...], rng: np.random.Generator) -> Array:
    """Draw a part with equal probability, then the rest by the errors seen in the first part."""
    values, scores, _deviations, difficulty, _authors = posts
    first = draw_round(np.full(N, FIRST_SHARE * n / N), rng)
    known = first.is_sampled
    squares = np.where(known, (values - scores) ** 2, np.nan)
    errors = expected_errors(difficulty, squares, np.ones(N))
    second = sampling_probabilities(errors, n - known.sum(), available=~known)
    sizes = [float(known.sum()), equivalent_sample_size(errors, second)]
    return inclusion_weights([first, draw_round(second, rng)], sizes)


def measure(n: int, replications: int, spread: float) -> dict[str, dict[str, float]]:
    """Return coverage, mean width and root mean squared error of each method."""
    rows: dict[str, list[tuple[float, ...]]] = {}
    for seed in range(replications):
        rng = np.random.default_rng(seed)
        posts = draw_posts(rng, spread)
        values, scores, deviations, _difficulty, authors = posts
        drawn = draw_round(sampling_probabilities(deviations, n // 2), rng)
        known_weights = inclusion_weights([drawn], [1.0])
        methods = {
            f"labels only, {n}": (sample_uniformly(n, rng), np.zeros(N)),
            f"equal probabilities, {n}": (sample_uniformly(n, rng), scores),
            f"equal probabilities, {n // 2}": (sample_uniformly(n // 2, rng), scores),
            f"active with known errors, {n // 2}": (known_weights, scores),
            f"active in two rounds, {n // 2}": (sample_actively(n // 2, posts, rng), scores),
        }
        for name, (weights, used) in methods.items():
            estimate = estimate_active_mean(weights, values, used, authors)
            rows.setdefault(name, []).append(_summarize(estimate))
    return {
        name: dict(
            zip(("coverage", "width", "error", "n"), np.mean(values, axis=0).tolist(), strict=True)
        )
        for name, values in rows.items()
    }


def _summarize(estimate: MeanEstimate) -> tuple[float, ...]:
    interval = estimate.interval(-np.inf, np.inf)
    assert interval.lo is not None
    assert interval.hi is not None
    is_covered = interval.lo <= TRUTH <= interval.hi
    error = abs(estimate.value - TRUTH)
    return float(is_covered), interval.hi - interval.lo, error, float(estimate.sizes.labels)


def main() -> None:
    """Print one JSON object per method."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=500)
    parser.add_argument("--n", type=int, default=400)
    options = parser.parse_args()
    for spread in (0.0, 0.7, 1.0):
        for name, row in measure(options.n, options.replications, spread).items():
            rounded = {key: round(value, 3) for key, value in row.items()}
            print(json.dumps({"spread": spread, "method": name, **rounded}), flush=True)


if __name__ == "__main__":
    main()
