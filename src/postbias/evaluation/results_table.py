"""Tables of test metrics from `evaluate.json`, for the terminal and the README."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from postbias.errors import InputError
from postbias.posts.authorship import describe_authors, describe_missing_authors

#: Names of the models in tables and charts, in display order.
MODEL_NAMES = {
    "fusion": "fusion",
    "text": "text-only",
    "image": "image-only",
    "tfidf_ridge": "TF-IDF + ridge",
    "constant": "best constant",
}
#: Row of the teacher's noise floor, shown if posts were labelled more than once.
TEACHER_ERROR = "teacher's own error"
TABLE_METRICS = {"mae": "MAE", "r2": "R²", "spearman": "Spearman"}
#: Shown as well for binary labels.
BINARY_METRICS = {"auc_high": "AUC"}
_CEILING = "ceiling"

Json = dict[str, Any]


def load_evaluation(path: Path) -> Json:
    """Read the report of an evaluation.

    Args:
        path: Path of `evaluate.json`.

    Returns:
        Its content.

    Raises:
        InputError: If the file is missing or damaged.
    """
    try:
        report: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "no results to show", seen=str(path), do="run `dvc repro` (or `make repro`) first"
        ) from error
    return report


def axis_tables(report: Json, title: str) -> list[list[list[str]]]:
    """Build one table per axis, the main axis first.

    Args:
        report: Content of `evaluate.json`.
        title: Header of the first column; `{}` stands for the axis.

    Returns:
        Tables of cells; the first row of each is its header.
    """
    return [
        [_header(report, title.format(axis)), *_rows(report, axis)]
        for axis in _ordered_axes(report)
    ]


def markdown_table(report: Json) -> str:
    """Format the results as Markdown: one table per axis, then the notes."""
    blocks = []
    for header, *rows in axis_tables(report, "`{}`, test fold"):
        ruler = [":---", *["---:"] * (len(header) - 1)]
        blocks.append("\n".join("| " + " | ".join(row) + " |" for row in (header, ruler, *rows)))
    return "\n\n".join([*blocks, " ".join(table_notes(report))])


def table_notes(report: Json) -> list[str]:
    """Explain the columns and rows of the tables; the last note names the champion."""
    authors = describe_authors(report["n"], "test_")
    notes = [
        f"In brackets: 95% confidence intervals, bootstrapped over {authors}.",
        *filter(None, [describe_missing_authors(report["n"], "test_")]),
        "Best constant: the constant prediction that is best for each metric.",
    ]
    if report["ceiling"]:
        notes.append(
            "Ceiling: R² of a model that knows the ground truth of these posts, and the share of it"
            " that the student reaches."
        )
    if any(report["retest"].values()):
        notes.append(
            "Teacher's own error: mean absolute deviation of one of its answers from its mean"
            " answer to the same post."
        )
    if report["champion"]:
        modality, digest = report["champion"]["modality"], report["champion"]["digest"]
        notes.append(f"* Champion: {MODEL_NAMES[modality]} ({digest[:12]}), passed the gate.")
    else:
        failed = [name for name, line in report["gate"].items() if not line["passed"]]
        notes.append(f"No champion: {MODEL_NAMES[report['chosen']]} fails {', '.join(failed)}.")
    return notes


def _ordered_axes(report: Json) -> list[str]:
    """Return the axes, the main axis first."""
    main = report["main"]["axis"]
    return [main, *(axis for axis in report["axes"] if axis != main)]


def _header(report: Json, first: str) -> list[str]:
    return [first, "n", *_metrics(report).values(), *([_CEILING] if report["ceiling"] else [])]


def _metrics(report: Json) -> dict[str, str]:
    is_binary = any(axis["distinct_labels"] == 2 for axis in report["axes"].values())
    return TABLE_METRICS | BINARY_METRICS if is_binary else TABLE_METRICS


def _rows(report: Json, axis: str) -> list[list[str]]:
    rows = []
    metrics = _metrics(report)
    champion = (report["champion"] or {}).get("modality")
    for name, shown in MODEL_NAMES.items():
        model = report["students"].get(name) or report["baselines"].get(name)
        if model is None:
            continue
        n = model["n"]["test"] if "n" in model else report["n"]["test"]
        row = [f"{shown} *" if name == champion else shown, f"{n:,}"]
        row += [_format_number(model["test"][axis][metric]) for metric in metrics]
        if report["ceiling"]:
            ceiling = report["ceiling"].get(name, {}).get(axis)
            row.append(_format_ceiling(ceiling) if ceiling else "-")
        rows.append(row)
    if noise := report["retest"].get(axis):
        empty = len(metrics) - 1 + bool(report["ceiling"])
        floor = _format_number(noise["floor"])
        rows.append([TEACHER_ERROR, f"{noise['n']:,}", floor, *["-"] * empty])
    return rows


def _format_ceiling(ceiling: Json) -> str:
    r2, reached = (ceiling[part]["value"] for part in ("r2", "reached"))
    return _round(r2) if reached is None else f"{_round(r2)} ({100 * reached:.0f}%)"


def _format_number(number: Json) -> str:
    if number["value"] is None:
        return "-"
    value, lo, hi = (_round(number[part]) for part in ("value", "lo", "hi"))
    return value if number["lo"] is None else f"{value} [{lo}, {hi}]"


def _round(number: float | None) -> str:
    # The sum turns -0.0 into 0.0.
    return "-" if number is None else f"{round(number, 3) + 0.0:.3f}"
