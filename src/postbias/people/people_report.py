"""The stage people: what ratings and variants of the teacher say, in `reports/people.json`."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from postbias.axes import Axis
from postbias.json_files import write_json
from postbias.params import Params
from postbias.paths import Paths
from postbias.people.agreement_report import (
    describe_agreement,
    examine_replacement,
    find_disagreements,
    judge_alpha,
)
from postbias.people.population_report import estimate_for_people
from postbias.people.rated_posts import RatedPosts, join_ratings
from postbias.people.rating_layers import layer_values
from postbias.people.rating_table import read_ratings
from postbias.people.robustness import audit_robustness
from postbias.population.groups import Groups, group_posts
from postbias.population.scored_corpus import ScoredCorpus, load_scored_corpus
from postbias.stats.teacher_calibration import calibrate_teacher
from postbias.teacher.rubric import load_rubric

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_MAX_FAULTS = 20
_N_DISAGREEMENTS = 5


def study_people(paths: Paths, params: Params) -> Json:
    """Analyse ratings by people and labels by variants; write `reports/people.json`.

    Args:
        paths: The repository, after the stages infer and variants.
        params: `seed`, `rating.file`, `rating.epsilon`, `annotate.rubric`, `evaluate.bootstrap` and
            `report.min_posts` are used.

    Returns:
        The content of the file: `ratings`, null if `rating.file` is, with `agreement`, `verdict`,
        `disagreements` and `estimates` beside it otherwise; and `variants`.

    Raises:
        CorpusError: If no rated post is among the scored ones.
        InputError: If the file of ratings cannot be used.
        SchemaError: If a table is damaged.
    """
    corpus = load_scored_corpus(paths)
    groups = group_posts(corpus.table, corpus.captions, params.report.min_posts)
    rng = np.random.default_rng(params.seed)
    findings: Json = {"ratings": None}
    if params.rating.file is not None:
        findings = _study_ratings(paths, params, corpus, groups, rng)
    findings["variants"] = audit_robustness(paths, params, corpus, groups, rng)
    write_json(paths.reports / "people.json", findings)
    return findings


def _study_ratings(
    paths: Paths, params: Params, corpus: ScoredCorpus, groups: Groups, rng: np.random.Generator
) -> Json:
    rubric = load_rubric(paths.root / params.annotate.rubric)
    assert params.rating.file is not None
    posts = join_ratings(read_ratings(paths.root / params.rating.file, rubric.axes), corpus)
    for fault in posts.faults[:_MAX_FAULTS]:
        logger.warning("rating not used: %s", fault)
    agreement = {
        axis.name: describe_agreement(posts, axis, params.evaluate.bootstrap, rng)
        for axis in corpus.axes
    }
    return {
        "ratings": _describe_ratings(posts),
        "agreement": agreement,
        "verdict": {
            name: judge_alpha(found["people"]["alpha"]["value"])
            for name, found in agreement.items()
        },
        "replacement": {
            axis.name: examine_replacement(posts, axis, params.rating.epsilon)
            for axis in corpus.axes
        },
        "calibration": {axis.name: _calibrate(corpus, posts, axis, rng) for axis in corpus.axes},
        "disagreements": find_disagreements(posts, corpus.axes[0], _N_DISAGREEMENTS),
        "estimates": estimate_for_people(corpus, posts, groups),
    }


def _calibrate(
    corpus: ScoredCorpus, posts: RatedPosts, axis: Axis, rng: np.random.Generator
) -> Json | None:
    """Choose a calibration of the teacher to people; None without rated and labelled posts."""
    layers = layer_values(corpus, posts, axis)
    rows = layers.is_rated & np.isfinite(layers.labels)
    if not rows.any():
        return None
    found = calibrate_teacher(
        layers.labels[rows],
        layers.ratings[rows],
        layers.rating_weights[rows],
        corpus.design.authors[rows],
        limits=(axis.low, axis.high),
        rng=rng,
    )
    return {
        "method": found.chosen.method,
        "knots": list(found.chosen.knots),
        "values": list(found.chosen.values),
        "rmse": found.errors,
        "gain": {name: {"value": gain, "se": se} for name, (gain, se) in found.gains.items()},
    }


def collect_metrics(findings: Json) -> dict[str, float]:
    """Collect the numbers to log, by dotted name."""
    metrics: dict[str, float] = {
        f"variants.{name}.changed": found["changed"]
        for name, found in findings["variants"].items()
        if found["changed"] is not None
    }
    if findings["ratings"] is None:
        return metrics
    for axis, found in findings["agreement"].items():
        values = {
            "alpha": found["people"]["alpha"]["value"],
            "icc_mean": found["people"]["icc_mean"]["value"],
            "teacher_correlation": found["pairs"]["teacher_people"]["correlation"]["value"],
            "teacher_mae": found["pairs"]["teacher_people"]["mae"]["value"],
        }
        metrics |= {f"people.{axis}.{k}": v for k, v in values.items() if v is not None}
    for name, estimate in findings["estimates"]["all"].items():
        interval = estimate["people"]
        metrics |= {
            f"people.{name}.{end}": interval[end]
            for end in ("value", "lo", "hi")
            if interval[end] is not None
        }
    return metrics


def _describe_ratings(posts: RatedPosts) -> Json:
    return {
        "file": posts.source,
        "posts": len(posts),
        "raters": list(posts.raters),
        "answers": dict(posts.outcomes),
        "median_seconds": posts.median_seconds,
        "faults": len(posts.faults),
        "fault_examples": list(posts.faults[:_MAX_FAULTS]),
    }
