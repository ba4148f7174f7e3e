"""train: train one student of the ablation matrix.

Reads data/posts, build/labels.parquet and build/split.parquet; writes build/students/<modality>/,
reports/train/<modality>.json and reports/curves/<modality>.csv; params: seed, threads, train,
annotate.rubric, evaluate.coverage. Usage: python stages/train.py MODALITY, or torchrun in place
of python: then the first process does all that, and the others train beside it.
"""

import os
import sys

from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    (modality,) = sys.argv[1:]
    # Threads that spin while they wait take the cores from each other when a machine is shared:
    # a third of the time under load, the same when idle. Read when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with stage_run(f"train@{modality}") as run:
        from postbias.student.distillation import assist, distil

        if not run.is_first:
            assist(run.paths, run.params, modality)
            return
        distilled = distil(run.paths, run.params, modality, on_seed=run.seed_log)
        run.set_tags({"artifact": distilled.digest})
        run.log_metrics(distilled.report)


if __name__ == "__main__":
    main()
