"""Do the report's conclusions hold with variants of the teacher?

A variant's labels of some posts take the place of ratings by people: teacher and student are
predictions of them, and the variant's conclusion about the whole corpus is estimated as that of
people is. A conclusion changes if it would have another sign, or become significant or cease to be,
with the variant's estimate and the report's own precision.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow.compute as pc

from postbias.axes import Axis
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.agreement_report import PairedRatings, describe_pair
from postbias.population.groups import Groups
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.schema import variants_schema
from postbias.posts.shards import read_table
from postbias.stats.bootstrap import Array, Estimate, resample_authors
from postbias.stats.estimates import MeanEstimate, estimate_difference_of_means
from postbias.stats.people_estimates import (
    PeopleEstimate,
    estimate_people_difference,
    estimate_people_mean,
)
from postbias.stats.rated_corpus import RatedCorpus

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """A difference between groups, or the band of the mean, by the teacher and by a variant.

    Attributes:
        groups: Kind and names of the groups that are compared; None for the mean of all posts.
        teacher: What it is with the teacher's labels: `higher`, `lower`, `none`, or a band.
        variant: What it would be with the variant's.
        estimate: Estimates by both.
    """

    groups: tuple[str, str, str] | None
    teacher: str
    variant: str
    estimate: PeopleEstimate

    def as_json(self) -> Json:
        """Return the conclusion as JSON, with `changed` and the variant minus the teacher."""
        shift = estimate_difference_of_means(self.estimate.people, self.estimate.teacher)
        return {
            "groups": self.groups and list(self.groups),
            "teacher": self.teacher,
            "variant": self.variant,
            "changed": self.teacher != self.variant,
            "teacher_value": _describe(self.estimate.teacher),
            "variant_value": _describe(self.estimate.people),
            "shift": shift.as_dict(),
        }


def audit_robustness(
    paths: Paths, params: Params, corpus: ScoredCorpus, groups: Groups, rng: np.random.Generator
) -> dict[str, Json]:
    """Compare each variant with the teacher: agreement on posts, and conclusions.

    Args:
        paths: The repository, after the stage variants.
        params: `evaluate.bootstrap` is used.
        corpus: All scored posts.
        groups: Pairs of groups that the report compares.

    Returns:
        By variant: `agreement` with the teacher's labels by axis, `conclusions` about the main
        axis, and the share of them that `changed`.

    Raises:
        SchemaError: If the labels of the variants are damaged.
    """
    table = read_table(paths.variants, variants_schema([axis.name for axis in corpus.axes]))
    audited = {}
    for name in pc.unique(table["variant"]).to_pylist():
        rows = table.filter(
            pc.and_(pc.equal(table["variant"], name), pc.equal(table["status"], "ok"))
        )
        at = pc.index_in(rows["post_id"], value_set=corpus.table["post_id"].combine_chunks())
        rows, places = rows.filter(pc.is_valid(at)), at.drop_null().to_numpy()
        if not len(places):
            continue
        values = {axis.name: np.full(len(corpus), np.nan) for axis in corpus.axes}
        for axis_name, column in values.items():
            column[places] = rows[axis_name].to_numpy()
        conclusions = _conclude(corpus, groups, values[corpus.axes[0].name])
        audited[name] = {
            "posts": len(places),
            "agreement": {
                axis.name: _compare(corpus, axis, values[axis.name], params.evaluate.bootstrap, rng)
                for axis in corpus.axes
            },
            "conclusions": [conclusion.as_json() for conclusion in conclusions],
            "changed": float(np.mean([c.teacher != c.variant for c in conclusions]))
            if conclusions
            else None,
        }
    return audited


def _compare(
    corpus: ScoredCorpus, axis: Axis, values: Array, replications: int, rng: np.random.Generator
) -> Json:
    rows = np.flatnonzero(np.isfinite(values))
    authors = corpus.table["author"].take(rows).to_pylist()
    ids = corpus.table["post_id"].take(rows).to_pylist()
    known = [author or post_id for author, post_id in zip(authors, ids, strict=True)]
    resamples = resample_authors(known, replications, rng)
    pair = PairedRatings(values[rows], corpus.labels[axis.name][rows])
    return describe_pair(pair, axis, resamples)


def _conclude(corpus: ScoredCorpus, groups: Groups, values: Array) -> list[Conclusion]:
    main = corpus.axes[0]
    layers = _layer_variant(corpus, main, values)
    mean = estimate_people_mean(layers)
    conclusions = []
    if np.isfinite(mean.people.value) and np.isfinite(mean.teacher.value):
        bands = main.band(mean.teacher.value), main.band(mean.people.value)
        conclusions.append(Conclusion(None, *bands, mean))
    for kind, one, two in groups.pairs:
        masks = groups.members[kind][one], groups.members[kind][two]
        estimate = estimate_people_difference(layers, *masks)
        if not (np.isfinite(estimate.people.value) and np.isfinite(estimate.teacher.value)):
            continue
        own = estimate.teacher
        # The variant's estimate with the precision that as many labels as the teacher's give.
        as_precise = replace(own, value=estimate.people.value)
        directions = _direction(own), _direction(as_precise)
        conclusions.append(Conclusion((kind, one, two), *directions, estimate))
    return conclusions


def _layer_variant(corpus: ScoredCorpus, main: Axis, values: Array) -> RatedCorpus:
    is_labelled = np.isfinite(corpus.labels[main.name])
    has_value = np.isfinite(values) & is_labelled
    # A simple random sample of the labelled posts.
    factor = is_labelled.sum() / max(has_value.sum(), 1)
    return RatedCorpus(
        design=corpus.design,
        ratings=np.where(has_value, values, np.nan),
        rating_weights=np.where(has_value, corpus.design.weights * factor, 0.0),
        rating_strata=np.zeros(len(corpus), dtype=np.int64),
        labels=corpus.labels[main.name],
        scores=corpus.scores_to_estimate(main.name, lambda scores: scores),
    )


def _direction(mean: MeanEstimate) -> str:
    interval = mean.interval(-np.inf, np.inf)
    assert interval.lo is not None
    assert interval.hi is not None
    if interval.lo <= 0 <= interval.hi:
        return "none"
    return "higher" if mean.value > 0 else "lower"


def _describe(mean: MeanEstimate) -> Json:
    interval: Estimate = mean.interval(-np.inf, np.inf)
    return interval.as_dict()
