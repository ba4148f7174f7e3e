"""Logging of an evaluation to its MLflow run: metrics, tags, result table and figures."""

from __future__ import annotations

from typing import Any

from postbias.evaluation.evaluate import Evaluation
from postbias.evaluation.evaluation_json import coverage_rows, headline_metrics, slice_rows
from postbias.evaluation.results_table import markdown_table
from postbias.tracking.chart_logging import STUDENT_CHARTS, log_charts, render_chart
from postbias.tracking.runs import StageRun

Json = dict[str, Any]


def log_evaluation(
    run: StageRun, evaluation: Evaluation, report: Json
) -> dict[str, dict[str, bytes]]:
    """Log an evaluation to the run of the evaluate stage.

    Args:
        report: The content of `evaluate.json`.

    Returns:
        Charts (PNG) by student and name, for the training runs.
    """
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
    log_charts(run, "comparison")
    run.log_table(list(slice_rows(report)), "slices.json")
    run.log_table(list(coverage_rows(report)), "coverage.json")
    run.log_table([{"line": name, **line} for name, line in report["gate"].items()], "gate.json")
    return {
        modality: {name: render_chart(run.paths, name, modality) for name in STUDENT_CHARTS}
        for modality in evaluation.students
    }
