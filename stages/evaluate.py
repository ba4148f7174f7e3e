"""evaluate: measure the students as shipped, beside the baselines, and promote the best one.

Reads build/sample/corpus, build/labels.parquet, build/split.parquet, reports/split.json,
build/students, build/out_of_fold, and the word pairs and image pairs of evaluate.audit; writes
reports/evaluate.json, reports/metrics.json, reports/valid_predictions.csv, reports/plots and, if
the gate passes, build/champion and build/nearest_posts.parquet, and registers the champion with
MLflow; params: seed, threads, images, train.modalities, train.cross_fit, evaluate,
infer.precision, infer.device.
"""

from __future__ import annotations

from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("evaluate") as run:
        from postbias.evaluation.evaluate import evaluate
        from postbias.evaluation.outputs import write_champion, write_evaluation
        from postbias.evaluation.training_index import write_training_index
        from postbias.tracking.evaluation_logging import log_evaluation
        from postbias.tracking.registry import register_champion
        from postbias.tracking.run_logging import log_test_metrics

        evaluation = evaluate(run.paths, run.params)
        report = write_evaluation(evaluation, run.paths)
        log_test_metrics(run.paths, log_evaluation(run, evaluation, report))
        write_champion(evaluation, run.paths)
        write_training_index(run.paths, run.params, evaluation.folds["train"])
        register_champion(run.paths, run.run_id, precision=run.params.infer.precision)


if __name__ == "__main__":
    main()
