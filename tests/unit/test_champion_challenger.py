"""Valid-fold scores of a champion in the reports, and the comparison of challenger and champion."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit import evaluation_corpus as corpus

from postbias.evaluation.champion_challenger import (
    ChampionScores,
    compare_champions,
    read_valid_scores,
)
from postbias.evaluation.evaluate import evaluate
from postbias.evaluation.outputs import write_evaluation
from postbias.paths import Paths
from postbias.posts.schema import SPLIT
from postbias.posts.shards import read_table


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, str]:
    """Return a repository whose reports name a champion, and its digest."""
    paths = corpus.write_corpus(tmp_path_factory.mktemp("corpus"))
    report = write_evaluation(evaluate(paths, corpus.demo_params()), paths)
    return paths, report["champion"]["digest"]


@pytest.fixture
def copied(evaluated: tuple[Paths, str], tmp_path: Path) -> Paths:
    shutil.copytree(evaluated[0].reports, tmp_path / "reports")
    return Paths(tmp_path, tmp_path)


@pytest.fixture
def scores(evaluated: tuple[Paths, str]) -> ChampionScores:
    scores = read_valid_scores(*evaluated)
    assert scores is not None
    return scores


def test_the_reports_hold_everything_that_a_later_comparison_needs(scores: ChampionScores) -> None:
    assert (scores.modality, scores.axis, scores.metric) == ("fusion", ("bias", 0, 10), "mae")
    assert (scores.alpha, scores.replications, len(scores.posts)) == (0.05, 200, 60)
    assert ChampionScores.from_dict(json.loads(json.dumps(scores.as_dict()))) == scores


def _damage(paths: Paths, damage: str) -> None:
    report, predictions = paths.reports / "evaluate.json", paths.reports / "valid_predictions.csv"
    content: dict[str, Any] = json.loads(report.read_text())
    if damage == "no report":
        report.unlink()
    elif damage == "no predictions":
        predictions.unlink()
    elif damage == "no champion":
        content["champion"] = None
    elif damage == "an older report":
        del content["valid_digest"]
    else:
        predictions.write_text(predictions.read_text().replace("fusion,bias,p0", "text,bias,p0", 9))
    if report.exists():
        report.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "damage", ["no report", "no predictions", "no champion", "an older report", "other predictions"]
)
def test_inconsistent_reports_are_ignored(
    evaluated: tuple[Paths, str], copied: Paths, damage: str
) -> None:
    assert read_valid_scores(copied, evaluated[1]) is not None
    _damage(copied, damage)
    assert read_valid_scores(copied, evaluated[1]) is None


def test_a_challenger_is_compared_without_the_test_fold(
    evaluated: tuple[Paths, str], copied: Paths, scores: ChampionScores
) -> None:
    (copied.reports / "plots" / "predictions.csv").unlink()
    report = copied.reports / "evaluate.json"
    content = json.loads(report.read_text())
    for model in [*content["students"].values(), *content["baselines"].values()]:
        del model["test"]
    del content["test_digest"]
    report.write_text(json.dumps(content))
    assert read_valid_scores(copied, evaluated[1]) == scores
    valid = read_table(evaluated[0].split, SPLIT).to_pylist()
    expected = {row["post_id"] for row in valid if row["fold"] == "valid"}
    assert {post_id for post_id, *_ in scores.posts} == expected


def test_reports_of_another_student_are_ignored(evaluated: tuple[Paths, str]) -> None:
    assert read_valid_scores(evaluated[0], "0" * 64) is None


@pytest.mark.parametrize("metric", ["mae", "rmse", "spearman"])
def test_equal_scores_are_not_significantly_worse_and_noisy_ones_are(
    scores: ChampionScores, metric: str
) -> None:
    new = replace(scores, metric=metric)
    same = compare_champions(new, scores)
    assert same.is_allowed
    assert same.new == same.old
    noisy = tuple(
        (post_id, author, label, score + (4 if i % 2 else -4))
        for i, (post_id, author, label, score) in enumerate(new.posts)
    )
    worse = compare_champions(replace(new, posts=noisy), scores)
    assert not worse.is_allowed
    assert worse.p is not None
    assert worse.p < 0.05
    assert f"{metric} " in worse.why
    assert compare_champions(new, replace(scores, posts=noisy)).is_allowed


def test_a_challenger_that_cannot_be_compared_is_allowed_and_the_reason_given(
    scores: ChampionScores,
) -> None:
    others = tuple((f"x{post_id}", *rest) for post_id, *rest in scores.posts)
    for champion, why in (
        (None, "of the old champion on the valid fold"),
        (replace(scores, fold_digest="another"), "different valid folds"),
        (replace(scores, axis=("bias", 0, 5)), "different valid folds"),
        (replace(scores, posts=others), "no post was scored by both"),
    ):
        comparison = compare_champions(scores, champion)
        assert comparison.is_allowed
        assert comparison.p is None
        assert why in comparison.why
    assert "of the new champion" in compare_champions(None, scores).why
