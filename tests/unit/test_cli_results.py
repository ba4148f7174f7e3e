"""`postbias results`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from tests.unit.test_results_table import TEXT, a_report

from postbias.cli import main
from postbias.json_files import write_json


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_prints_the_table_or_markdown(repository: Path) -> None:
    write_json(repository / "reports" / "evaluate.json", a_report())
    assert CliRunner().invoke(main, ["results"]).output == TEXT + "\n"
    assert CliRunner().invoke(main, ["results", "--markdown"]).output.startswith("| `bias`")


@pytest.mark.usefixtures("repository")
def test_without_a_result_it_is_one_line_and_exit_code_1() -> None:
    outcome = CliRunner().invoke(main, ["results"])
    assert outcome.exit_code == 1
    assert outcome.output.startswith("postbias: no results to show")
    assert outcome.output.count("\n") == 1


@pytest.mark.parametrize(
    "older", [[], {}, a_report() | {"ceiling": {"fusion": {"bias": {"r2": 0.9}}}}]
)
def test_a_result_of_another_version_is_one_line_and_exit_code_1(
    repository: Path, older: list[object] | dict[str, object]
) -> None:
    (repository / "reports").mkdir()
    (repository / "reports" / "evaluate.json").write_text(json.dumps(older), encoding="utf-8")
    outcome = CliRunner().invoke(main, ["results"])
    assert outcome.exit_code == 1
    assert outcome.output.startswith(
        "postbias: this report was written by another version of postbias"
    )
    assert outcome.output.count("\n") == 1
