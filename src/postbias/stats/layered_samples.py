"""Regressions on each of the overlapping samples of a rated corpus.

`postbias.stats.people_estimates` explains the estimator that they are part of.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from postbias.stats.bootstrap import Array
from postbias.stats.label_design import HELD_OUT, LEARNED, UNLABELLED
from postbias.stats.rated_corpus import RatedCorpus
from postbias.stats.strata import ANY_FOLD, Ints
from postbias.stats.weighted_fit import WeightedFit, fit_weighted, sample_weights

# Leverage is negligible in larger samples.
_MAX_ADJUSTED = 20_000


@dataclass(frozen=True, slots=True)
class LayeredSamples:
    """Regressions of ratings, labels and scores on the samples where they are known.

    Attributes:
        units: Independent unit of each post: its author, or the post itself if its author wrote
            more than 5% of all posts. (N,)
        strata: Stratum of each post in the sample of rated posts; `None` without strata. (N,)
        frame: Weight of each post in the frame of that sample: 1, or if the rated posts were drawn
            from the labelled ones, 1 / probability of being labelled. (N,)
        ratings: Ratings of rated posts.
        rated_labels: Labels of rated posts; `None` if there are none, as for the others.
        labels: Labels of the teacher's sample.
        held_out_scores: Scores of held-out posts.
        unseen_scores: Scores of all posts that the student did not learn from.
        rated_scores: Scores of rated posts; without learned ones if drawn from labelled posts.
        represented_scores: Scores of the posts that these represent: all, or all unseen ones.
        scores: Scores of all posts.
    """

    units: Ints
    strata: Ints | None
    frame: Array
    ratings: WeightedFit
    rated_labels: WeightedFit | None
    labels: WeightedFit | None
    held_out_scores: WeightedFit | None
    unseen_scores: WeightedFit | None
    rated_scores: WeightedFit | None
    represented_scores: WeightedFit | None
    scores: WeightedFit

    @classmethod
    def of(cls, corpus: RatedCorpus, covariates: Array) -> LayeredSamples:
        """Regress every layer on the covariates (N, P) of a corpus with rated posts."""
        design, strata = corpus.design, corpus.design.strata
        units = strata.units
        rated = sample_weights(corpus.rating_weights, corpus.is_rated)
        # Whether an author is held out is random only for those who can be in any fold.
        is_ordinary = strata.index == ANY_FOLD
        is_unseen = is_ordinary & (design.roles != LEARNED)

        def fit(values: Array, weights: Array) -> WeightedFit | None:
            if not weights.any():
                return None
            is_small = np.count_nonzero(weights) < _MAX_ADJUSTED
            return fit_weighted(covariates, values, weights, units=units if is_small else None)

        is_labelled = design.roles != UNLABELLED
        held_out = sample_weights(_held_out_weights(corpus), is_ordinary)
        scores = fit_weighted(covariates, corpus.scores, np.ones(len(units)))
        unseen_scores = (
            fit_weighted(covariates, corpus.scores, is_unseen.astype(np.float64))
            if is_unseen.any()
            else None
        )
        if is_subsample := bool(is_labelled[corpus.is_rated].all()):
            # Learned posts are more frequent among labelled posts than among all, and their scores
            # are closer to their labels, so that they represent no others.
            factor = held_out / np.where(is_labelled, design.weights, 1.0)
            rated_scores = fit(corpus.scores, rated * factor)
        else:
            rated_scores = fit(corpus.scores, rated)
        return cls(
            units,
            corpus.rating_strata if corpus.rating_strata.any() else None,
            design.weights if is_subsample else np.ones(len(units)),
            fit_weighted(covariates, corpus.ratings, rated, units=units),
            fit(corpus.labels, sample_weights(rated, np.isfinite(corpus.labels))),
            fit(corpus.labels, sample_weights(design.weights, is_labelled)),
            fit(corpus.scores, held_out),
            unseen_scores,
            rated_scores,
            unseen_scores if is_subsample else scores,
            scores,
        )

    @property
    def mean_contrast(self) -> Array:
        """The linear combination (P,) that is the mean of all posts."""
        mean: Array = self.scores.covariates.mean(axis=0)
        return mean

    def plug_in(self, contrast: Array) -> float:
        """Return a linear combination (P,) of the coefficients of the scores of all posts."""
        return float(contrast @ self.scores.coefficients)

    def rated(self, contrast: Array) -> tuple[float, Array]:
        """Return the linear combination for the ratings alone, and its influence (U,)."""
        value = float(contrast @ self.ratings.coefficients)
        return value, self._influence(self.ratings, contrast, self.strata)

    def brackets(self, contrast: Array) -> tuple[Array, Array]:
        """Return the differences between pairs of samples, (3,), and their influences, (U, 3).

        The expectation of each is 0; one that cannot be computed is 0.
        """
        is_all = self.represented_scores is self.scores
        pairs = (
            (self.rated_labels, self.labels, self.strata),
            (self.held_out_scores, self.unseen_scores, None),
            # Only the number of all rated posts in a stratum is fixed, not that of held-out ones.
            (self.rated_scores, self.represented_scores, self.strata if is_all else None),
        )
        offsets, influences = np.zeros(3), np.zeros((self._n_units, 3))
        for column, (first, second, strata) in enumerate(pairs):
            if first is None or second is None:
                continue
            if first.identifies(contrast) and second.identifies(contrast):
                offsets[column] = contrast @ (first.coefficients - second.coefficients)
                influences[:, column] = self._influence(first, contrast, strata)
                influences[:, column] -= self._influence(second, contrast, None)
        return offsets, influences

    def teacher(self, contrast: Array) -> tuple[float, Array]:
        """Return the linear combination for the teacher's labels, and its influence (U,).

        Like the estimate for people, it is tuned with the student's scores.
        """
        if self.labels is None or not self.labels.identifies(contrast):
            return np.nan, np.zeros(self._n_units)
        offsets, influences = self.brackets(contrast)
        own, control = self._influence(self.labels, contrast, None), influences[:, 1]
        lam = float(own @ control / (control @ control)) if control.any() else 0.0
        value = float(contrast @ self.labels.coefficients) - lam * float(offsets[1])
        return value, own - lam * control

    def degrees_of_freedom(self, contrast: Array) -> float:
        """Return the degrees of freedom of the variance of the ratings.

        Satterthwaite's approximation for units of equal variance: for the difference between a
        small and a large group, little more than the size of the small one.
        """
        squares = self.ratings.leverage(contrast) ** 2
        per_unit = np.bincount(self.units[self.ratings.rows], squares)
        return float(per_unit.sum() ** 2 / (per_unit @ per_unit)) - 1

    @property
    def _n_units(self) -> int:
        return int(self.units.max()) + 1

    def _influence(self, fit: WeightedFit, contrast: Array, strata: Ints | None) -> Array:
        return fit.influence(contrast, self.units, strata=strata, frame=self.frame)


def _held_out_weights(corpus: RatedCorpus) -> Array:
    """Return weights with which held-out posts represent all posts that are not learned, (N,).

    A post is labelled with probability p and then held out with probability h, so among the posts
    that are not learned it is held out with probability p h / (1 - p (1 - h)).
    """
    design = corpus.design
    is_held_out, is_labelled = design.roles == HELD_OUT, design.roles != UNLABELLED
    total = design.weights[is_labelled].sum()
    held_out = design.weights[is_held_out].sum() / total if total else 0.0
    weights = np.maximum(design.weights - (1 - held_out), 0.0)
    return np.where(is_held_out, weights, 0.0)
