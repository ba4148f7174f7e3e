"""people: analyse ratings by people and labels by variants of the teacher.

Reads data, build/sample, build/labels.parquet, build/split.parquet, build/champion,
build/out_of_fold, build/scores, build/variants.parquet and ratings/; writes reports/people.json;
params: seed, rating.file, rating.epsilon, annotate.rubric, evaluate.bootstrap and report.min_posts.
"""

from __future__ import annotations

from postbias.people.people_report import collect_metrics, study_people
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("people") as run:
        findings = study_people(run.paths, run.params)
        run.log_metrics(collect_metrics(findings))


if __name__ == "__main__":
    main()
