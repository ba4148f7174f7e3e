"""How many ratings and labels an interval of a given width needs, from the ratings so far."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from postbias.axes import BAND_NAMES
from postbias.errors import CorpusError, InputError
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.rated_posts import RatedPosts, join_ratings
from postbias.people.rating_layers import layer_shares, layer_values
from postbias.people.rating_table import read_ratings
from postbias.population.groups import Groups, group_posts
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.stats.bootstrap import Array
from postbias.stats.rated_corpus import RatedCorpus
from postbias.stats.rating_plan import (
    Costs,
    Goal,
    Mix,
    Quantity,
    find_cheapest_mix,
    trace_cost_curve,
)
from postbias.stats.strata import Bools
from postbias.stats.variance_components import (
    MIN_PILOT,
    GroupComponents,
    estimate_components,
    within_post_variance,
)
from postbias.teacher.rubric import load_rubric

_MAX_RATERS = 5


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What is to be estimated, how precisely, and what it may cost.

    Attributes:
        quantity: An axis, for its mean, or `share_BAND` of the main axis.
        half_width: Half-width that the 95% interval should not exceed.
        compare: Kind of groups whose difference is the quantity; None for the mean or share itself.
        each: Kind of groups in each of which the width is to be reached; None for all posts.
        usd_per_rating: Cost of one rating by one person.
        usd_per_label: Cost of one label.
    """

    quantity: str
    half_width: float
    compare: str | None
    each: str | None
    usd_per_rating: float
    usd_per_label: float


@dataclass(frozen=True, slots=True)
class RatingPlan:
    """A plan, and what else the money could buy.

    Attributes:
        n_posts: Posts of the corpus.
        n_labels: Labelled posts so far.
        n_rated: Rated posts so far.
        cheapest: The cheapest mix; None if even rating every post is not enough.
        curve: Mixes by ascending cost, for the first quantity.
        quantities: Names of the quantities.
        minutes_per_rating: Median time for one rating; None if it is not known.
    """

    n_posts: int
    n_labels: int
    n_rated: int
    cheapest: Mix | None
    curve: tuple[Mix, ...]
    quantities: tuple[str, ...]
    minutes_per_rating: float | None


def plan_ratings(paths: Paths, params: Params, request: PlanRequest) -> RatingPlan:
    """Plan ratings and labels from the recorded ratings, which serve as the pilot.

    Args:
        paths: The repository, after the stage infer.
        params: `rating.file`, `annotate.rubric` and `report.min_posts` are used.
        request: What is to be estimated.

    Returns:
        The plan.

    Raises:
        CorpusError: If there are too few ratings in a group.
        InputError: If there are no ratings, or the request names something unknown.
        SchemaError: If a table is damaged.
    """
    if params.rating.file is None:
        raise InputError(
            "a plan needs the ratings of a pilot, and rating.file is null",
            do="have some 50 posts rated (`postbias rate`), export them and set rating.file",
        )
    rubric = load_rubric(paths.root / params.annotate.rubric)
    corpus = load_scored_corpus(paths)
    posts = join_ratings(read_ratings(paths.root / params.rating.file, rubric.axes), corpus)
    groups = group_posts(corpus.table, corpus.captions, params.report.min_posts)
    quantities = _build_quantities(corpus, posts, groups, request)
    n_labels = int(np.isfinite(corpus.labels[corpus.axes[0].name]).sum())
    costs = Costs(request.usd_per_rating, request.usd_per_label, len(corpus), n_labels)
    goals = [Goal(quantity, request.half_width) for quantity in quantities]
    cheapest = find_cheapest_mix(goals, costs, range(1, _MAX_RATERS + 1))
    raters = cheapest.raters if cheapest else 1
    seconds = posts.median_seconds
    return RatingPlan(
        n_posts=len(corpus),
        n_labels=n_labels,
        n_rated=len(posts),
        cheapest=cheapest,
        curve=tuple(trace_cost_curve(quantities[0], costs, raters)),
        quantities=tuple(quantity.name for quantity in quantities),
        minutes_per_rating=None if seconds is None else seconds / 60,
    )


def _build_quantities(
    corpus: ScoredCorpus, posts: RatedPosts, groups: Groups, request: PlanRequest
) -> list[Quantity]:
    layers, matrix = _layer(corpus, posts, request.quantity)
    everything = {"all posts": np.ones(len(corpus), dtype=bool)}
    if request.compare is not None:
        pairs = [pair for pair in groups.pairs if pair[0] == request.compare]
        if not pairs:
            kinds = sorted({pair[0] for pair in groups.pairs})
            raise _unknown("--compare", request.compare, kinds)
        kind, one, two = pairs[0]
        members = groups.members[kind]
        compared = _estimate({one: members[one], two: members[two]}, layers, matrix)
        return [Quantity(f"{request.quantity}, {one} minus {two}", tuple(compared.values()))]
    if request.each is not None:
        if request.each not in groups.members:
            raise _unknown("--each", request.each, sorted(groups.members))
        everything = dict(groups.members[request.each])
    estimated = _estimate(everything, layers, matrix)
    return [Quantity(f"{request.quantity}, {name}", (one,)) for name, one in estimated.items()]


def _layer(corpus: ScoredCorpus, posts: RatedPosts, quantity: str) -> tuple[RatedCorpus, Array]:
    """Return the layers of a quantity, and each rater's value of it."""
    by_name = {axis.name: axis for axis in corpus.axes}
    if quantity in by_name:
        axis = by_name[quantity]
        return layer_values(corpus, posts, axis), posts.ratings[quantity]
    main = corpus.axes[0]
    thresholds = {
        f"share_{band}": threshold
        for band, threshold in zip(BAND_NAMES[1:], main.band_thresholds, strict=True)
    }
    if quantity not in thresholds:
        raise _unknown("--quantity", quantity, [*by_name, *thresholds])
    threshold = thresholds[quantity]
    matrix = posts.ratings[main.name]
    layers = layer_shares(layer_values(corpus, posts, main), corpus, posts, main, threshold)
    return layers, np.where(np.isfinite(matrix), matrix >= threshold, np.nan)


def _estimate(
    members: Mapping[str, Bools], layers: RatedCorpus, matrix: Array
) -> dict[str, GroupComponents]:
    n = np.isfinite(matrix).sum(axis=1)
    raters = float((n > 0).sum() / (1 / n[n > 0]).sum()) if (n > 0).any() else 1.0
    noise = within_post_variance(matrix)
    found = {}
    for name, rows in members.items():
        components = estimate_components(layers, rows, noise=noise, raters=raters)
        if components is None:
            raise CorpusError(
                f"too few rated posts in the group {name!r} to plan from",
                seen=int((rows & layers.is_rated).sum()),
                allowed=f"at least {MIN_PILOT}",
                do="rate more posts, or plan for another quantity",
            )
        found[name] = components
    return found


def _unknown(option: str, seen: str, allowed: list[str]) -> InputError:
    return InputError(
        f"{option} names nothing that can be estimated here", seen=seen, allowed=", ".join(allowed)
    )
