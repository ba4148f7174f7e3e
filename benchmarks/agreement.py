"""Measure coverage of the bootstrap intervals of agreement coefficients.

Ratings have a post variance of 4, an error variance of 1.5 and fixed biases of the raters; an
incomplete design gives each post to two of the raters at random. The truth is the coefficient of
these raters on 200,000 posts.

    python benchmarks/agreement.py [--replications 500]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

import numpy as np

from postbias.axes import Axis
from postbias.stats.agreement import intraclass_correlation, krippendorff_alpha, weighted_kappa
from postbias.stats.bootstrap import Array, Resamples, resample_authors, summarize_replicates

AXIS = Axis("bias", 0, 10)
BOOTSTRAP = 500
COEFFICIENTS: dict[str, Callable[[Array, Resamples], Array]] = {
    "alpha": krippendorff_alpha,
    "icc_single": lambda ratings, resamples: intraclass_correlation(ratings, resamples).single,
    "icc_mean": lambda ratings, resamples: intraclass_correlation(ratings, resamples).mean,
    "kappa": lambda ratings, resamples: weighted_kappa(ratings, AXIS, resamples),
}


def draw_ratings(
    n: int, biases: tuple[float, ...], rng: np.random.Generator, *, is_complete: bool
) -> Array:
    """Draw ratings on the axis in steps of 0.5; NaN where a post is not rated. (n, J)."""
    n_raters = len(biases)
    latent = rng.normal(4.5, 2, n)[:, None] + np.array(biases)
    ratings = np.clip(np.round(2 * (latent + rng.normal(0, 1.5**0.5, (n, n_raters)))) / 2, 0, 10)
    if is_complete:
        return ratings
    order = rng.random(ratings.shape).argsort(axis=1)
    return np.where(order < 2, ratings, np.nan)


def measure(
    n: int, biases: tuple[float, ...], replications: int, *, is_complete: bool
) -> dict[str, float]:
    """Return the coverage of each coefficient's 95% interval."""
    population = draw_ratings(
        200_000, biases, np.random.default_rng(10**6), is_complete=is_complete
    )
    everything = Resamples(np.zeros(len(population), np.intp), np.ones((1, 1), np.uint16))
    truths = {name: compute(population, everything)[0] for name, compute in COEFFICIENTS.items()}
    covered = dict.fromkeys(COEFFICIENTS, 0)
    for seed in range(replications):
        rng = np.random.default_rng(seed)
        ratings = draw_ratings(n, biases, rng, is_complete=is_complete)
        resamples = resample_authors([str(i) for i in range(n)], BOOTSTRAP, rng)
        for name, compute in COEFFICIENTS.items():
            estimate = summarize_replicates(compute(ratings, resamples))
            assert estimate.lo is not None
            assert estimate.hi is not None
            covered[name] += estimate.lo <= truths[name] <= estimate.hi
    return {name: count / replications for name, count in covered.items()}


def main() -> None:
    """Print one JSON object per design."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replications", type=int, default=500)
    options = parser.parse_args()
    for n in (50, 100, 200):
        for biases, is_complete in (
            ((-0.3, 0.3), True),
            ((-0.4, 0.0, 0.4), True),
            ((-0.4, 0.0, 0.4), False),
        ):
            row = measure(n, biases, options.replications, is_complete=is_complete)
            design = {"posts": n, "raters": len(biases), "complete": is_complete}
            print(json.dumps(design | row), flush=True)


if __name__ == "__main__":
    main()
