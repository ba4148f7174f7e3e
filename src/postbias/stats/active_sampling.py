"""Choose the posts to measure next with probabilities that follow the expected error of the scores.

Active statistical inference (Zrnic and Candes, ICML 2024): a post whose score is probably right
tells little, so it is sampled rarely, and its measurement counts for many. Probabilities are kept,
so estimates stay unbiased whatever the expected errors are; good ones make intervals narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.estimates import MeanEstimate, SampleSizes
from postbias.stats.strata import Bools, Ints

#: Share of the expected sample that is drawn with equal probability. It bounds the weights, so that
#: a post with a wrongly small expected error cannot dominate an estimate.
UNIFORM_SHARE = 0.3

# Squared errors below this share of their mean count as this share: the logarithm of 0 is infinite.
_SMALLEST_SQUARE = 1e-3
# The assumption that difficulty does not matter counts like so many errors.
_PRIOR_POSTS = 10.0
# Largest power of the difficulty; 2 if it is proportional to the error itself.
_LARGEST_POWER = 3.0


@dataclass(frozen=True, slots=True)
class Round:
    """One round of sampling among the posts that no earlier round has sampled.

    Attributes:
        probabilities: Probability of being sampled in this round; 0 for earlier samples. (N,)
        is_sampled: Mask of the posts that were sampled. (N,)
    """

    probabilities: Array
    is_sampled: Bools


def expected_errors(difficulty: Array, squares: Array, weights: Array) -> Array:
    """Estimate the root mean squared error of each score from errors that are already known.

    The squared error is modelled as proportional to a power of the difficulty. Two parameters can
    be fitted to a few dozen errors; mean errors in ten bins of difficulty could not (with 60 errors
    the intervals of the next sample were a tenth wider).

    Args:
        difficulty: Any positive measure of how uncertain a score is, such as the width of its
            prediction interval. (N,)
        squares: Squared errors of measured posts; NaN for the others. (N,)
        weights: 1 / inclusion probability of the measured posts. (N,)

    Returns:
        Expected error of each post; the same for all with fewer than two errors above 0. (N,)

    Raises:
        ValueError: If a difficulty is not positive.
    """
    if not np.all(difficulty > 0):
        raise ValueError(
            f"the smallest difficulty is {np.min(difficulty)}; all must be above 0: add a small "
            "constant to each"
        )
    known = np.isfinite(squares)
    if not np.any(squares[known] > 0):
        return np.ones(len(difficulty))
    w = weights[known] / weights[known].sum()
    mean = float(w @ squares[known])
    log_difficulty = np.log(difficulty)
    x = log_difficulty[known] - w @ log_difficulty[known]
    y = np.log(np.maximum(squares[known], _SMALLEST_SQUARE * mean))
    spread = float(w @ x**2)
    slope = float(w @ (x * (y - w @ y))) / spread if spread > _SMALLEST_SQUARE else 0.0
    n = float(1 / (w @ w))
    slope = np.clip(slope * n / (n + _PRIOR_POSTS), 0.0, _LARGEST_POWER)
    relative = np.exp(slope * (log_difficulty - w @ log_difficulty[known]))
    errors: Array = np.sqrt(mean * relative / (w @ relative[known]))
    return errors


def sampling_probabilities(
    errors: Array, n: float, *, available: Bools | None = None, uniform_share: float = UNIFORM_SHARE
) -> Array:
    """Compute probabilities proportional to the expected errors, mixed with equal ones.

    Args:
        errors: Expected error of each post, at least 0. (N,)
        n: Expected number of sampled posts.
        available: Mask of the posts that may be sampled; by default all. (N,)
        uniform_share: Share of the sample that is drawn with equal probability; above 0, since
            every post must be possible.

    Returns:
        Probabilities that sum to n, each at most 1. (N,)

    Raises:
        ValueError: If n exceeds the number of available posts, or the share is not in (0, 1].
    """
    usable = np.ones(len(errors), bool) if available is None else available
    n_usable = np.count_nonzero(usable)
    if not 0 < n <= n_usable:
        raise ValueError(
            f"{n} posts cannot be sampled from {n_usable}; choose a number above 0 and up to that"
        )
    if not 0 < uniform_share <= 1:
        raise ValueError(
            f"the uniform share is {uniform_share}; it must be above 0 and at most 1, so that "
            "every post can be sampled"
        )
    own = np.where(usable, errors, 0.0)
    total = own.sum()
    rate = own / total if total > 0 else usable / n_usable
    rate = (1 - uniform_share) * rate + uniform_share * usable / n_usable
    probabilities = np.zeros(len(errors))
    is_certain = np.zeros(len(errors), bool)
    while True:  # certain posts leave more of the sample to the others
        rest = rate * ~is_certain
        left = n - np.count_nonzero(is_certain)
        probabilities = np.where(is_certain, 1.0, left * rest / max(rest.sum(), 1e-300))
        above = (probabilities >= 1) & ~is_certain
        if not above.any():
            return probabilities
        is_certain |= above


def draw_round(probabilities: Array, rng: np.random.Generator) -> Round:
    """Draw each post independently with its probability (Poisson sampling)."""
    return Round(probabilities, rng.random(len(probabilities)) < probabilities)


def inclusion_weights(rounds: Sequence[Round], errors: Array) -> Array:
    """Return one weight per sampled post that combines rounds whose probabilities depend on data.

    In each round, the posts sampled before count once and the new ones by 1 / probability, so each
    round represents all posts without bias given what was known when it was planned. Rounds are
    averaged with weights inverse to the variances that the expected errors predict.

    Args:
        rounds: All rounds, in order.
        errors: Expected error of each post. (N,)

    Returns:
        Weights; 0 for posts that no round has sampled. (N,)
    """
    size = len(rounds[0].probabilities)
    predicted = [
        np.sum(errors**2 / np.where(r.probabilities > 0, r.probabilities, np.inf)) for r in rounds
    ]
    shares = 1 / np.maximum(predicted, np.finfo(np.float64).tiny)
    shares = shares / shares.sum()
    weights, is_earlier = np.zeros(size), np.zeros(size, bool)
    for share, current in zip(shares, rounds, strict=True):
        inverse = np.zeros(size)
        inverse[current.is_sampled] = 1 / current.probabilities[current.is_sampled]
        weights += share * np.where(is_earlier, 1.0, inverse)
        is_earlier = is_earlier | current.is_sampled
    return weights


def estimate_active_mean(
    weights: Array, values: Array, scores: Array, authors: Ints
) -> MeanEstimate:
    """Estimate the mean of a measurement over all posts from actively sampled ones.

    mean(lam f) + mean of (y - lam f) over the sample, weighted by 1 / probability, with lam tuned
    by least squares and a cluster-robust variance. For regressions, groups, or a second layer of
    predictions, pass the same weights to `postbias.stats.rated_corpus.RatedCorpus`.

    Args:
        weights: 1 / inclusion probability, or from `inclusion_weights`; 0 if not sampled. (N,)
        values: Measurements of the sampled posts. (N,)
        scores: Scores of all posts, fixed before the first round. (N,)
        authors: Author index of each post. (N,)

    Returns:
        The estimate; NaN with fewer than two sampled posts.
    """
    rows, n = weights > 0, len(scores)
    sizes = SampleSizes(n, int(rows.sum()), int(rows.sum()), len(np.unique(authors)))
    if rows.sum() < 2:
        return MeanEstimate(np.nan, np.nan, np.zeros(1), 1.0, float(scores.mean()), sizes)
    w = np.where(rows, weights / weights.sum(), 0.0)
    y = np.where(rows, values, 0.0)

    def influence(sampled: Array) -> Array:
        return np.bincount(authors, w * (sampled - w @ sampled)).astype(np.float64)

    own = influence(y)
    control = influence(scores) - np.bincount(authors, (scores - scores.mean()) / n)
    lam = float(own @ control / (control @ control)) if control.any() else 0.0
    value = float(w @ y - lam * (w @ scores - scores.mean()))
    per_author = np.bincount(authors, w**2)
    freedom = max(float(per_author.sum() ** 2 / (per_author @ per_author)) - 2, 1.0)
    total = own - lam * control
    variance = float(total @ total) * (freedom + 2) / freedom
    return MeanEstimate(value, variance, total, freedom, float(scores.mean()), sizes)
