"""Corrected means and shares of the whole corpus and of groups, with 95% intervals.

The estimand is the mean label that the teacher would give, over all posts that the champion can
score. Each estimate is reported with the plug-in estimate (the plain mean of the student's scores,
which are shrunk toward the mean) and with the estimate from the labels alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from postbias.axes import BAND_NAMES, Axis
from postbias.population.cross_fitted_scores import Transform
from postbias.population.groups import Groups
from postbias.population.later_posts import describe_later_posts
from postbias.population.scored_corpus import ScoredCorpus
from postbias.population.stratum_report import describe_strata
from postbias.stats import ppi
from postbias.stats.bootstrap import CONFIDENCE_LEVEL, Array, Estimate
from postbias.stats.estimates import MeanEstimate, estimate_difference_of_means, plug_in_error
from postbias.stats.label_design import (
    HELD_OUT,
    LEARNED,
    UNLABELLED,
    LabelDesign,
    labels_only_design,
)
from postbias.stats.metrics import band_indices
from postbias.stats.ppi import EstimatorTuning
from postbias.stats.strata import Bools, Ints

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Estimand:
    """A mean or a share that is estimated for every group of posts.

    Attributes:
        name: Its key in the reports, such as `bias` or `share_high`.
        bounds: Smallest and largest possible value; None for a share.
        labels: Value by the label; NaN for posts without a label. (N,)
        scores: Value by the score of a student that has not seen the label. (N,)
        plain: Value by the champion's score, for the plug-in estimate. (N,)
        tuning: How much the estimate relies on the scores.
        labels_only_tuning: Tuning of the estimate from the labels alone.
    """

    name: str
    bounds: tuple[float, float] | None
    labels: Array
    scores: Array
    plain: Array
    tuning: EstimatorTuning
    labels_only_tuning: EstimatorTuning

    def interval(self, mean: MeanEstimate) -> Estimate:
        """Return the value of an estimate and its 95% interval."""
        return mean.share_interval() if self.bounds is None else mean.interval(*self.bounds)


def build_estimands(corpus: ScoredCorpus) -> tuple[Estimand, ...]:
    """Prepare the mean of each axis and the share of each band of the main axis.

    Args:
        corpus: All scored posts.

    Returns:
        Estimands named `<axis>` for means and `share_<band>` for shares.
    """
    estimands = []
    for axis in corpus.axes:
        values = (
            corpus.labels[axis.name],
            corpus.scores_to_estimate(axis.name, lambda scores: scores),
            corpus.scores[axis.name],
        )
        estimands.append(_tune_estimand(corpus, axis.name, (axis.low, axis.high), values))
    main = corpus.axes[0]
    labels = corpus.labels[main.name]
    label_bands = band_indices(np.nan_to_num(labels), main)
    shares = {}
    for i, band in enumerate(BAND_NAMES):
        in_band = _band_indicator(main, i)
        plain = in_band(corpus.scores[main.name])
        shares[band] = (
            np.where(np.isnan(labels), np.nan, label_bands == i),
            corpus.scores_to_estimate(main.name, in_band) if corpus.cross_fitted else plain,
            plain,
        )
    # All bands rely equally on the scores, so that the three shares add up to 1: as the high band
    # or, if that is empty, as the next one with labels.
    is_labelled = ~np.isnan(labels)
    reference = next(
        (band for band in reversed(BAND_NAMES) if len(set(shares[band][0][is_labelled])) > 1),
        "high",
    )
    tuned = _tune_estimand(corpus, "", None, shares[reference])
    for band, (in_label, in_score, plain) in shares.items():
        design = corpus.design
        tunings = (
            ppi.with_own_variances(tuned.tuning, design, in_label, in_score),
            ppi.with_own_variances(
                tuned.labels_only_tuning, labels_only_design(design), in_label, in_score
            ),
        )
        estimands.append(Estimand(f"share_{band}", None, in_label, in_score, plain, *tunings))
    return tuple(estimands)


def estimate_means(
    corpus: ScoredCorpus, estimands: Iterable[Estimand], rows: Bools
) -> dict[str, MeanEstimate]:
    """Estimate every estimand for a subset of posts.

    Args:
        corpus: All scored posts.
        estimands: What to estimate.
        rows: Mask of the subset. (N,)

    Returns:
        Estimate by name of the estimand.
    """
    at = _index_rows(rows)
    return _estimate_selected(corpus.design.subset(at), estimands, at)


def _index_rows(rows: Bools) -> Ints | slice:
    """Return an index of the rows in a mask; that of all rows copies nothing."""
    return slice(None) if rows.all() else np.flatnonzero(rows)


def _estimate_selected(
    design: LabelDesign, estimands: Iterable[Estimand], at: Ints | slice
) -> dict[str, MeanEstimate]:
    return {
        estimand.name: replace(
            ppi.estimate_mean(design, estimand.labels[at], estimand.scores[at], estimand.tuning),
            plug_in=float(estimand.plain[at].mean()) if len(design.authors) else np.nan,
        )
        for estimand in estimands
    }


def estimate_rows(corpus: ScoredCorpus, estimands: Iterable[Estimand], rows: Bools) -> Json:
    """Estimate every estimand for a subset of posts, as JSON.

    Args:
        corpus: All scored posts.
        estimands: What to estimate.
        rows: Mask of the subset. (N,)

    Returns:
        `posts`, `labels`, `held_out`, `authors`, `posts_without_author`, and for each estimand
        `value`, `lo`, `hi`, the plug-in estimate (`uncorrected`), its error (`uncorrected_error`),
        and `labels_alone`.
    """
    estimands = tuple(estimands)
    at = _index_rows(rows)
    design = corpus.design.subset(at)
    alone_design = labels_only_design(design)
    means = _estimate_selected(design, estimands, at)
    counts = means[estimands[0].name].sizes
    result: Json = {"posts": counts.posts, "labels": counts.labels, "held_out": counts.held_out}
    result |= corpus.count_authors(rows).as_dict()
    for estimand in estimands:
        mean = means[estimand.name]
        labels_only = ppi.estimate_mean(
            alone_design, estimand.labels[at], estimand.scores[at], estimand.labels_only_tuning
        )
        result[estimand.name] = estimand.interval(mean).as_dict() | {
            "uncorrected": mean.plug_in,
            "uncorrected_error": plug_in_error(design.strata, estimand.plain[at], mean).as_dict(),
            "labels_alone": estimand.interval(labels_only).as_dict(),
        }
    return result


def estimate_population(
    corpus: ScoredCorpus, estimands: tuple[Estimand, ...], groups: Groups
) -> Json:
    """Estimate every estimand for all posts and for each group, and the differences of groups.

    Args:
        corpus: All scored posts.
        estimands: What to estimate.
        groups: Groups of posts, and the pairs to compare.

    Returns:
        The content of `reports/population.json`.
    """
    all_rows = np.ones(len(corpus), dtype=bool)
    side = corpus.design.roles
    result: Json = {
        "estimand": "mean label the teacher would give, over posts the champion can score",
        "level": CONFIDENCE_LEVEL,
        "n": {
            "posts": corpus.n_posts,
            "scored": len(corpus),
            "labels": int((side != UNLABELLED).sum()),
            "learned": int((side == LEARNED).sum()),
            "held_out": int((side == HELD_OUT).sum()),
            "lost_labels": corpus.n_lost_labels,
        },
        "tuning": {
            e.name: {"lambda": e.tuning.lam, "held_out_worth": e.tuning.held_out_worth}
            for e in estimands
        },
        "strata": describe_strata(corpus),
        "all": estimate_rows(corpus, estimands, all_rows),
        "groups": {
            kind: {name: estimate_rows(corpus, estimands, rows) for name, rows in members.items()}
            for kind, members in groups.members.items()
        },
        "differences": [
            {"kind": kind, "one": one, "two": two}
            | estimate_difference(
                corpus, estimands, groups.members[kind][one], groups.members[kind][two]
            )
            for kind, one, two in groups.pairs
        ],
    }
    if corpus.n_later:
        result["later_imports"] = describe_later_posts(corpus)
    return result


def estimate_difference(
    corpus: ScoredCorpus, estimands: Iterable[Estimand], first: Bools, second: Bools
) -> Json:
    """Estimate the difference between two groups: the first minus the second.

    Args:
        corpus: All scored posts.
        estimands: What to compare.
        first: Mask of the first group. (N,)
        second: Mask of the second group. (N,)

    Returns:
        `value`, `lo`, `hi` and `uncorrected` for each estimand.
    """
    estimands = tuple(estimands)
    a, b = (estimate_means(corpus, estimands, rows) for rows in (first, second))
    return {
        e.name: estimate_difference_of_means(a[e.name], b[e.name]).as_dict()
        | {"uncorrected": a[e.name].plug_in - b[e.name].plug_in}
        for e in estimands
    }


def _band_indicator(axis: Axis, band: int) -> Transform:
    return lambda scores: (band_indices(scores, axis) == band).astype(np.float64)


def _tune_estimand(
    corpus: ScoredCorpus,
    name: str,
    bounds: tuple[float, float] | None,
    values: tuple[Array, Array, Array],
) -> Estimand:
    """Tune the estimate of a mean, given its labels, scores and plain scores."""
    design = corpus.design
    labels, scores, _ = values
    return Estimand(
        name,
        bounds,
        *values,
        ppi.tune_estimator(design, labels, scores),
        ppi.tune_estimator(labels_only_design(design), labels, scores),
    )
