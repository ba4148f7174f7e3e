"""Simulate intervals by language: calibrated on all languages, on one alone, or on the rare ones.

    python -m benchmarks.language_intervals --replications 2000

Errors are normal with a part per author; those of a language are larger by a known factor, so the
true coverage of an interval in a language is known exactly. Prints the coverage of nominal 90%
intervals in it, its standard deviation and root mean squared error over calib folds, and the share
of calib folds in which fewer than 85% are covered.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import numpy as np
from scipy.stats import norm

from postbias.stats.conformal import fit_intervals

_NOMINAL, _SPAN = 0.9, 10.0
_OTHERS = 600
_BETWEEN_AUTHORS = 0.3  # share of the variance
_FACTORS = (1.0, 1.15, 1.3, 0.8)
_RARE = 6

Rng = np.random.Generator


def draw_errors(n: int, per_author: int, rng: Rng) -> np.ndarray:
    """Draw errors of variance 1 of posts by authors with as many posts each. (n,)."""
    authors = rng.normal(0, np.sqrt(_BETWEEN_AUTHORS), -(-n // per_author))
    shared = np.repeat(authors, per_author)[:n]
    return shared + rng.normal(0, np.sqrt(1 - _BETWEEN_AUTHORS), n)


def true_coverage(residuals: np.ndarray, factor: float) -> float:
    """Return the coverage in a language of the intervals that are fitted to residuals."""
    offsets = fit_intervals(residuals, ["text"] * len(residuals), _NOMINAL, span=_SPAN)["text"]
    ends = norm.cdf(np.array([offsets["lo"], offsets["hi"]]) / factor)
    return float(ends[1] - ends[0])


def cover_alone(n: int, per_author: int, rng: Rng) -> list[float]:
    """Calibrate on the language alone; its factor makes no difference."""
    return [true_coverage(draw_errors(n, per_author, rng), 1.0)]


def cover_together(n: int, per_author: int, factor: float, rng: Rng) -> list[float]:
    """Calibrate on the language and 600 posts in others."""
    own = draw_errors(n, per_author, rng) * factor
    return [true_coverage(np.concatenate([own, draw_errors(_OTHERS, 5, rng)]), factor)]


def cover_rare(settings: tuple[int, float, float], rng: Rng) -> Iterator[list[float]]:
    """Calibrate on all, on the six rare languages together, and on each alone.

    Args:
        settings: Posts per rare language, the mean factor of their errors, and its spread.

    Yields:
        Coverage in each rare language, and in one without calib posts (alone: not defined).
    """
    n, mean, spread = settings
    factors = mean * np.exp(rng.normal(0, spread, _RARE + 1))
    own = [draw_errors(n, 5, rng) * factor for factor in factors[:_RARE]]
    rare = np.concatenate(own)
    common = np.concatenate([rare, draw_errors(_OTHERS, 5, rng)])
    for i, factor in enumerate(factors):
        alone = true_coverage(own[i], factor) if i < _RARE else np.nan
        yield [true_coverage(common, factor), true_coverage(rare, factor), alone]


def summarize(found: np.ndarray) -> str:
    """Return mean, standard deviation, root mean squared error and share below 85%."""
    rmse = np.sqrt(np.mean((found - _NOMINAL) ** 2))
    low = np.mean(found < _NOMINAL - 0.05)
    return f"{found.mean():.3f} {found.std():.3f} {rmse:.3f} {low:5.1%}"


def repeat(draw: Callable[[], list[float]], times: int) -> np.ndarray:
    """Repeat a draw. (times, K)."""
    return np.array([draw() for _ in range(times)])


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--replications", type=int, default=2000)
    times = parser.parse_args().replications
    print(f"coverage: mean, sd, RMSE, share of calib folds below 85%; {times} calib folds each")
    print("calib posts  authors  alone")
    for n in (50, 100, 200, 250, 300, 400):
        for per_author in (1, 3, 5, 10, 20):
            rng = np.random.default_rng(2)
            found = repeat(lambda: cover_alone(n, per_author, rng), times)  # noqa: B023 - called here
            print(f"{n:11d}  {-(-n // per_author):7d}  {summarize(found)}", flush=True)
    print("calib posts  factor  together with 600 posts in other languages, five per author")
    for n in (100, 200, 300, 400):
        for factor in _FACTORS:
            rng = np.random.default_rng(3)
            found = repeat(lambda: cover_together(n, 5, factor, rng), times)  # noqa: B023 - ditto
            print(f"{n:11d}  {factor:6g}  {summarize(found)}", flush=True)
    print("six rare languages beside 600 posts: all together | the rare together | each alone")
    print("posts each  mean factor  spread  calib posts")
    for n in (20, 50):
        for mean in (1.0, 1.15, 1.3):
            for spread in (0.0, 0.15):
                rng = np.random.default_rng(4)
                folds = [list(cover_rare((n, mean, spread), rng)) for _ in range(times // 4)]
                found = np.array(folds)  # (times / 4, 7, 3)
                for name, rows in (("yes", slice(0, _RARE)), ("no", slice(_RARE, None))):
                    cells = [summarize(found[:, rows, column].ravel()) for column in range(3)]
                    print(
                        f"{n:10d}  {mean:11g}  {spread:6g}  {name:>11s}  {' | '.join(cells)}",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
