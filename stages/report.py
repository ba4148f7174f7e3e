"""report: estimate what one may say of all posts, and write the page that a person takes away.

Reads data, build/sample, build/labels.parquet, build/split.parquet, build/champion, build/scores,
build/out_of_fold, both tables of rejects and the reports of the stages before; writes
build/report.html, build/cards, reports/population.json, reports/brands.json and reports/brands.csv;
params: threads, report, annotate, sample.method, evaluate.coverage and infer.precision.
"""

from __future__ import annotations

from postbias.report.findings import gather_findings, write_findings
from postbias.tracking.dvc_records import input_digests
from postbias.tracking.publish import publish_report
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("report") as run:
        found = gather_findings(run.paths, run.params, input_digests(run.paths, run.name))
        write_findings(found, run.paths)
        run.log_metrics(found.metrics())
        publish_report(run, found)


if __name__ == "__main__":
    main()
