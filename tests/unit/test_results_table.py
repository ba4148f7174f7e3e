"""The results table, compared with its full expected text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from postbias.cli.terminal_tables import format_results
from postbias.errors import InputError
from postbias.evaluation.results_table import load_evaluation, markdown_table
from postbias.json_files import write_json


def _metrics(mae: float, r2: float, rho: float | None) -> dict[str, Any]:
    def number(value: float | None) -> dict[str, float | None]:
        if value is None:
            return {"value": None, "lo": None, "hi": None}
        return {"value": value, "lo": value - 0.1, "hi": value + 0.1}

    areas = {"auc_high": number(None if rho is None else 0.5 + rho / 2)}
    return {"mae": number(mae), "r2": number(r2), "spearman": number(rho)} | areas


def _ceiling(r2: float, reached: float | None) -> dict[str, Any]:
    return {part: {"value": x, "lo": x, "hi": x} for part, x in (("r2", r2), ("reached", reached))}


def a_report(
    *, is_demo: bool = True, is_champion: bool = True, distinct: int = 21
) -> dict[str, Any]:
    def student(mae: float, n: int) -> dict[str, Any]:
        return {"n": {"test": n}, "test": {"bias": _metrics(mae, 0.8, 0.9)}}

    return {
        "axes": {"bias": {"low": 0, "high": 10, "distinct_labels": distinct}},
        "main": {"axis": "bias", "metric": "mae"},
        "n": {"test": 1650, "test_authors": 210},
        "students": {"fusion": student(0.8, 1650), "image": student(1.2, 1600)},
        "baselines": {
            "constant": {"test": {"bias": _metrics(2.0, -0.01, None)}},
            "tfidf_ridge": {"test": {"bias": _metrics(1.5, 0.4, 0.6)}},
        },
        "ceiling": {
            "fusion": {"bias": _ceiling(0.9, 0.951)},
            "image": {"bias": _ceiling(0.5, None)},
        }
        if is_demo
        else {},
        "retest": {"bias": None},
        "chosen": "fusion",
        "gate": {
            "spread": {"passed": is_champion, "value": 0.1, "limit": 0.3},
            "no_leakage": {"passed": True, "value": 0, "limit": 0},
        },
        "champion": {"modality": "fusion", "digest": "0123456789abcdef"} if is_champion else None,
    }


TEXT = """\
bias (test)          n                    MAE                       R²               Spearman       ceiling
───────────────────────────────────────────────────────────────────────────────────────────────────────────
fusion *         1,650   0.800 [0.700, 0.900]     0.800 [0.700, 0.900]   0.900 [0.800, 1.000]   0.900 (95%)
image-only       1,600   1.200 [1.100, 1.300]     0.800 [0.700, 0.900]   0.900 [0.800, 1.000]         0.500
TF-IDF + ridge   1,650   1.500 [1.400, 1.600]     0.400 [0.300, 0.500]   0.600 [0.500, 0.700]             -
best constant    1,650   2.000 [1.900, 2.100]   -0.010 [-0.110, 0.090]                      -             -

In brackets: 95% confidence intervals, bootstrapped over 210 authors.
Best constant: the constant prediction that is best for each metric.
Ceiling: R² of a model that knows the ground truth of these posts, and the share of it that the student reaches.
* Champion: fusion (0123456789ab), passed the gate."""  # noqa: E501 - the table is that wide


def test_the_table_is_formatted_as_documented() -> None:
    assert format_results(a_report()) == TEXT


def test_without_a_ceiling_there_is_no_ceiling_column() -> None:
    table = format_results(a_report(is_demo=False))
    assert "eiling" not in table


def test_binary_labels_have_an_area_under_the_curve() -> None:
    header, _, fusion, *_ = format_results(a_report(distinct=2)).split("\n")
    assert header.split()[-2:] == ["AUC", "ceiling"]
    assert "0.950 [0.850, 1.050]" in fusion


def test_without_a_champion_the_failed_lines_are_named() -> None:
    table = format_results(a_report(is_champion=False))
    assert table.endswith("No champion: fusion fails spread.")
    assert "fusion *" not in table


def test_markdown_has_a_ruler_and_as_many_cells_in_every_row() -> None:
    lines = markdown_table(a_report()).split("\n")
    assert lines[0] == "| `bias`, test fold | n | MAE | R² | Spearman | ceiling |"
    assert lines[1] == "| :--- | ---: | ---: | ---: | ---: | ---: |"
    assert {line.count("|") for line in lines[:6]} == {7}
    assert "Champion: fusion" in lines[-1]


def test_the_table_of_a_written_report_is_that_of_the_report(tmp_path: Path) -> None:
    path = tmp_path / "evaluate.json"
    write_json(path, a_report())
    assert format_results(load_evaluation(path)) == TEXT


@pytest.mark.parametrize("content", [None, "{half"])
def test_a_missing_or_damaged_report_is_an_error_that_says_what_to_run(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "evaluate.json"
    if content:
        path.write_text(content)
    with pytest.raises(InputError, match="make repro"):
        load_evaluation(path)


def test_the_teachers_own_error_is_in_the_mae_column_if_it_is_known() -> None:
    report = a_report()
    report["retest"] = {"bias": {"n": 82, "floor": {"value": 0.4, "lo": 0.35, "hi": 0.45}}}
    table = format_results(report)
    (row,) = [line for line in table.splitlines() if line.startswith("teacher's own error")]
    assert row.split()[3:] == ["82", "0.400", "[0.350,", "0.450]", "-", "-", "-"]
    assert "Teacher's own error: mean absolute deviation of one of its answers" in table
    assert "Teacher" not in format_results(a_report())
