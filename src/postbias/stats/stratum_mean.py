"""The prediction-powered mean of one stratum, with its cluster-robust variance.

`postbias.stats.ppi` explains the estimator.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT, LEARNED, LabelDesign
from postbias.stats.strata import Bools, Ints

# `lam` and `a` are fitted to the same authors, which biases the variance downwards.
_FITTED_PARAMETERS = 2
# Influences that are smaller relative to the scores are rounding errors.
_ROUNDING = 1e-13
# Maximum weight of a held-out label relative to a learned one, in case there are few labels.
_MAX_HELD_OUT_WORTH = 50.0


@dataclass(frozen=True, slots=True)
class Stratum:
    """Posts of one stratum.

    Attributes:
        design: Design of the posts. (N,)
        units: Independent unit of each post. (N,)
        labels: The teacher's label; NaN without a label. (N,)
        scores: The student's score. (N,)
    """

    design: LabelDesign
    units: Ints
    labels: Array
    scores: Array

    def sum_by_unit(self, values: Array) -> Array:
        """Sum a value of each post by unit, (U,)."""
        return np.bincount(self.units, values).astype(np.float64)


@dataclass(frozen=True, slots=True)
class StratumMean:
    """Estimated mean of a stratum.

    Attributes:
        value: The estimate.
        variance: Its variance.
        influence: Influence of each unit on it. (U,)
        effective_units: Number of units of equal weight that carry as much information.
    """

    value: float
    variance: float
    influence: Array
    effective_units: float


def minimise_variance(part: Stratum) -> tuple[float, float]:
    """Find `lam` by least squares, and the worth of a held-out label at that `lam`.

    Labels of both roles are random parts of one sample, so their variances are equal, and a
    held-out label is worth more only as far as the scores reduce its variance. Weights from the two
    estimated variances would follow their noise: with every post labelled, the squared error was
    up to 9% above that of the mean of all labels.
    """
    learned, held_out = part.design.roles == LEARNED, part.design.roles == HELD_OUT
    if not held_out.any():
        return 0.0, 1.0
    u, v, g = _influences(part)
    if not learned.any():
        return _clip_to_unit(float(v @ g / (g @ g)) if g.any() else 0.0), 1.0
    # estimate = mean_T + a (mean_H - mean_T) - a lam (mean_H(f) - mean_all(f)).
    columns = np.stack([v - u, -g], axis=1)
    a, minus_b = np.linalg.lstsq(columns, -u, rcond=None)[0]
    lam = _clip_to_unit(float(minus_b / a)) if a > 0 else 0.0
    rest = v - lam * g
    worth = float(v @ v) / max(float(rest @ rest), np.finfo(np.float64).tiny)
    return lam, float(np.clip(worth, 1, _MAX_HELD_OUT_WORTH))


def held_out_share(design: LabelDesign, worth: float) -> float:
    """Return the weight `a` of the held-out labels, given the effective numbers of labels."""
    n_learned = _effective_size(design.weights[design.roles == LEARNED])
    n_held_out = worth * _effective_size(design.weights[design.roles == HELD_OUT])
    return n_held_out / (n_held_out + n_learned)


def estimate_at(part: Stratum, *, lam: float, share: float) -> StratumMean:
    """Compute the estimate and its cluster-robust variance for given `lam` and `a`."""
    design, labels = part.design, part.labels
    learned, held_out = design.roles == LEARNED, design.roles == HELD_OUT
    value, coefficients = 0.0, np.zeros(len(labels))
    if share < 1:
        w = design.weights[learned] / design.weights[learned].sum()
        value += (1 - share) * float(w @ labels[learned])
        coefficients[learned] = (1 - share) * w
    if share > 0:
        value += share * _prediction_powered_mean(design, labels, part.scores, lam)
        coefficients[held_out] = share * design.weights[held_out] / design.weights[held_out].sum()
    u, v, g = _influences(part)
    influence = (1 - share) * u + share * (v - lam * g)
    per_unit = part.sum_by_unit(np.abs(coefficients))
    effective = float(1 / (per_unit @ per_unit))
    # Degrees of freedom lost to the fitted parameters.
    lost = _FITTED_PARAMETERS / max(effective, 2 * _FITTED_PARAMETERS)
    return StratumMean(value, float(influence @ influence) / (1 - lost), influence, effective)


def _prediction_powered_mean(
    design: LabelDesign, labels: Array, scores: Array, lam: float
) -> float:
    """Return mean_H(y - lam f) + lam mean_all(f), with learned posts replaced by held-out ones."""
    from ppi_py import ppi_mean_pointestimate

    held_out, unseen = design.roles == HELD_OUT, design.roles != LEARNED
    replacement = 1 + float(np.count_nonzero(~unseen) / np.count_nonzero(held_out))
    point = ppi_mean_pointestimate(
        labels[held_out],
        scores[held_out],
        scores[unseen],
        lam=lam,
        w=design.weights[held_out],
        w_unlabeled=np.where(held_out[unseen], replacement, 1.0),
    )
    return float(np.asarray(point).item())


def _influences(part: Stratum) -> tuple[Array, Array, Array]:
    """Return the influence of each unit on three parts of the estimate, (U,) each.

    They are mean_T(y), mean_H(y), and mean_H(f) - mean_all(f).
    """
    learned, held_out = part.design.roles == LEARNED, part.design.roles == HELD_OUT
    scores = part.scores
    u = _weighted_mean_influence(part, learned, part.labels)
    v = _weighted_mean_influence(part, held_out, part.labels)
    g = np.zeros_like(v)
    if held_out.any():
        n, unseen = len(scores), ~learned
        off = np.zeros(n)
        off[unseen] = (scores[unseen] - scores[unseen].mean()) / n
        off[held_out] += (
            np.count_nonzero(learned)
            / n
            * (scores[held_out] - scores[held_out].mean())
            / held_out.sum()
        )
        # Both means are scaled alike: where every post is labelled, they cancel out.
        scale = _degrees_of_freedom_scale(part, held_out)
        g = _weighted_mean_influence(part, held_out, scores) - scale * part.sum_by_unit(off)
        if np.abs(g).max() < _ROUNDING * np.abs(scores).max():
            g = np.zeros_like(g)
    return u, v, g


def _weighted_mean_influence(part: Stratum, rows: Bools, values: Array) -> Array:
    """Return the influence of each unit on the weighted mean of some posts' values, (U,).

    Scaled up for the degree of freedom lost to the mean, which is estimated from the same units.
    """
    influence = np.zeros(len(values))
    if not rows.any():
        return part.sum_by_unit(influence)
    w = part.design.weights[rows] / part.design.weights[rows].sum()
    influence[rows] = w * (values[rows] - w @ values[rows])
    return part.sum_by_unit(influence) * _degrees_of_freedom_scale(part, rows)


def _degrees_of_freedom_scale(part: Stratum, rows: Bools) -> float:
    """Return the factor that makes up for the degree of freedom lost to a weighted mean."""
    weight = np.where(rows, part.design.weights, 0.0)
    per_unit = part.sum_by_unit(weight / weight.sum())
    lost = min(float(per_unit @ per_unit), 0.5)  # 1 / effective number of units
    return float((1 - lost) ** -0.5)


def _effective_size(weights: Array) -> float:
    """Return Kish's effective sample size."""
    return float(weights.sum() ** 2 / (weights @ weights)) if len(weights) else 0.0


def _clip_to_unit(lam: float) -> float:
    return float(np.clip(lam, 0, 1))
