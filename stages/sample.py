"""sample: choose the posts to label.

Reads data/posts and the file named by split.folds, if any; writes build/sample/posts.parquet and
reports/sample.json; params: seed, sample, split.folds, split.folds_column.
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
