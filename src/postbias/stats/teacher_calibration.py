"""Calibration of the teacher's labels to the ratings of people, where it helps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.strata import Ints

#: Methods from the simplest to the most flexible.
METHODS = ("none", "linear", "isotonic")

N_FOLDS = 10

# Repetitions of the cross-validation, because the assignment of authors to folds is random.
_REPETITIONS = 5


@dataclass(frozen=True, slots=True)
class CalibrationMap:
    """A nondecreasing, piecewise linear map from labels to expected ratings.

    Attributes:
        method: `none`, `linear` or `isotonic`.
        knots: Labels at which the map is given, ascending; labels outside their range get the
            value of the nearest knot. Empty for `none`. (K,)
        values: Expected ratings at the knots. (K,)
    """

    method: str
    knots: tuple[float, ...]
    values: tuple[float, ...]

    def apply(self, labels: Array) -> Array:
        """Map labels to expected ratings, (n,) to (n,)."""
        if not self.knots:
            return labels
        return np.interp(labels, self.knots, self.values)


@dataclass(frozen=True, slots=True)
class Calibration:
    """The chosen map, and the evidence for the choice.

    Attributes:
        chosen: The map of the chosen method, fitted to all posts.
        maps: The maps of all methods, fitted to all posts.
        errors: Root mean squared error on held-out posts by method.
        gains: Decrease of the mean squared held-out error relative to `none` by method, with its
            standard error.
    """

    chosen: CalibrationMap
    maps: dict[str, CalibrationMap]
    errors: dict[str, float]
    gains: dict[str, tuple[float, float]]


def calibrate_teacher(
    labels: Array,
    ratings: Array,
    weights: Array,
    authors: Ints,
    *,
    limits: tuple[float, float],
    rng: np.random.Generator,
) -> Calibration:
    """Choose a calibration by cross-validation over authors.

    A more flexible method is chosen only if its mean squared error on held-out posts is smaller by
    more than one standard error of the difference (the one-standard-error rule of Breiman et al.
    1984, paired, since all methods are measured on the same posts).

    Args:
        labels: The teacher's label of each rated post. (n,)
        ratings: Mean rating. (n,)
        weights: 1 / inclusion probability. (n,)
        authors: Author of each post: posts of one author are held out together. (n,)
        limits: Lower and upper end of the axis.

    Returns:
        The calibration; `none` with fewer than `N_FOLDS` authors.
    """
    maps = {m: _fit(m, labels, ratings, weights, limits) for m in METHODS}
    n_authors = len(np.unique(authors))
    if n_authors < N_FOLDS:
        error = float(np.sqrt(np.average((labels - ratings) ** 2, weights=weights)))
        return Calibration(maps["none"], maps, {"none": error}, {})
    index = np.unique(authors, return_inverse=True)[1]
    losses = {m: np.zeros(len(labels)) for m in METHODS}
    for _repetition in range(_REPETITIONS):
        fold = (rng.permutation(n_authors) % N_FOLDS)[index]
        for k in range(N_FOLDS):
            held_out, kept = fold == k, fold != k
            for m in METHODS:
                fitted = _fit(m, labels[kept], ratings[kept], weights[kept], limits)
                error = fitted.apply(labels[held_out]) - ratings[held_out]
                losses[m][held_out] += error**2 / _REPETITIONS
    chosen = "none"
    for m in METHODS[1:]:
        gain, standard_error = _mean_difference(losses[chosen] - losses[m], weights, index)
        if gain > standard_error:
            chosen = m
    return Calibration(
        maps[chosen],
        maps,
        {m: float(np.sqrt(np.average(losses[m], weights=weights))) for m in METHODS},
        {m: _mean_difference(losses["none"] - losses[m], weights, index) for m in METHODS[1:]},
    )


def _fit(
    method: str, labels: Array, ratings: Array, weights: Array, limits: tuple[float, float]
) -> CalibrationMap:
    """Fit one method by weighted least squares."""
    if method == "none":
        return CalibrationMap("none", (), ())
    if method == "isotonic":
        from sklearn.isotonic import isotonic_regression

        knots, inverse = np.unique(labels, return_inverse=True)
        total = np.bincount(inverse, weights)
        means = np.bincount(inverse, weights * ratings) / total
        values = np.clip(isotonic_regression(means, sample_weight=total), *limits)
        return CalibrationMap("isotonic", tuple(knots.tolist()), tuple(values.tolist()))
    center, mean = np.average(labels, weights=weights), np.average(ratings, weights=weights)
    spread = float(weights @ (labels - center) ** 2)
    covariance = float(weights @ ((labels - center) * (ratings - mean)))
    slope = max(covariance / spread, 0.0) if spread > 0 else 0.0
    # Where the line leaves the axis, the map bends.
    knots = np.array(limits, np.float64)
    if slope > 0:
        bends = center + (np.array(limits) - mean) / slope
        knots = np.unique([*limits, *bends[(bends > limits[0]) & (bends < limits[1])]])
    values = np.clip(mean + slope * (knots - center), *limits)
    return CalibrationMap("linear", tuple(knots.tolist()), tuple(values.tolist()))


def _mean_difference(values: Array, weights: Array, clusters: Ints) -> tuple[float, float]:
    """Return the weighted mean and its cluster-robust standard error."""
    share = weights / weights.sum()
    mean = float(share @ values)
    sums = np.bincount(clusters, share * (values - mean))
    n = len(sums)
    return mean, float(np.sqrt(n / (n - 1) * (sums @ sums)))
