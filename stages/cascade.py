"""cascade: let the teacher decide the posts about which the student is least certain.

Reads data, build/sample, build/labels.parquet, build/split.parquet, build/champion,
build/out_of_fold, build/scores and reports/labels.json; writes build/cascade.parquet and
reports/cascade.json; params: seed, cascade, annotate, evaluate.bootstrap, evaluate.coverage and
report.cost.
"""

from __future__ import annotations

from postbias.population.decided_posts import collect_cascade_metrics, run_cascade
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("cascade") as run:
        report = run_cascade(run.paths, run.params)
        run.log_metrics(collect_cascade_metrics(report))


if __name__ == "__main__":
    main()
