"""Charts of `reports/plots` as PNG images of MLflow runs."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from postbias.paths import Paths
    from postbias.tracking.runs import StageRun

#: Charts that are drawn from another file than the one of their name.
_FILES = {"residuals": "predictions"}
_TITLES = {
    "calibration": "Calibration, test fold",
    "comparison": "Students and baselines, test fold",
    "labels": "Distribution of labels",
    "learning_curve": "Learning curve, test fold",
    "predictions": "Label against score, test fold",
    "residuals": "Residuals, test fold",
}
#: Charts of one student.
STUDENT_CHARTS = ("predictions", "residuals", "calibration")


def render_chart(paths: Paths, name: str, modality: str | None = None) -> bytes:
    """Render a chart of `reports/plots`, the same one that DVC shows.

    Args:
        name: Name of its DVC template.
        modality: Student to draw; None draws all rows.

    Returns:
        A PNG image.
    """
    from postbias.charts.chart_rendering import DVC_TEMPLATES, render_png
    from postbias.charts.chart_theme import ChartSource

    rows = _read_rows(paths.reports / "plots" / f"{_FILES.get(name, name)}.csv")
    if modality is not None:
        rows = [row for row in rows if row["modality"] == modality]
    return render_png(DVC_TEMPLATES[name](ChartSource.from_rows(rows, _TITLES[name])))


def log_charts(run: StageRun, *names: str) -> None:
    """Store charts of `reports/plots` as images of a run.

    Args:
        run: The run of the stage that wrote the data.
        *names: Names of their DVC templates.
    """
    for name in names:
        run.log_image(render_chart(run.paths, name), f"{name}.png")


def _read_rows(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
