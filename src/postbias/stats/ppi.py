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

from postbias.stats.bootstrap import Array
from postbias.stats.estimates import PRIOR_AUTHORS, MeanEstimate, SampleSizes, combine_strata
from postbias.stats.label_design import (
    HELD_OUT,
    UNLABELLED,
    LabelDesign,
)
from postbias.stats.strata import ANY_FOLD, NEVER_HELD_OUT, Bools
from postbias.stats.stratum_mean import (
    Stratum,
    estimate_at,
    held_out_share,
    minimise_variance,
)

#: Minimum numbers of labels and of their authors for an estimate.
MIN_LABELS, MIN_AUTHORS = 10, 5


@dataclass(frozen=True, slots=True)
class EstimatorTuning:
    """Parameters of the estimator, tuned on all posts.

    Groups of posts use the same `lam`, and `held_out_worth` instead of `a`. The estimate is
    unbiased for any fixed values.

    Attributes:
        lam: Weight of the scores: 0 ignores them, 1 trusts them fully.
        held_out_worth: Number of learned labels that one held-out label is worth.
        author_variance: Variance per effective author, which the variance of small groups is
            shrunk toward.
        label_variance: Variance of the labels of posts, for the strata of dominant authors.
    """

    lam: float
    held_out_worth: float
    author_variance: float
    label_variance: float


def tune_estimator(design: LabelDesign, labels: Array, scores: Array) -> EstimatorTuning:
    """Find the parameters that minimise the variance of the estimate for all posts.

    Args:
        design: Design of all posts.
        labels: The teacher's label; NaN without a label. (N,)
        scores: The student's score. (N,)

    Returns:
        The parameters; `lam` is 0 if no label is held out.
    """
    part, is_usable = _ordinary_posts(design, labels, scores)
    lam, worth = minimise_variance(part) if is_usable else (0.0, 1.0)
    return with_own_variances(EstimatorTuning(lam, worth, 0.0, 0.0), design, labels, scores)


def with_own_variances(
    tuning: EstimatorTuning, design: LabelDesign, labels: Array, scores: Array
) -> EstimatorTuning:
    """Keep `lam` and the worth of a held-out label, and compute the variances of other labels.

    Args:
        tuning: Parameters tuned on other labels of the same posts.
        design: Design of all posts.
        labels: The teacher's label; NaN without a label. (N,)
        scores: The student's score. (N,)

    Returns:
        The parameters with the variances of these labels and scores.
    """
    is_labelled = design.roles != UNLABELLED
    label_variance = _weighted_variance(labels[is_labelled], design.weights[is_labelled])
    part, is_usable = _ordinary_posts(design, labels, scores)
    author_variance = label_variance  # an upper bound: authors differ less than single labels
    if is_usable:
        share = held_out_share(part.design, tuning.held_out_worth)
        mean = estimate_at(part, lam=tuning.lam, share=share)
        author_variance = mean.variance * mean.effective_units
    return replace(tuning, author_variance=author_variance, label_variance=label_variance)


def _ordinary_posts(design: LabelDesign, labels: Array, scores: Array) -> tuple[Stratum, bool]:
    """Select the posts of authors that can be in any fold; tell whether they are enough."""
    strata = design.strata
    rows = strata.index == ANY_FOLD
    part = _select_stratum(rows, design, labels, scores)
    authors = part.design.authors[part.design.roles != UNLABELLED]
    return part, len(np.unique(authors)) >= MIN_AUTHORS


def estimate_mean(
    design: LabelDesign, labels: Array, scores: Array, tuning: EstimatorTuning
) -> MeanEstimate:
    """Estimate the mean label of all posts of a design.

    The variance adds up the influence of authors instead of posts, since posts of one author
    resemble each other. It treats authors and posts as a sample of an infinite population: for a
    finite corpus it is slightly too large, never too small. Dominant authors are taken as given;
    only their posts are a sample.

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
    strata = design.strata
    shares, means = [], []
    for index in np.flatnonzero(np.bincount(strata.index)):
        rows = strata.index == index
        part = _select_stratum(rows, design, labels, scores)
        is_shared = index in {ANY_FOLD, NEVER_HELD_OUT}
        prior = tuning.author_variance if is_shared else tuning.label_variance
        shares.append(float(rows.mean()))
        means.append(_estimate_stratum(part, tuning, prior))
    # A dominant author without labels may differ from the others as much as labels do.
    extra = [float(share**2) * tuning.label_variance for share in strata.unlabelled_shares]
    return replace(combine_strata(shares, means, extra), plug_in=float(scores.mean()))


def _select_stratum(rows: Bools, design: LabelDesign, labels: Array, scores: Array) -> Stratum:
    units = design.strata.units
    if rows.all():
        return Stratum(design, units, labels, scores)
    return Stratum(design.subset(rows), units[rows], labels[rows], scores[rows])


def _estimate_stratum(part: Stratum, tuning: EstimatorTuning, prior: float) -> MeanEstimate:
    """Estimate the mean of a stratum; the variance of few units is shrunk toward the prior."""
    raw = estimate_at(
        part, lam=tuning.lam, share=held_out_share(part.design, tuning.held_out_worth)
    )
    own = raw.effective_units - 1
    shrunk = own * raw.variance + PRIOR_AUTHORS * prior / raw.effective_units
    return MeanEstimate(
        value=raw.value,
        variance=shrunk / (own + PRIOR_AUTHORS),
        influence=raw.influence,
        degrees_of_freedom=own + PRIOR_AUTHORS,
        plug_in=float(part.scores.mean()),
        sizes=_count(part.design),
    )


def _weighted_variance(values: Array, weights: Array) -> float:
    if not len(values):
        return 0.0
    mean = np.average(values, weights=weights)
    return float(np.average((values - mean) ** 2, weights=weights))


def _undefined_mean(design: LabelDesign, scores: Array) -> MeanEstimate:
    plug_in = float(scores.mean()) if len(scores) else np.nan
    return MeanEstimate(np.nan, np.nan, np.zeros(1), 1.0, plug_in, _count(design))


def _count(design: LabelDesign) -> SampleSizes:
    labelled, held_out = design.roles != UNLABELLED, design.roles == HELD_OUT
    authors = int(np.count_nonzero(np.bincount(design.authors)))
    return SampleSizes(len(labelled), int(labelled.sum()), int(held_out.sum()), authors)
