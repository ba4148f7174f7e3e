"""Prediction-powered estimates: what the teacher would say on average of all posts, and how sure.

The student's scores of all posts are precise and wrong; the labels are right and few. The estimate
takes the labels' mean and adds what the scores know beyond them. Three things need care:

- **The student has learned from labels.** Its errors on posts that it was trained on (or stopped
  and chosen by: folds train and valid) are too small, so how wrong it is comes from the held-out
  labels only (calib and test). The others still count, as labels. Nor do scores of learned posts
  stand for scores of other posts: in the mean score of all posts they are replaced by held-out
  ones, since both are random parts of one sample.
- **Not all posts had the same chance** of being labelled: labels count 1 / `probability`.
  Whether a labelled post is held out is drawn by author, with the same chance for all, and so
  needs no weight of its own.
- **Posts of one author resemble each other**, and folds hold whole authors: variances add up the
  influence of authors, not of posts.

So with T the learned and H the held-out labels, y the labels, f the scores, and means over labels
weighted:

    estimate = (1 - a) mean_T(y) + a [ mean_H(y - lam f) + lam mean_all(f) ]

The bracket is the estimator of Angelopoulos et al. (Science 2023) with the power tuning of PPI++,
computed by their library. `lam` and `a` are found on all posts, where they minimise the variance;
parts of the corpus take over `lam`, and in place of `a` how many learned labels a held-out one is
worth. Any fixed values leave the estimate unbiased; the library offers no clusters, no second kind
of labels and no small groups, so variances are ours. They are for an endless stream of such
authors and posts: for the posts at hand alone they are a little too wide, never too narrow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from postbias.stats.bootstrap import Array
from postbias.stats.estimates import PRIOR_AUTHORS, Figure

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.intp]

#: What a post's label was used for.
UNLABELLED, LEARNED, HELD_OUT = 0, 1, 2

#: Fewer labels, or labels of fewer authors, than this give no estimate.
MIN_LABELS, MIN_AUTHORS = 10, 5

# `lam` and `a` are fitted to the same authors, which makes the variance look smaller than it is.
_FITTED = 2
# What a held-out label is worth in learned ones, at most: keeps few labels from excess.
_MAX_WORTH = 50.0


@dataclass(frozen=True, slots=True)
class Study:
    """The posts that have a score, and which of them have a label.

    Attributes:
        authors: Number of each post's author. (N,)
        side: `UNLABELLED`, `LEARNED` or `HELD_OUT`. (N,)
        weights: 1 / inclusion probability of labelled posts; 0 for the others. (N,)
    """

    authors: Ints
    side: npt.NDArray[np.int8]
    weights: Array

    def within(self, rows: Bools) -> Study:
        """Keep a part of the posts.

        Args:
            rows: Which ones. (N,)

        Returns:
            The study of these.
        """
        return Study(self.authors[rows], self.side[rows], self.weights[rows])


@dataclass(frozen=True, slots=True)
class Tuning:
    """How much an estimate leans on scores, found on all posts.

    Attributes:
        lam: How far scores are believed: 0 not at all, 1 point for point.
        worth: How many learned labels a held-out one is worth.
        variance: Variance per author (see `Figure.effective_authors`), for small groups to lean on.
    """

    lam: float
    worth: float
    variance: float


def tune(study: Study, labels: Array, scores: Array) -> Tuning:
    """Find how much to lean on the scores: what gives the least variance for all posts.

    Args:
        study: All posts.
        labels: What the teacher said; NaN where there is no label. (N,)
        scores: What the student said. (N,)

    Returns:
        The tuning; scores are not used (`lam` 0) where nothing is held out.
    """
    learned, held = study.side == LEARNED, study.side == HELD_OUT
    if not held.any():
        figure = _combine(study, labels, scores, lam=0.0, share=0.0)
        return Tuning(0.0, 1.0, figure.variance * figure.effective_authors)
    u, v, g = _parts(study, labels, scores)
    if not learned.any():
        lam, share = _clipped(float(v @ g / (g @ g)) if g.any() else 0.0), 1.0
    else:
        # estimate = mean_T + a (mean_H - mean_T) - a lam (mean_H(f) - mean_all(f)): least squares.
        columns = np.stack([v - u, -g], axis=1)
        a, minus_b = np.linalg.lstsq(columns, -u, rcond=None)[0]
        lam = _clipped(float(minus_b / a)) if a > 0 else 0.0
        share = float(np.clip(a, 1e-6, 1 - 1e-6))
    n_learned, n_held = _kish(study.weights[learned]), _kish(study.weights[held])
    worth = (
        float(np.clip(share / (1 - share) * n_learned / n_held, 1, _MAX_WORTH))
        if (learned.any())
        else 1.0
    )
    figure = _combine(study, labels, scores, lam=lam, share=_share(study, worth))
    return Tuning(lam, worth, figure.variance * figure.effective_authors)


def estimate_mean(study: Study, labels: Array, scores: Array, tuning: Tuning) -> Figure:
    """Estimate the mean label of all posts of a study.

    Args:
        study: The posts: all, or a part of them.
        labels: What the teacher said; NaN where there is no label. (N,)
        scores: What the student said. (N,)
        tuning: What was found on all posts.

    Returns:
        The estimate; NaN with fewer than `MIN_LABELS` labels or `MIN_AUTHORS` authors.
    """
    labelled = study.side != UNLABELLED
    if labelled.sum() < MIN_LABELS or len(np.unique(study.authors[labelled])) < MIN_AUTHORS:
        return _nothing(study, scores)
    raw = _combine(study, labels, scores, lam=tuning.lam, share=_share(study, tuning.worth))
    return _moderated(raw, tuning.variance)


def labels_alone(study: Study, labels: Array, scores: Array, tuning: Tuning) -> Figure:
    """Estimate the same from the labels only, as one would without a student.

    Args:
        study: The posts.
        labels: What the teacher said; NaN where there is no label. (N,)
        scores: What the student said; only their mean is passed on. (N,)
        tuning: What was found on all posts, with the labels alone.

    Returns:
        The weighted mean of all labels; NaN as in `estimate_mean`.
    """
    return estimate_mean(all_learned(study), labels, scores, tuning)


def all_learned(study: Study) -> Study:
    """Take every label for a learned one: the estimator is then the weighted mean of labels.

    Args:
        study: Some posts.

    Returns:
        The same posts with nothing held out.
    """
    side = np.where(study.side == UNLABELLED, UNLABELLED, LEARNED).astype(np.int8)
    return Study(study.authors, side, study.weights)


def _share(study: Study, worth: float) -> float:
    """Return the weight `a` of the held-out part, from how many labels each part has."""
    n_learned = _kish(study.weights[study.side == LEARNED])
    n_held = worth * _kish(study.weights[study.side == HELD_OUT])
    return n_held / (n_held + n_learned)


def _combine(study: Study, labels: Array, scores: Array, *, lam: float, share: float) -> Figure:
    """Compute the estimate and its cluster-robust variance for given `lam` and `a`."""
    learned, held = study.side == LEARNED, study.side == HELD_OUT
    value, coefficients = 0.0, np.zeros(len(labels))
    if share < 1:
        w = study.weights[learned] / study.weights[learned].sum()
        value += (1 - share) * float(w @ labels[learned])
        coefficients[learned] = (1 - share) * w
    if share > 0:
        value += share * _prediction_powered(study, labels, scores, lam)
        coefficients[held] = share * study.weights[held] / study.weights[held].sum()
    u, v, g = _parts(study, labels, scores)
    influence = (1 - share) * u + share * (v - lam * g)
    per_author = _per_author(study, np.abs(coefficients))
    effective = float(1 / (per_author @ per_author))
    return Figure(
        value=value,
        variance=float(influence @ influence) / (1 - _FITTED / max(effective, 2 * _FITTED)),
        influence=influence,
        effective_authors=effective,
        uncorrected=float(scores.mean()),
        n=_counts(study),
    )


def _prediction_powered(study: Study, labels: Array, scores: Array, lam: float) -> float:
    """Return mean_H(y - lam f) + lam mean_all(f), learned posts replaced by held-out ones."""
    from ppi_py import ppi_mean_pointestimate

    held, unseen = study.side == HELD_OUT, study.side != LEARNED
    stand_in = 1 + float(np.count_nonzero(~unseen) / np.count_nonzero(held))
    point = ppi_mean_pointestimate(
        labels[held],
        scores[held],
        scores[unseen],
        lam=lam,
        w=study.weights[held],
        w_unlabeled=np.where(held[unseen], stand_in, 1.0),
    )
    return float(np.asarray(point).item())


def _parts(study: Study, labels: Array, scores: Array) -> tuple[Array, Array, Array]:
    """Return how much each author moves mean_T(y), mean_H(y) and mean_H(f) - mean_all(f): (A,)."""
    learned, held = study.side == LEARNED, study.side == HELD_OUT
    u = _moves(study, learned, labels)
    v = _moves(study, held, labels)
    g = np.zeros_like(v)
    if held.any():
        n, unseen = len(scores), ~learned
        off = np.zeros(n)
        off[unseen] = (scores[unseen] - scores[unseen].mean()) / n
        off[held] += (
            np.count_nonzero(learned) / n * (scores[held] - scores[held].mean()) / held.sum()
        )
        g = _moves(study, held, scores) - _per_author(study, off)
    return u, v, g


def _moves(study: Study, rows: Bools, values: Array) -> Array:
    """Return how much each author moves the weighted mean of some posts' values: (A,).

    Scaled up for having taken the mean from the same authors, as many as they are worth.
    """
    moved, weight = np.zeros(len(values)), np.zeros(len(values))
    if not rows.any():
        return _per_author(study, moved)
    w = study.weights[rows] / study.weights[rows].sum()
    moved[rows], weight[rows] = w * (values[rows] - w @ values[rows]), w
    per_author = _per_author(study, weight)
    lost = min(float(per_author @ per_author), 0.5)  # 1 / effective number of authors
    return _per_author(study, moved) * float((1 - lost) ** -0.5)


def _per_author(study: Study, values: Array) -> Array:
    return np.bincount(study.authors, values).astype(np.float64)


def _moderated(raw: Figure, variance: float) -> Figure:
    """Let the variance of few authors lean on that of all posts."""
    own = raw.effective_authors - 1
    prior = variance / raw.effective_authors
    return replace(
        raw, variance=(own * raw.variance + PRIOR_AUTHORS * prior) / (own + PRIOR_AUTHORS)
    )


def _nothing(study: Study, scores: Array) -> Figure:
    uncorrected = float(scores.mean()) if len(scores) else np.nan
    return Figure(np.nan, np.nan, np.zeros(1), 1.0, uncorrected, _counts(study))


def _counts(study: Study) -> tuple[int, int, int, int]:
    labelled, held = study.side != UNLABELLED, study.side == HELD_OUT
    authors = int(np.count_nonzero(np.bincount(study.authors)))
    return len(labelled), int(labelled.sum()), int(held.sum()), authors


def _kish(weights: Array) -> float:
    """Return how many labels of equal weight these are worth."""
    return float(weights.sum() ** 2 / (weights @ weights)) if len(weights) else 0.0


def _clipped(lam: float) -> float:
    return float(np.clip(lam, 0, 1))
