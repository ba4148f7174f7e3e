"""Log an evaluation to MLflow: metrics, tags, the result table and the figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.evaluation_json import coverage_rows, headline_metrics, slice_rows
from postbias.evaluation.results_table import markdown_table
from postbias.tracking.runs import StageRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = dict[str, Any]


def log_evaluation(run: StageRun, found: Evaluation, report: Json) -> dict[str, dict[str, Figure]]:
    """Keep metrics, the result table and figures with the MLflow run.

    Args:
        run: The run of the stage.
        found: The evaluation.
        report: The same as laid out in `evaluate.json`.

    Returns:
        The figures of each student, for the run that trained it.
    """
    from postbias.evaluation import plots

    models = report["students"] | report["baselines"]
    run.log_metrics(
        headline_metrics(report)
        | {
            f"test.{name}.{axis}.{metric}": number["value"]
            for name, model in models.items()
            for axis, metrics in model["test"].items()
            for metric, number in metrics.items()
            if number["value"] is not None
        }
        | {
            f"gate.{name}": line.value
            for name, line in found.gate.items()
            if line.value is not None
        }
    )
    run.set_tags(
        {"chosen": found.chosen}
        | {f"champion.{k}": v for k, v in (report["champion"] or {}).items()}
    )
    run.log_text(markdown_table(report), "result.md")
    axis = found.bench.axes[0]
    labels = found.bench.fold.labels[:, 0]
    figures: dict[str, dict[str, Figure]] = {}
    for name, student in found.students.items():
        said = student.test.by_axis[axis.name]
        rows = said.is_scored
        figures[name] = {
            "scores": plots.labels_over_scores(labels[rows], said.values[rows], axis, name),
            "residuals": plots.residuals_by_band(labels[rows], said.values[rows], axis, name),
            "slices": plots.slices(report, name),
        }
        for kind, figure in figures[name].items():
            run.log_figure(figure, f"{kind}_{name}.png")
    run.log_figure(plots.comparison(report), "comparison.png")
    run.log_figure(plots.coverage(report, found.params.coverage), "coverage.png")
    run.log_table(list(slice_rows(report)), "slices.json")
    run.log_table(list(coverage_rows(report)), "coverage.json")
    run.log_table([{"line": name, **line} for name, line in report["gate"].items()], "gate.json")
    return figures
