"""Simulate intervals of one language that are calibrated on all languages, or on it alone.

    python -m benchmarks.language_intervals --replications 2000

Errors are normal with a part per author; those of one language are larger by a known factor, so the
true coverage of an interval is known exactly. Prints the mean coverage of nominal 90% intervals in
that language, its spread over calib folds, and the Monte-Carlo error of the mean.
"""

from __future__ import annotations

import argparse

import numpy as np
from scipy.stats import norm

from postbias.stats.conformal import fit_intervals

_NOMINAL, _SPAN = 0.9, 10.0
_OTHERS = 600
_POSTS_PER_AUTHOR = 5
_BETWEEN_AUTHORS = 0.3  # share of the variance


def coverage(n: int, factor: float, replications: int, rng: np.random.Generator) -> np.ndarray:
    """Return the true coverage in the language, calibrated on all and on it alone.

    Args:
        n: Calib posts in the language.
        factor: How many times as large its errors are as those of the others.
        replications: Number of calib folds.

    Returns:
        Coverage per fold, (replications, 2).
    """
    found = np.empty((replications, 2))
    for i in range(replications):
        own, others = _errors(n, rng) * factor, _errors(_OTHERS, rng)
        for column, residuals in enumerate((np.concatenate([own, others]), own)):
            groups = ["text"] * len(residuals)
            offsets = fit_intervals(residuals, groups, _NOMINAL, span=_SPAN)["text"]
            ends = norm.cdf(np.array([offsets["lo"], offsets["hi"]]) / factor)
            found[i, column] = ends[1] - ends[0]
    return found


def _errors(n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw errors of variance 1. (n,)."""
    authors = rng.normal(0, np.sqrt(_BETWEEN_AUTHORS), -(-n // _POSTS_PER_AUTHOR))
    shared = np.repeat(authors, _POSTS_PER_AUTHOR)[:n]
    return shared + rng.normal(0, np.sqrt(1 - _BETWEEN_AUTHORS), n)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--replications", type=int, default=2000)
    n_folds = parser.parse_args().replications
    print("factor  calib posts  on all: mean (sd)  on the language: mean (sd)  MC error")
    for factor in (1.0, 1.3, 0.8):
        for n in (50, 100, 200):
            found = coverage(n, factor, n_folds, np.random.default_rng(2))
            mean, spread = found.mean(0), found.std(0)
            error = spread.max() / np.sqrt(n_folds)
            print(
                f"{factor:6g}  {n:11d}  {mean[0]:.3f} ({spread[0]:.3f})  "
                f"{mean[1]:.3f} ({spread[1]:.3f})  {error:.4f}"
            )


if __name__ == "__main__":
    main()
