"""split: assign the labelled posts to folds that share no author and no near-duplicate.

Reads build/labels.parquet, build/sample/posts.parquet, build/sample/corpus and the file named by
split.folds, if any; writes build/split.parquet and reports/split.json; params: seed, split.
"""

from __future__ import annotations

from postbias.posts.split import split
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("split") as run:
        summary = split(run.paths, run.params)
        run.log_metrics(summary.metrics())


if __name__ == "__main__":
    main()
