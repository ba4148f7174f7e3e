"""What the reports tell of a champion's test scores, and when two champions can be compared."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit import evidence_corpus as corpus

from postbias.evaluation.champion_challenger import FoldScores, compare, read_test_scores
from postbias.evaluation.evaluate import evaluate
from postbias.evaluation.outputs import write_outcome
from postbias.paths import Paths


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Paths, str]:
    """A repository whose reports name a champion, and its digest."""
    paths = corpus.write_corpus(tmp_path_factory.mktemp("corpus"))
    report = write_outcome(evaluate(paths, corpus.demo_params()), paths)
    return paths, report["champion"]["digest"]


@pytest.fixture
def copied(judged: tuple[Paths, str], tmp_path: Path) -> Paths:
    shutil.copytree(judged[0].reports, tmp_path / "reports")
    return Paths(tmp_path, tmp_path)


@pytest.fixture
def scores(judged: tuple[Paths, str]) -> FoldScores:
    found = read_test_scores(*judged)
    assert found is not None
    return found


def test_the_evaluation_tells_all_that_a_later_comparison_needs(scores: FoldScores) -> None:
    assert (scores.modality, scores.axis, scores.metric) == ("fusion", ("bias", 0, 10), "mae")
    assert (scores.alpha, scores.replications, len(scores.posts)) == (0.05, 200, 150)
    assert FoldScores.load(json.loads(json.dumps(scores.as_dict()))) == scores


def _spoil(paths: Paths, how: str) -> None:
    report, predictions = paths.reports / "evaluate.json", paths.reports / "plots/predictions.csv"
    content: dict[str, Any] = json.loads(report.read_text())
    if how == "no report":
        report.unlink()
    elif how == "no predictions":
        predictions.unlink()
    elif how == "no champion":
        content["champion"] = None
    elif how == "an older report":
        del content["test_digest"]
    else:
        predictions.write_text(predictions.read_text().replace("fusion,bias,p0", "text,bias,p0", 9))
    if report.exists():
        report.write_text(json.dumps(content))


@pytest.mark.parametrize(
    "how", ["no report", "no predictions", "no champion", "an older report", "other predictions"]
)
def test_reports_that_do_not_fit_together_tell_nothing(
    judged: tuple[Paths, str], copied: Paths, how: str
) -> None:
    assert read_test_scores(copied, judged[1]) is not None
    _spoil(copied, how)
    assert read_test_scores(copied, judged[1]) is None


def test_reports_of_another_student_tell_nothing(judged: tuple[Paths, str]) -> None:
    assert read_test_scores(judged[0], "0" * 64) is None


@pytest.mark.parametrize("metric", ["mae", "rmse", "spearman"])
def test_the_same_scores_are_not_worse_and_noisy_ones_are(scores: FoldScores, metric: str) -> None:
    new = replace(scores, metric=metric)
    same = compare(new, scores)
    assert same.is_allowed
    assert same.new == same.old
    noisy = tuple(
        (post_id, author, label, score + (4 if i % 2 else -4))
        for i, (post_id, author, label, score) in enumerate(new.posts)
    )
    worse = compare(replace(new, posts=noisy), scores)
    assert not worse.is_allowed
    assert worse.p is not None
    assert worse.p < 0.05
    assert f"{metric} " in worse.why
    assert compare(new, replace(scores, posts=noisy)).is_allowed


def test_what_cannot_be_compared_is_allowed_and_said(scores: FoldScores) -> None:
    others = tuple((f"x{post_id}", *rest) for post_id, *rest in scores.posts)
    for old, why in (
        (None, "of the old champion"),
        (replace(scores, test_digest="another"), "different test folds"),
        (replace(scores, axis=("bias", 0, 5)), "different test folds"),
        (replace(scores, posts=others), "no post was scored by both"),
    ):
        verdict = compare(scores, old)
        assert verdict.is_allowed
        assert verdict.p is None
        assert why in verdict.why
    assert "of the new champion" in compare(None, scores).why
