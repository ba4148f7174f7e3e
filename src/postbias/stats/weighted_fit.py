"""Weighted least squares on a sample of posts, with the influence of each independent unit.

A mean is the coefficient of a constant, a difference between two groups that of an indicator: one
estimator with cluster-robust variance serves all of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.strata import Bools, Ints

# A direction of the covariates with a smaller share of their variation is not identified.
_RANK_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class WeightedFit:
    """Coefficients of a regression on the posts of one sample.

    Attributes:
        rows: Posts of the sample, as indices of all posts. (n,)
        covariates: Covariates of these posts. (n, P)
        weights: Their weights. (n,)
        inverse: Pseudo-inverse of the weighted cross-product of the covariates. (P, P)
        coefficients: Least-squares coefficients. (P,)
        residuals: Residuals, adjusted for leverage if so fitted. (n,)
    """

    rows: Ints
    covariates: Array
    weights: Array
    inverse: Array
    coefficients: Array
    residuals: Array

    def identifies(self, contrast: Array) -> bool:
        """Tell whether the sample determines a linear combination (P,) of the coefficients."""
        cross = (self.covariates * self.weights[:, None]).T @ self.covariates
        missing = contrast - self.inverse @ (cross @ contrast)
        return bool(np.abs(missing).max() <= 1e-6 * np.abs(contrast).max())

    def leverage(self, contrast: Array) -> Array:
        """Return the weight of each post's value in a linear combination (P,), (n,)."""
        leverage: Array = self.weights * (self.covariates @ (self.inverse @ contrast))
        return leverage

    def influence(
        self,
        contrast: Array,
        units: Ints,
        *,
        strata: Ints | None = None,
        frame: Array | None = None,
    ) -> Array:
        """Return the influence of each unit on a linear combination of the coefficients.

        Args:
            contrast: The linear combination. (P,)
            units: Unit of each of all posts. (N,)
            strata: Stratum of each of all posts, if a fixed number of posts per stratum was drawn;
                differences between strata then are no sampling error. (N,)
            frame: With strata, the weight of each post among those that the sample was drawn from;
                by default 1. (N,)

        Returns:
            The influence; its sum of squares is the cluster-robust variance. (U,)
        """
        n_units = int(units.max()) + 1
        per_post = self.leverage(contrast) * self.residuals
        if strata is None:
            return _sum_by(units[self.rows], per_post, n_units)
        stratum, n_strata = strata[self.rows], int(strata.max(initial=0)) + 1
        weights = np.ones(len(strata)) if frame is None else frame
        size, n = _sum_by(strata, weights, n_strata), _sum_by(stratum, None, n_strata)
        # A stratum with one sampled post shows no variance within it: its post counts in full.
        total = np.where((n > 1) & (size > 0), _sum_by(stratum, per_post, n_strata), 0.0)
        within = per_post - (total / np.maximum(n, 1))[stratum]
        if np.count_nonzero(n > 1) > 1:  # that of one stratum is in the adjusted residuals
            within *= np.sqrt(n / np.maximum(n - 1, 1))[stratum]
        # What remains of the differences between strata is the variation of the frame itself.
        between = weights * (total / np.where(size > 0, size, 1.0))[strata]
        return _sum_by(units[self.rows], within, n_units) + _sum_by(units, between, n_units)


def fit_weighted(
    covariates: Array, values: Array, weights: Array, *, units: Ints | None = None
) -> WeightedFit:
    """Regress values on covariates by weighted least squares.

    Args:
        covariates: Covariates of all posts, a constant among them. (N, P)
        values: The outcome. (N,)
        weights: Weight of each post; posts with weight 0 are not in the sample. (N,)
        units: Unit of each post, to adjust the residuals so that the influence of a unit is what
            leaving it out would change (jackknife, CR3), up to sign. Without it, variances of small
            samples are too small (MacKinnon, Nielsen and Webb 2023). (N,)

    Returns:
        The regression.
    """
    rows = np.flatnonzero(weights > 0)
    x, w, y = covariates[rows], weights[rows], values[rows]
    cross = (x * w[:, None]).T @ x
    norm = np.sqrt(np.maximum(np.diag(cross), np.finfo(np.float64).tiny))
    scale = np.outer(norm, norm)  # covariates may have different units
    inverse: Array = np.linalg.pinv(cross / scale, rcond=_RANK_TOLERANCE, hermitian=True) / scale
    coefficients = inverse @ (x.T @ (w * y))
    residuals = y - x @ coefficients
    if units is not None:
        residuals = _leave_one_out_residuals(x, w, inverse, residuals, units[rows])
    return WeightedFit(rows, x, w, inverse, coefficients, residuals)


def _leave_one_out_residuals(
    x: Array, w: Array, inverse: Array, residuals: Array, units: Ints
) -> Array:
    """Return (I - H_u)^-1 e_u of each unit u, with H_u its block of the hat matrix, (n,)."""
    own = w * np.einsum("np,pq,nq->n", x, inverse, x)  # diagonal of the hat matrix
    adjusted: Array = residuals / np.maximum(1 - own, _RANK_TOLERANCE)
    adjusted = np.where(own > 1 - _RANK_TOLERANCE, residuals, adjusted)
    order = np.argsort(units, kind="stable")
    _names, starts, counts = np.unique(units[order], return_index=True, return_counts=True)
    for start, count in zip(starts[counts > 1], counts[counts > 1], strict=True):
        rows = order[start : start + count]
        hat = x[rows] @ inverse @ (x[rows] * w[rows, None]).T
        adjusted[rows] = np.linalg.lstsq(np.eye(count) - hat, residuals[rows], rcond=None)[0]
    return adjusted


def sample_weights(weights: Array, is_sampled: Bools) -> Array:
    """Return the weights of the posts in a mask, and 0 for all others, (N,)."""
    return np.where(is_sampled, weights, 0.0)


def _sum_by(index: Ints, values: Array | None, size: int) -> Array:
    return np.bincount(index, values, minlength=size).astype(np.float64)
