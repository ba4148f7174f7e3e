"""learning_curve: measure how the test error falls with the number of labels.

Reads build/sample/corpus, build/labels.parquet, build/split.parquet and the first modality's
student; writes reports/learning_curve.json and reports/plots/learning_curve.csv; params: seed,
threads, images, train, annotate.rubric, evaluate, infer.precision, infer.device.
"""

import os

from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # see stages/train.py
    with stage_run("learning_curve") as run:
        from postbias.evaluation.learning_curve import curve_metrics
        from postbias.student.subset_training import train_on_subsets
        from postbias.tracking.chart_logging import log_charts

        report = train_on_subsets(run.paths, run.params)
        run.log_metrics(curve_metrics(report))
        log_charts(run, "learning_curve")


if __name__ == "__main__":
    main()
