"""The methods paragraph and the checklist have the numbers of the run, and invent nothing."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from tests.conftest import ROOT
from tests.tiny_artifact import write_tiny_artifact

from postbias.params import Params, load_params
from postbias.report.methods_paragraph import render_methods
from postbias.report.reported_run import RunSummary
from postbias.report.reproducibility_checklist import AUTHOR, render_checklist
from postbias.scoring.manifest_records import DistilledFrom

_CODE = {"git.commit": "a" * 40, "git.dirty": "false"}


@pytest.fixture
def run(tmp_path: Path) -> RunSummary:
    """The demo run: its committed evaluation, and what else its reports say."""
    reports = json.loads((ROOT / "tests" / "data" / "demo_run.json").read_text("utf-8"))
    reports["evaluate"] = json.loads((ROOT / "reports" / "evaluate.json").read_text("utf-8"))
    manifest = write_tiny_artifact(tmp_path / "student").manifest
    period = ("2025-01-01", "2026-12-31")
    params = load_params(ROOT / "params.yaml")
    return RunSummary(params, manifest, "b" * 64, reports, period, is_demo=True)


def test_the_paragraph_names_the_languages_with_intervals_of_their_own(
    run: RunSummary, tmp_path: Path
) -> None:
    assert "by language" not in render_methods(run)
    manifest = write_tiny_artifact(tmp_path / "languages", by_language=True).manifest
    text = render_methods(replace(run, manifest=manifest))
    n_calib = run.reports["evaluate"]["n"]["calib"]
    assert f"conformal intervals fitted on {n_calib} (by language: de, en, other)" in text


def _with_params(run: RunSummary, **values: object) -> RunSummary:
    """Return the run with other values of params, named `group__key`."""
    content = run.params.model_dump()
    for name, value in values.items():
        *groups, key = name.split("__")
        place = content
        for group in groups:
            place = place[group]
        place[key] = value
    return replace(run, params=Params.model_validate(content))


def test_the_paragraph_of_the_demo_has_about_150_words_and_the_numbers_of_the_reports(
    run: RunSummary,
) -> None:
    text = render_methods(run)
    assert 130 <= len(text.split()) <= 170
    evaluate = run.reports["evaluate"]
    tested = evaluate["students"]["fusion"]["test"]["bias"]
    expected = (
        "5,000 synthetic posts by 625 authors (2025-01-01 to 2026-12-31)",
        "all 4,934 distinct posts",
        "labelled 4,517 by rubric gender_bias@",
        "240 were rated by 3 simulated raters: Krippendorff's alpha 0.77 (0.73 to 0.81)",
        f"learned {evaluate['n']['train']:,} labels",
        f"{evaluate['n']['test']} test posts by {evaluate['n']['test_authors']} other authors",
        f"on bias was {tested['mae']['value']:.2f} ({tested['mae']['lo']:.2f} to",
        f"R² {tested['r2']['value']:.2f}",
        "prediction-powered inference",
        "student bbbbbbbbbbbb",
    )
    assert [part for part in expected if part not in text] == []
    assert "\n" not in text


def test_what_the_run_does_not_know_is_left_to_the_author(run: RunSummary) -> None:
    text = render_methods(run)
    assert re.findall(r"\[.*?\]", text) == ["[of which model or people]"]
    real = render_methods(replace(run, is_demo=False, period=None))
    assert "[platform and collection]" in real
    assert "synthetic" not in real
    assert "simulated" not in real
    rows = render_checklist(replace(run, is_demo=False), {}, {}).splitlines()
    unknown = {row.split(" | ")[0].strip("| ") for row in rows[6:] if AUTHOR in row}
    assert {"Code", "Processor, memory and time", "Consent, ethics approval and legal basis"} <= (
        unknown
    )


def test_a_model_behind_an_endpoint_is_named(run: RunSummary) -> None:
    asked = _with_params(
        run, annotate__teacher="openai", annotate__endpoint__model="a-model", annotate__labels=None
    )
    assert "a-model (temperature 0) labelled" in render_methods(asked)
    assert "`a-model`, temperature 0" in render_checklist(asked, _CODE, {})


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"sample__n": 4934}, "a simple random sample of 4,934 posts"),
        (
            {"sample__n": 4934, "sample__method": "stratified"},
            "a random sample of 4,934 posts stratified by sponsored",
        ),
        ({"sample__n": 4934, "sample__method": "active"}, "drawn in rounds"),
    ],
)
def test_the_sample_is_described(run: RunSummary, params: dict[str, object], words: str) -> None:
    assert words in render_methods(_with_params(run, **params))


def test_without_ratings_no_agreement_is_claimed(run: RunSummary) -> None:
    text = render_methods(replace(run, reports=run.reports | {"people": {"ratings": None}}))
    assert "No people rated posts" in text
    assert "alpha" not in text
    assert "ratings, labels and scores" not in text


def test_an_agreement_that_could_not_be_estimated_is_said(run: RunSummary) -> None:
    people = copy.deepcopy(run.reports["people"])
    people["agreement"]["bias"]["people"]["alpha"] = {"value": None, "lo": None, "hi": None}
    people["agreement"]["bias"]["pairs"] = {}
    text = render_methods(replace(run, reports=run.reports | {"people": people}))
    assert "raters: agreement could not be estimated." in text


def test_intervals_of_cross_fitted_students_are_described(run: RunSummary) -> None:
    crossed = replace(run, manifest=replace(run.manifest, cross_fit=5))
    assert "fitted on residuals of 5 cross-fitted students" in render_methods(crossed)
    none = replace(run, manifest=replace(run.manifest, coverage=None, intervals={}))
    assert "conformal" not in render_methods(none)


def test_the_full_student_of_a_pocket_student_is_described(run: RunSummary) -> None:
    for posts, expected in (
        (9000, "and the scores that a larger student of labels gave to these posts and to 9,000 "),
        (0, "and the scores that a larger student of labels gave to these posts; checkpoints"),
    ):
        source = DistilledFrom("0", posts=posts, same_folds=True)
        told = replace(run, manifest=replace(run.manifest, distilled_from=source))
        assert expected in render_methods(told)


def test_the_checklist_has_code_data_and_a_failed_gate(run: RunSummary) -> None:
    text = render_checklist(run, _CODE, {"data": "0123"})
    assert f"| Code | commit `{'a' * 40}` |" in text
    assert "`data` 0123" in text
    n_conditions = len(run.reports["evaluate"]["gate"])
    assert f"| Conditions of the gate | {n_conditions}; none failed |" in text
    assert "train 3,155" in text
    evaluate = copy.deepcopy(run.reports["evaluate"])
    evaluate["gate"]["beats_constant"]["passed"] = False
    failed = replace(run, reports=run.reports | {"evaluate": evaluate})
    assert "**failed**: " in render_checklist(failed, _CODE, {})
    dirty = _CODE | {"git.dirty": "true"}
    assert "**with uncommitted changes**" in render_checklist(run, dirty, {})
    rows = [row for row in text.splitlines() if row.startswith("| ")]
    assert {row.count(" | ") for row in rows} == {1}
