"""infer: let the champion score every post.

Reads data/posts and build/champion; writes build/scores/,
build/score_rejects.parquet and reports/infer.json; params: threads, infer.
"""

from __future__ import annotations

from postbias.scoring.inference import infer
from postbias.tracking.registry import warn_if_another_champion
from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("infer") as run:
        warn_if_another_champion(run.paths)
        found = infer(run.paths, run.params)
        run.log_metrics(found.metrics())


if __name__ == "__main__":
    main()
