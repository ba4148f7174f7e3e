"""The result table: what `make repro` ends with and what the README shows.

Reads nothing but what `evaluate.json` says, and gives text. Knows nothing of how it was measured.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from postbias.errors import InputError

#: Rows in reading order, with what they are called.
MODELS = {
    "fusion": "fusion",
    "text": "text-only",
    "image": "image-only",
    "tfidf_ridge": "TF-IDF + ridge",
    "constant": "best constant",
}
#: The teacher against itself, where it was asked twice.
RETEST = "teacher's own error"
METRICS = {"mae": "MAE", "r2": "R²", "spearman": "Spearman"}
#: Shown as well where labels say yes or no: how well high posts are told from the others.
YES_NO_METRICS = {"auc_high": "AUC"}
_CEILING = "ceiling"

Json = dict[str, Any]


def load_report(path: Path) -> Json:
    """Read `evaluate.json`.

    Args:
        path: Where it lies.

    Returns:
        What it says.

    Raises:
        InputError: If there is none or it is damaged.
    """
    try:
        report: Json = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            "no result to show", seen=str(path), do="run `dvc repro` (or `make repro`) first"
        ) from error
    return report


def axis_tables(report: Json, title: str) -> list[list[list[str]]]:
    """Build one table per axis, the main axis first.

    Args:
        report: The content of `evaluate.json`.
        title: Title of the first column; `{}` stands for the axis.

    Returns:
        Tables of cells; the first row of each is its header.
    """
    return [[_header(report, title.format(axis)), *_rows(report, axis)] for axis in _axes(report)]


def markdown_table(report: Json) -> str:
    """Format the results as Markdown, one table per axis, with notes and the verdict."""
    blocks = []
    for header, *rows in axis_tables(report, "`{}`, test fold"):
        ruler = [":---", *["---:"] * (len(header) - 1)]
        blocks.append("\n".join("| " + " | ".join(row) + " |" for row in (header, ruler, *rows)))
    return "\n\n".join([*blocks, " ".join(notes(report))])


def _axes(report: Json) -> list[str]:
    """Return the axes, the main one first, whatever the order in the file."""
    main = report["main"]["axis"]
    return [main, *(axis for axis in report["axes"] if axis != main)]


def _header(report: Json, first: str) -> list[str]:
    return [first, "n", *_metrics(report).values(), *([_CEILING] if report["ceiling"] else [])]


def _metrics(report: Json) -> dict[str, str]:
    says_yes_or_no = any(axis["distinct_labels"] == 2 for axis in report["axes"].values())
    return METRICS | YES_NO_METRICS if says_yes_or_no else METRICS


def _rows(report: Json, axis: str) -> list[list[str]]:
    rows = []
    metrics = _metrics(report)
    champion = (report["champion"] or {}).get("modality")
    for name, shown in MODELS.items():
        model = report["students"].get(name) or report["baselines"].get(name)
        if model is None:
            continue
        n = model["n"]["test"] if "n" in model else report["n"]["test"]
        row = [f"{shown} *" if name == champion else shown, f"{n:,}"]
        row += [_cell(model["test"][axis][metric]) for metric in metrics]
        if report["ceiling"]:
            ceiling = report["ceiling"].get(name, {}).get(axis)
            row.append(_ceiling(ceiling) if ceiling else "-")
        rows.append(row)
    if retest := report["retest"].get(axis):
        empty = len(metrics) - 1 + bool(report["ceiling"])
        rows.append([RETEST, f"{retest['n']:,}", _cell(retest["floor"]), *["-"] * empty])
    return rows


def _ceiling(ceiling: Json) -> str:
    r2, reached = (ceiling[part]["value"] for part in ("r2", "reached"))
    return _decimals(r2) if reached is None else f"{_decimals(r2)} ({100 * reached:.0f}%)"


def _cell(number: Json) -> str:
    if number["value"] is None:
        return "-"
    value, lo, hi = (_decimals(number[part]) for part in ("value", "lo", "hi"))
    return value if number["lo"] is None else f"{value} [{lo}, {hi}]"


def _decimals(number: float | None) -> str:
    # The sum turns -0.0 into 0.0.
    return "-" if number is None else f"{round(number, 3) + 0.0:.3f}"


def notes(report: Json) -> list[str]:
    """Explain the columns of the tables; the verdict comes last."""
    authors = report["n"]["test_authors"]
    notes = [
        f"In brackets: 95% intervals, bootstrap over {authors:,} authors.",
        "Best constant: the one that is best for each metric.",
    ]
    if report["ceiling"]:
        notes.append(
            "Ceiling: R² of a model that knows what was planted in these posts,"
            " and the share reached of it."
        )
    if any(report["retest"].values()):
        notes.append(
            "Teacher's own error: how far one of its answers is from its mean answer to that post."
        )
    if report["champion"]:
        modality, digest = report["champion"]["modality"], report["champion"]["digest"]
        notes.append(f"* Champion: {MODELS[modality]} ({digest[:12]}), passed the gate.")
    else:
        failed = [name for name, line in report["gate"].items() if not line["passed"]]
        notes.append(f"No champion: {MODELS[report['chosen']]} fails {', '.join(failed)}.")
    return notes
