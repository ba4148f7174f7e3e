"""What one may say of all posts: corrected means and shares, by group, with intervals.

Asks `postbias.stats.ppi` about each group of posts. Every figure is about the label that
the teacher would give, over the posts that the champion can score; beside it stand the student's
plain mean, which pulls to the middle, and what the labels alone would have said. Knows nothing of
brands and of pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from postbias.population.groups import Groups
from postbias.population.scored_corpus import ScoredCorpus
from postbias.stats import ppi as estimator
from postbias.stats.bootstrap import LEVEL, Array, Estimate
from postbias.stats.estimates import Figure, difference, face_value_error
from postbias.stats.metrics import bands
from postbias.stats.ppi import Bools, Tuning

BAND_NAMES = ("low", "moderate", "high")

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Estimand:
    """One number that is estimated in every group: a mean or a share.

    Attributes:
        name: `bias`, `share_high` and the like.
        ends: Least and greatest possible value; none for a share.
        labels: Its value for each labelled post; NaN for the others. (N,)
        scores: The same by the student's score. (N,)
        tuning: How much the estimate leans on scores.
        alone: The same for the labels alone, which lean on none.
    """

    name: str
    ends: tuple[float, float] | None
    labels: Array
    scores: Array
    tuning: Tuning
    alone: Tuning

    def interval(self, figure: Figure) -> Estimate:
        """Return a figure with its interval.

        Args:
            figure: A figure of this outcome.

        Returns:
            Value and 95% interval.
        """
        return figure.share_interval() if self.ends is None else figure.interval(*self.ends)


def build_estimands(population: ScoredCorpus) -> tuple[Estimand, ...]:
    """Prepare what is estimated: the mean of each axis, and the share of each band of the main one.

    Args:
        population: All posts.

    Returns:
        The outcomes: `<axis>` for means, `share_<band>` for shares.
    """
    found = []
    for axis in population.axes:
        values = population.labels[axis.name], population.scores[axis.name]
        found.append(_outcome(population, axis.name, (axis.low, axis.high), *values))
    main = population.axes[0]
    labels, scores = population.labels[main.name], population.scores[main.name]
    said, held = bands(scores, main), bands(np.nan_to_num(labels), main)
    shares = {
        band: (np.where(np.isnan(labels), np.nan, held == i), (said == i).astype(np.float64))
        for i, band in enumerate(BAND_NAMES)
    }
    # One tuning for the three bands: then their shares add up to 1.
    high = _outcome(population, "share_high", None, *shares["high"])
    for band, (held_share, said_share) in shares.items():
        name = f"share_{band}"
        found.append(Estimand(name, None, held_share, said_share, high.tuning, high.alone))
    return tuple(found)


def estimate_means(
    population: ScoredCorpus, outcomes: Iterable[Estimand], rows: Bools
) -> dict[str, Figure]:
    """Estimate every outcome for some posts.

    Args:
        population: All posts.
        outcomes: What to estimate.
        rows: Which posts. (N,)

    Returns:
        One figure per outcome, by its name.
    """
    study = population.study.within(rows)
    return {
        outcome.name: estimator.estimate_mean(
            study, outcome.labels[rows], outcome.scores[rows], outcome.tuning
        )
        for outcome in outcomes
    }


def estimate_rows(population: ScoredCorpus, outcomes: Iterable[Estimand], rows: Bools) -> Json:
    """Estimate every outcome for some posts, ready for JSON.

    Args:
        population: All posts.
        outcomes: What to estimate.
        rows: Which posts. (N,)

    Returns:
        `posts`, `labels`, `held_out`, and per outcome `value`, `lo`, `hi`, `uncorrected`, by how
        much that is too high (`uncorrected_error`), and `labels_alone`.
    """
    outcomes = tuple(outcomes)
    study = population.study.within(rows)
    figures = estimate_means(population, outcomes, rows)
    counts = figures[outcomes[0].name].n
    found: Json = dict(zip(("posts", "labels", "held_out", "authors"), counts, strict=True))
    for outcome in outcomes:
        alone = estimator.labels_alone(
            study, outcome.labels[rows], outcome.scores[rows], outcome.alone
        )
        found[outcome.name] = outcome.interval(figures[outcome.name]).as_dict() | {
            "uncorrected": figures[outcome.name].uncorrected,
            "uncorrected_error": face_value_error(
                study.authors, outcome.scores[rows], figures[outcome.name]
            ).as_dict(),
            "labels_alone": outcome.interval(alone).as_dict(),
        }
    return found


def estimate_population(population: ScoredCorpus, outcomes: tuple[Estimand, ...], groups: Groups) -> Json:
    """Estimate every outcome for every group, and what sets groups apart.

    Args:
        population: All posts.
        outcomes: What to estimate.
        groups: The groups, and which are to be compared.

    Returns:
        The content of `reports/population.json`.
    """
    everything = np.ones(len(population), dtype=bool)
    side = population.study.side
    return {
        "estimand": "mean label the teacher would give, over posts the champion can score",
        "level": LEVEL,
        "n": {
            "posts": population.n_posts,
            "scored": len(population),
            "labels": int((side != estimator.UNLABELLED).sum()),
            "learned": int((side == estimator.LEARNED).sum()),
            "held_out": int((side == estimator.HELD_OUT).sum()),
            "lost_labels": population.n_lost_labels,
        },
        "tuning": {
            o.name: {"lambda": o.tuning.lam, "held_out_worth": o.tuning.worth} for o in outcomes
        },
        "all": estimate_rows(population, outcomes, everything),
        "groups": {
            kind: {name: estimate_rows(population, outcomes, rows) for name, rows in members.items()}
            for kind, members in groups.members.items()
        },
        "differences": [
            {"kind": kind, "one": one, "two": two}
            | estimate_difference(
                population, outcomes, groups.members[kind][one], groups.members[kind][two]
            )
            for kind, one, two in groups.pairs
        ],
    }


def estimate_difference(
    population: ScoredCorpus, outcomes: Iterable[Estimand], one: Bools, two: Bools
) -> Json:
    """Estimate by how much some posts are above others.

    Args:
        population: All posts.
        outcomes: What to compare.
        one: Some posts. (N,)
        two: Others. (N,)

    Returns:
        Per outcome `value`, `lo`, `hi` and `uncorrected`.
    """
    outcomes = tuple(outcomes)
    a, b = (estimate_means(population, outcomes, rows) for rows in (one, two))
    return {
        o.name: difference(a[o.name], b[o.name]).as_dict()
        | {"uncorrected": a[o.name].uncorrected - b[o.name].uncorrected}
        for o in outcomes
    }


def _outcome(
    population: ScoredCorpus,
    name: str,
    ends: tuple[float, float] | None,
    labels: Array,
    scores: Array,
) -> Estimand:
    study = population.study
    return Estimand(
        name,
        ends,
        labels,
        scores,
        estimator.tune(study, labels, scores),
        estimator.tune(estimator.all_learned(study), labels, scores),
    )
