"""sample: choose the posts to label.

Reads data, the file named by split.folds, if any, and samples/rounds.csv (later rounds, if
sample.method is active); writes build/sample/posts.parquet (the sample),
build/sample/frame.parquet (what it was drawn from), build/sample/corpus (its posts, and the files
of data that later stages read) and reports/sample.json; params: seed, sample, annotate.labels,
split.folds, split.folds_column, train.cross_fit, train.transfer.
"""

from __future__ import annotations

from postbias.posts.sampling import sample
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("sample") as run:
        summary = sample(run.paths, run.params)
        run.log_metrics(summary.metrics())


if __name__ == "__main__":
    main()
