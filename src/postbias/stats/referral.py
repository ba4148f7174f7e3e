"""Which scores are most likely to be in the wrong band, and what referring them to a teacher gains.

Selective prediction by the probability of an error (Geifman and El-Yaniv, NeurIPS 2017), for the
decision that bands are used for.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from postbias.axes import Axis
from postbias.stats.bootstrap import Array, Resamples
from postbias.stats.metrics import band_indices


def misband_probability(scores: Array, lo: Array, hi: Array, axis: Axis, coverage: float) -> Array:
    """Estimate the probability that the label of each post is in another band than its score.

    The label is taken as normal around the score, with the standard deviation that its interval
    implies: only the order of posts matters here.

    Args:
        scores: Scores. (n,)
        lo: Lower limits of their intervals; NaN without one. (n,)
        hi: Upper limits. (n,)
        axis: The axis, for its bands.
        coverage: Nominal coverage of the intervals.

    Returns:
        Probabilities; 1 for a post without an interval. (n,)
    """
    z = NormalDist().inv_cdf((1 + coverage) / 2)
    sd = np.maximum((hi - lo) / (2 * z), 1e-9 * (axis.high - axis.low))
    edges = np.array([-np.inf, *axis.band_thresholds, np.inf])
    band = band_indices(scores, axis)
    inside = _normal_cdf((edges[band + 1] - scores) / sd) - _normal_cdf((edges[band] - scores) / sd)
    return np.where(np.isfinite(sd), 1 - inside, 1.0)


def remaining_error(errors: Array, priority: Array, share: float, resamples: Resamples) -> Array:
    """Compute the share of all errors that remains if the posts with the highest priority are sent.

    Args:
        errors: Error of each post, at least 0; a post that is referred has none. (n,)
        priority: Posts with the highest values are referred first; ties in the order given. (n,)
        share: Share of the posts that is referred.
        resamples: Resamples of the authors of these posts.

    Returns:
        Replicates; NaN where there is no error at all. The order is that of the data in every
        resample. (1 + R,)
    """
    n = len(errors)
    is_referred = np.zeros(n, dtype=bool)
    is_referred[np.argsort(-priority, kind="stable")[: round(share * n)]] = True
    columns = np.stack([errors, np.where(is_referred, 0.0, errors)], axis=1)
    per_author = np.zeros((resamples.n_authors, 2))
    np.add.at(per_author, resamples.authors, columns)
    sums = np.concatenate([chunk @ per_author for chunk in resamples.iter_chunks()])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(sums[:, 0] > 0, sums[:, 1] / sums[:, 0], np.nan)


def _normal_cdf(x: Array) -> Array:
    from scipy.special import ndtr

    return np.asarray(ndtr(x), dtype=np.float64)
