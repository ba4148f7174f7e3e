"""annotate: label the sampled posts with the teacher.

Reads build/sample, the rubric and recorded labels or an endpoint; writes build/labels.parquet,
build/label_rejects.parquet, reports/labels.json and reports/plots/labels.csv; params: annotate.
"""

from __future__ import annotations

from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("annotate") as run:
        from postbias.teacher.annotate import annotate
        from postbias.tracking.chart_logging import log_charts

        summary = annotate(run.paths, run.params)
        run.log_metrics(summary.metrics())
        log_charts(run, "labels")


if __name__ == "__main__":
    main()
