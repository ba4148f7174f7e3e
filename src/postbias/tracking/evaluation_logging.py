"""Logging of an evaluation to its MLflow run: metrics, tags, result table and figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.evaluation_json import coverage_rows, headline_metrics, slice_rows
from postbias.evaluation.results_table import markdown_table
from postbias.tracking.runs import StageRun

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Json = dict[str, Any]


def log_evaluation(
    run: StageRun, evaluation: Evaluation, report: Json
) -> dict[str, dict[str, Figure]]:
    """Log an evaluation to the run of the evaluate stage.

    Args:
        run: The run of the stage.
        evaluation: The evaluation.
        report: The content of `evaluate.json`.

    Returns:
        Figures by student and name, to be added to the training runs as well.
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
            for name, line in evaluation.gate.items()
            if line.value is not None
        }
    )
    run.set_tags(
        {"chosen": evaluation.chosen, "test_digest": report["test_digest"]}
        | {f"champion.{k}": v for k, v in (report["champion"] or {}).items()}
    )
    run.log_text(markdown_table(report), "result.md")
    axis = evaluation.test_set.axes[0]
    labels = evaluation.test_set.fold.labels[:, 0]
    figures: dict[str, dict[str, Figure]] = {}
    for name, student in evaluation.students.items():
        predictions = student.test.by_axis[axis.name]
        rows = predictions.is_scored
        scores = predictions.values[rows]
        figures[name] = {
            "scores": plots.labels_over_scores(labels[rows], scores, axis, name),
            "residuals": plots.residuals_by_band(
                labels[rows], predictions.values[rows], axis, name
            ),
            "slices": plots.slices(report, name),
        }
        for kind, figure in figures[name].items():
            run.log_figure(figure, f"{kind}_{name}.png")
    run.log_figure(plots.comparison(report), "comparison.png")
    run.log_figure(plots.coverage(report, evaluation.params.coverage), "coverage.png")
    run.log_table(list(slice_rows(report)), "slices.json")
    run.log_table(list(coverage_rows(report)), "coverage.json")
    run.log_table([{"line": name, **line} for name, line in report["gate"].items()], "gate.json")
    return figures
