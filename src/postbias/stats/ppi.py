"""Prediction-powered estimates of the mean label of all posts, from few labels and many scores.

With T the learned labels (folds train and valid), H the held-out labels (calib and test), y the
labels, f the scores, and label means weighted by 1 / inclusion probability:

    estimate = (1 - a) mean_T(y) + a [ mean_H(y - lam f) + lam mean_all(f) ]

The bracket is the estimator of Angelopoulos et al. (Science 2023) with the power tuning of PPI++,
computed by `ppi_py`. That library has no clusters, no second kind of labels and no small groups, so
the variances are computed here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array
from postbias.stats.estimates import PRIOR_AUTHORS, MeanEstimate, SampleSizes

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

#: Role of a post: no label, a label that the student learned from, or a held-out label.
UNLABELLED, LEARNED, HELD_OUT = 0, 1, 2

#: Minimum numbers of labels and of their authors for an estimate.
MIN_LABELS, MIN_AUTHORS = 10, 5

# `lam` and `a` are fitted to the same authors, which biases the variance downwards.
_FITTED_PARAMETERS = 2
# Maximum weight of a held-out label relative to a learned one, in case there are few labels.
_MAX_HELD_OUT_WORTH = 50.0


@dataclass(frozen=True, slots=True)
class LabelDesign:
    """Which of the scored posts have a label, and how the label was used and sampled.

    The student's errors are too small on posts that it was trained or selected on, so its error is
    estimated from held-out labels only; learned ones contribute as labels. The scores of learned
    posts do not represent those of other posts either: in the mean score of all posts they are
    replaced by held-out ones, since both are random parts of one sample. Folds are assigned by
    author, with equal probability for all, so a held-out label needs no additional weight.

    Attributes:
        authors: Author index of each post. (N,)
        roles: `UNLABELLED`, `LEARNED` or `HELD_OUT`. (N,)
        weights: 1 / inclusion probability of labelled posts; 0 for the others. (N,)
    """

    authors: Ints
    roles: npt.NDArray[np.int8]
    weights: Array

    def subset(self, rows: Bools) -> LabelDesign:
        """Return the design of the posts in a mask (N,)."""
        return LabelDesign(self.authors[rows], self.roles[rows], self.weights[rows])


@dataclass(frozen=True, slots=True)
class EstimatorTuning:
    """Parameters of the estimator, tuned on all posts.

    Groups of posts use the same `lam`, and `held_out_worth` instead of `a`. The estimate is
    unbiased for any fixed values.

    Attributes:
        lam: Weight of the scores: 0 ignores them, 1 trusts them fully.
        held_out_worth: Number of learned labels that one held-out label is worth.
        author_variance: Variance per author (see `MeanEstimate.effective_authors`), which the
            variance of small groups is shrunk toward.
    """

    lam: float
    held_out_worth: float
    author_variance: float


def tune_estimator(design: LabelDesign, labels: Array, scores: Array) -> EstimatorTuning:
    """Find the parameters that minimise the variance of the estimate for all posts.

    Args:
        design: Design of all posts.
        labels: The teacher's label; NaN without a label. (N,)
        scores: The student's score. (N,)

    Returns:
        The parameters; `lam` is 0 if no label is held out.
    """
    learned, held_out = design.roles == LEARNED, design.roles == HELD_OUT
    if not held_out.any():
        mean = _combine(design, labels, scores, lam=0.0, share=0.0)
        return EstimatorTuning(0.0, 1.0, mean.variance * mean.effective_authors)
    u, v, g = _influences(design, labels, scores)
    if not learned.any():
        lam, share = _clip_to_unit(float(v @ g / (g @ g)) if g.any() else 0.0), 1.0
    else:
        # estimate = mean_T + a (mean_H - mean_T) - a lam (mean_H(f) - mean_all(f)): least squares.
        columns = np.stack([v - u, -g], axis=1)
        a, minus_b = np.linalg.lstsq(columns, -u, rcond=None)[0]
        lam = _clip_to_unit(float(minus_b / a)) if a > 0 else 0.0
        share = float(np.clip(a, 1e-6, 1 - 1e-6))
    n_learned = _effective_size(design.weights[learned])
    n_held_out = _effective_size(design.weights[held_out])
    worth = (
        float(np.clip(share / (1 - share) * n_learned / n_held_out, 1, _MAX_HELD_OUT_WORTH))
        if learned.any()
        else 1.0
    )
    mean = _combine(design, labels, scores, lam=lam, share=_held_out_share(design, worth))
    return EstimatorTuning(lam, worth, mean.variance * mean.effective_authors)


def estimate_mean(
    design: LabelDesign, labels: Array, scores: Array, tuning: EstimatorTuning
) -> MeanEstimate:
    """Estimate the mean label of all posts of a design.

    The variance adds up the influence of authors instead of posts, since posts of one author
    resemble each other. It treats authors and posts as a sample of an infinite population: for a
    finite corpus it is slightly too large, never too small.

    Args:
        design: Design of all posts, or of a group of them.
        labels: The teacher's label; NaN without a label. (N,)
        scores: The student's score. (N,)
        tuning: Parameters tuned on all posts.

    Returns:
        The estimate; NaN with fewer than `MIN_LABELS` labels or `MIN_AUTHORS` authors.
    """
    labelled = design.roles != UNLABELLED
    if labelled.sum() < MIN_LABELS or len(np.unique(design.authors[labelled])) < MIN_AUTHORS:
        return _undefined_mean(design, scores)
    share = _held_out_share(design, tuning.held_out_worth)
    raw = _combine(design, labels, scores, lam=tuning.lam, share=share)
    return _moderate_variance(raw, tuning.author_variance)


def estimate_mean_from_labels(
    design: LabelDesign, labels: Array, scores: Array, tuning: EstimatorTuning
) -> MeanEstimate:
    """Estimate the mean from the labels alone, for comparison.

    Args:
        design: Design of the posts.
        labels: The teacher's label; NaN without a label. (N,)
        scores: The student's score; used for the plug-in estimate only. (N,)
        tuning: Parameters tuned on all posts with `labels_only_design`.

    Returns:
        The weighted mean of all labels; NaN as in `estimate_mean`.
    """
    return estimate_mean(labels_only_design(design), labels, scores, tuning)


def labels_only_design(design: LabelDesign) -> LabelDesign:
    """Mark all labels as learned, so that the estimator is the weighted mean of the labels."""
    roles = np.where(design.roles == UNLABELLED, UNLABELLED, LEARNED).astype(np.int8)
    return LabelDesign(design.authors, roles, design.weights)


def _held_out_share(design: LabelDesign, worth: float) -> float:
    """Return the weight `a` of the held-out labels, given the effective numbers of labels."""
    n_learned = _effective_size(design.weights[design.roles == LEARNED])
    n_held_out = worth * _effective_size(design.weights[design.roles == HELD_OUT])
    return n_held_out / (n_held_out + n_learned)


def _combine(
    design: LabelDesign, labels: Array, scores: Array, *, lam: float, share: float
) -> MeanEstimate:
    """Compute the estimate and its cluster-robust variance for given `lam` and `a`."""
    learned, held_out = design.roles == LEARNED, design.roles == HELD_OUT
    value, coefficients = 0.0, np.zeros(len(labels))
    if share < 1:
        w = design.weights[learned] / design.weights[learned].sum()
        value += (1 - share) * float(w @ labels[learned])
        coefficients[learned] = (1 - share) * w
    if share > 0:
        value += share * _prediction_powered_mean(design, labels, scores, lam)
        coefficients[held_out] = share * design.weights[held_out] / design.weights[held_out].sum()
    u, v, g = _influences(design, labels, scores)
    influence = (1 - share) * u + share * (v - lam * g)
    per_author = _sum_by_author(design, np.abs(coefficients))
    effective = float(1 / (per_author @ per_author))
    # Degrees of freedom lost to the fitted parameters.
    lost = _FITTED_PARAMETERS / max(effective, 2 * _FITTED_PARAMETERS)
    return MeanEstimate(
        value=value,
        variance=float(influence @ influence) / (1 - lost),
        influence=influence,
        effective_authors=effective,
        plug_in=float(scores.mean()),
        sizes=_count(design),
    )


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


def _influences(design: LabelDesign, labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Return the influence of each author on three parts of the estimate, (A,) each.

    They are mean_T(y), mean_H(y), and mean_H(f) - mean_all(f).
    """
    learned, held_out = design.roles == LEARNED, design.roles == HELD_OUT
    u = _weighted_mean_influence(design, learned, labels)
    v = _weighted_mean_influence(design, held_out, labels)
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
        g = _weighted_mean_influence(design, held_out, scores) - _sum_by_author(design, off)
    return u, v, g


def _weighted_mean_influence(design: LabelDesign, rows: Bools, values: Array) -> Array:
    """Return the influence of each author on the weighted mean of some posts' values, (A,).

    Scaled up for the degree of freedom lost to the mean, which is estimated from the same authors.
    """
    influence, weight = np.zeros(len(values)), np.zeros(len(values))
    if not rows.any():
        return _sum_by_author(design, influence)
    w = design.weights[rows] / design.weights[rows].sum()
    influence[rows], weight[rows] = w * (values[rows] - w @ values[rows]), w
    per_author = _sum_by_author(design, weight)
    lost = min(float(per_author @ per_author), 0.5)  # 1 / effective number of authors
    return _sum_by_author(design, influence) * float((1 - lost) ** -0.5)


def _sum_by_author(design: LabelDesign, values: Array) -> Array:
    return np.bincount(design.authors, values).astype(np.float64)


def _moderate_variance(raw: MeanEstimate, author_variance: float) -> MeanEstimate:
    """Shrink the variance of a mean over few authors toward the variance of all posts."""
    own = raw.effective_authors - 1
    prior = author_variance / raw.effective_authors
    return replace(
        raw, variance=(own * raw.variance + PRIOR_AUTHORS * prior) / (own + PRIOR_AUTHORS)
    )


def _undefined_mean(design: LabelDesign, scores: Array) -> MeanEstimate:
    plug_in = float(scores.mean()) if len(scores) else np.nan
    return MeanEstimate(np.nan, np.nan, np.zeros(1), 1.0, plug_in, _count(design))


def _count(design: LabelDesign) -> SampleSizes:
    labelled, held_out = design.roles != UNLABELLED, design.roles == HELD_OUT
    authors = int(np.count_nonzero(np.bincount(design.authors)))
    return SampleSizes(len(labelled), int(labelled.sum()), int(held_out.sum()), authors)


def _effective_size(weights: Array) -> float:
    """Return Kish's effective sample size."""
    return float(weights.sum() ** 2 / (weights @ weights)) if len(weights) else 0.0


def _clip_to_unit(lam: float) -> float:
    return float(np.clip(lam, 0, 1))
