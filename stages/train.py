"""train: train the student of one modality.

Reads build/sample/corpus/posts, build/labels.parquet, build/split.parquet and the student in
full_students that train.distil_from names; writes build/students/<modality>/,
build/out_of_fold/<modality>.parquet, reports/train/<modality>.json and
reports/curves/<modality>.csv; params: seed, threads, images, train, annotate.rubric,
evaluate.coverage. Usage: python stages/train.py MODALITY. With torchrun in place of python, several
processes train, of which only the main one writes files.
"""

import os
import sys

from postbias.tracking.runs import stage_run


def main() -> None:
    """Run the stage."""
    (modality,) = sys.argv[1:]
    # Threads that spin while waiting compete for the cores of a shared machine; without spinning,
    # training under load takes a third of the time. Must be set before torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    with stage_run(f"train@{modality}") as run:
        from postbias.student.distillation import distil_student, join_training

        if not run.is_first:
            join_training(run.paths, run.params, modality)
            return
        result = distil_student(run.paths, run.params, modality, on_seed=run.seed_log)
        run.set_tags(result.lineage)
        run.log_metrics(result.report)


if __name__ == "__main__":
    main()
