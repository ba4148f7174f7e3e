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
# Distance that is added to the one from either end of the scale, as a share of its length.
_MARGIN = 0.02
# Bandwidth of the smoothing, as a share of all posts, and the points where it is computed.
_BANDWIDTH, _GRID = 0.1, 200
# Sums of probabilities that are whole numbers up to rounding.
_ROUNDING = 1e-9


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


def expected_errors_by_score(
    scores: Array, squares: Array, weights: Array, bounds: tuple[float, float]
) -> Array:
    """Estimate the root mean squared error of each score from the errors of similar scores.

    Scores near the end of a scale often err little. So the errors are first modelled as a power of
    the distance from both ends, which takes few known errors; then multiplied by what a kernel
    smoother over the ranks of the scores finds beyond that, shrunk toward no difference. In
    simulations (`benchmarks/active_rounds.py`), both together were better than each alone.

    Args:
        scores: Score of each post. (N,)
        squares: Squared errors of measured posts; NaN for the others. (N,)
        weights: 1 / inclusion probability of the measured posts. (N,)
        bounds: Smallest and largest possible score.

    Returns:
        Expected error of each post; the same for all with fewer than two errors above 0. (N,)
    """
    margin = _MARGIN * (bounds[1] - bounds[0])
    inside = np.clip(scores, *bounds)
    difficulty = np.sqrt((inside - bounds[0] + margin) * (bounds[1] - inside + margin))
    known = np.isfinite(squares)
    fitted = expected_errors(difficulty, squares, weights)
    if not np.any(squares[known] > 0):
        return fitted
    ratio = squares[known] / fitted[known] ** 2
    w = weights[known] / weights[known].mean()
    mean = float(w @ ratio) / float(w.sum())
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores, kind="stable")] = (np.arange(len(scores)) + 0.5) / len(scores)
    grid = np.linspace(0, 1, _GRID)  # as good as all posts, since the smoother is smooth
    kernel = w * np.exp(-0.5 * ((grid[:, None] - ranks[known]) / _BANDWIDTH) ** 2)  # (G, n)
    smooth = (kernel @ ratio + _PRIOR_POSTS * mean) / (kernel.sum(axis=1) + _PRIOR_POSTS)
    errors: Array = fitted * np.sqrt(np.interp(ranks, grid, smooth))
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


def draw_fixed_number(probabilities: Array, random: Array) -> Round:
    """Draw posts with given probabilities, always the same number of them.

    Systematic sampling in random order (Hartley and Rao 1962): the number of sampled posts is the
    sum of the probabilities, so that a round costs what was planned.

    Args:
        probabilities: Probability of each post, at most 1; they sum to the number to draw. (N,)
        random: Independent uniform random numbers from 0 to 1. (N,)

    Returns:
        The round.
    """
    order = np.argsort(random, kind="stable")
    # The start needs a random number of its own: a function of all of them that is uniform, too.
    start = float(np.sum(random) % 1)
    passed = np.floor(np.cumsum(probabilities[order]) + start + _ROUNDING)
    is_sampled = np.zeros(len(probabilities), bool)
    is_sampled[order] = np.diff(passed, prepend=np.floor(start)) >= 1
    return Round(probabilities, is_sampled & (probabilities > 0))


def equivalent_sample_size(errors: Array, probabilities: Array) -> float:
    """Predict how many posts drawn with equal probability would give the same variance.

    Args:
        errors: Expected error of each post. (N,)
        probabilities: Probability of each post in a round; 0 for those that are known. (N,)

    Returns:
        The number; for equal probabilities of all posts, the sum of the probabilities.
    """
    is_open = probabilities > 0
    variance = float(np.sum(errors[is_open] ** 2 / probabilities[is_open]))
    total = len(errors) * float(np.sum(errors**2))
    return total / variance if variance > 0 else float(probabilities.sum())


def inclusion_weights(rounds: Sequence[Round], sizes: Sequence[float]) -> Array:
    """Return one weight per sampled post that combines rounds whose probabilities depend on data.

    In each round, the posts sampled before count once and the new ones by 1 / probability, so each
    round represents all posts without bias given what was known when it was planned. Rounds are
    averaged with weights proportional to their sizes.

    Args:
        rounds: All rounds, in order.
        sizes: What each round is worth: its `equivalent_sample_size`, as predicted before it. For
            validity, a size must not depend on labels of its own round or of later ones.

    Returns:
        Weights; 0 for posts that no round has sampled. (N,)
    """
    n_posts = len(rounds[0].probabilities)
    shares = np.asarray(sizes, np.float64) / np.sum(sizes)
    weights, is_earlier = np.zeros(n_posts), np.zeros(n_posts, bool)
    for share, current in zip(shares, rounds, strict=True):
        inverse = np.zeros(n_posts)
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
