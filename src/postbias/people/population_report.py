"""What people would say of all posts: means, shares, differences and a regression, as JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from postbias.axes import BAND_NAMES, Axis
from postbias.people.rated_posts import RatedPosts
from postbias.people.rating_layers import layer_shares, layer_values
from postbias.population.groups import Groups
from postbias.population.scored_corpus import ScoredCorpus
from postbias.stats.bootstrap import Array
from postbias.stats.estimates import MeanEstimate
from postbias.stats.people_estimates import (
    PeopleEstimate,
    estimate_people_difference,
    estimate_people_mean,
    estimate_people_regression,
)
from postbias.stats.rated_corpus import RatedCorpus
from postbias.stats.strata import Bools

Json = dict[str, Any]

_DAYS_PER_YEAR = 365.25
_UNLIMITED = (-np.inf, np.inf)
# A covariate that varies less than this has no coefficient worth estimating.
_MIN_SHARE = 0.01


def estimate_for_people(corpus: ScoredCorpus, posts: RatedPosts, groups: Groups) -> Json:
    """Estimate what people would say of all posts.

    Args:
        corpus: All scored posts.
        posts: The rated posts.
        groups: Pairs of groups to compare.

    Returns:
        `all` with the mean of each axis and the share of high and moderate-or-high posts of the
        main axis, `differences` of the main axis between groups, and `regression` of the main
        axis. Each estimate has `people`, `ratings_only`, `teacher` and `teacher_error`, each with
        its 95% interval, and `tuning`.
    """
    main = corpus.axes[0]
    layers = {axis.name: layer_values(corpus, posts, axis) for axis in corpus.axes}
    everything = {
        axis.name: _describe(estimate_people_mean(layers[axis.name]), (axis.low, axis.high))
        for axis in corpus.axes
    }
    for band, threshold in zip(BAND_NAMES[1:], main.band_thresholds, strict=True):
        name = f"share_{band}" if band == BAND_NAMES[-1] else f"share_{band}_or_higher"
        shares = layer_shares(layers[main.name], corpus, posts, main, threshold)
        everything[name] = _describe_share(estimate_people_mean(shares))
    return {
        "all": everything,
        "differences": _estimate_differences(layers[main.name], groups, main),
        "regression": _regress(corpus, layers[main.name], groups),
    }


def _estimate_differences(layers: RatedCorpus, groups: Groups, main: Axis) -> list[Json]:
    found = []
    for kind, one, two in groups.pairs:
        masks = groups.members[kind][one], groups.members[kind][two]
        estimate = estimate_people_difference(layers, *masks)
        if np.isfinite(estimate.people.value):
            identity = {"kind": kind, "one": one, "two": two}
            found.append(identity | {main.name: _describe(estimate, _UNLIMITED)})
    return found


def _regress(corpus: ScoredCorpus, layers: RatedCorpus, groups: Groups) -> Json | None:
    """Regress on sponsorship, time and language together; None without covariates."""
    is_complete, covariates = _build_covariates(corpus, groups)
    if not covariates or not is_complete.any():
        return None
    design = np.column_stack([np.ones(int(is_complete.sum())), *covariates.values()])
    estimates = estimate_people_regression(layers.subset(is_complete), design)
    terms = {
        name: _describe(estimate, _UNLIMITED)
        for name, estimate in zip(("constant", *covariates), estimates, strict=True)
        if np.isfinite(estimate.people.value)
    }
    return {"posts": len(design), "terms": terms} if terms else None


def _build_covariates(corpus: ScoredCorpus, groups: Groups) -> tuple[Bools, dict[str, Array]]:
    """Return the posts with all covariates (N,), and the covariates of these posts by name."""
    columns: dict[str, Array] = {}
    is_complete = np.ones(len(corpus), dtype=bool)
    sponsored = groups.members.get("sponsored", {})
    if {"sponsored", "organic"} <= sponsored.keys():
        is_complete &= sponsored["sponsored"] | sponsored["organic"]
        columns["sponsored"] = sponsored["sponsored"].astype(np.float64)
    if "half" in groups.members:
        times = corpus.table["posted_at"].to_numpy().astype("datetime64[s]")
        is_complete &= ~np.isnat(times)
        seconds = times.astype(np.int64).astype(np.float64)
        columns["years"] = seconds / (86_400 * _DAYS_PER_YEAR)
    names = [pair[1] for pair in groups.pairs if pair[0] == "language"]
    for name in names:
        columns[f"language {name}"] = groups.members["language"][name].astype(np.float64)
    kept = {name: values[is_complete] for name, values in columns.items()}
    kept = {
        name: values - (values.mean() if name == "years" else 0.0)
        for name, values in kept.items()
        if len(values) and values.std() > _MIN_SHARE
    }
    return is_complete, kept


def _describe(estimate: PeopleEstimate, bounds: tuple[float, float]) -> Json:
    return {
        name: _without_nan(mean, mean.interval(*bounds).as_dict())
        for name, mean in _means(estimate).items()
    } | _comparison(estimate)


def _describe_share(estimate: PeopleEstimate) -> Json:
    return {
        name: _without_nan(mean, mean.share_interval().as_dict())
        for name, mean in _means(estimate).items()
    } | _comparison(estimate)


def _means(estimate: PeopleEstimate) -> dict[str, MeanEstimate]:
    return {
        "people": estimate.people,
        "ratings_only": estimate.ratings_only,
        "teacher": estimate.teacher,
    }


def _comparison(estimate: PeopleEstimate) -> Json:
    is_defined = np.isfinite(estimate.people.value) and np.isfinite(estimate.teacher.value)
    undefined = {"value": None, "lo": None, "hi": None}
    return {
        "teacher_error": estimate.teacher_error().as_dict() if is_defined else undefined,
        "tuning": list(estimate.tuning),
    }


def _without_nan(mean: MeanEstimate, interval: Json) -> Json:
    return interval if np.isfinite(mean.value) else {"value": None, "lo": None, "hi": None}
