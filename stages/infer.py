"""infer: let the champion score every post.

Reads data/posts and the registered champion, which must be build/champion; writes build/scores/,
build/score_rejects.parquet and reports/infer.json; params: threads, infer.
"""

from __future__ import annotations

from postbias.registry import champion_artifact
from postbias.scoring.inference import infer
from postbias.tracking import stage_run


def main() -> None:
    """Run the stage."""
    with stage_run("infer") as run:
        found = infer(run.paths, run.params, champion_artifact(run.paths))
        run.log_metrics(found.metrics())


if __name__ == "__main__":
    main()
