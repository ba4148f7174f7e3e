"""Find, mark and delete the Trainer's checkpoints, so that a killed run can be resumed.

A run can be killed while the Trainer writes a checkpoint. Each one is therefore marked when it is
complete, and unmarked ones are deleted. With several processes, all use what the main one finds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from postbias.student import distributed

_MARK = "whole"  # empty file, written last into the folder of a complete checkpoint


def mark_complete(checkpoint: Path) -> None:
    """Mark a checkpoint folder as complete once every process has written its part."""
    distributed.barrier()
    if distributed.is_main_process():
        (checkpoint / _MARK).touch()


def last_complete(folder: Path) -> Path | None:
    """Find the checkpoint to resume from, and delete incomplete ones.

    Args:
        folder: Folder of one run's checkpoints.

    Returns:
        The latest complete checkpoint if there is one; the same in every process.
    """
    is_main = distributed.is_main_process()
    last: Path | None = distributed.broadcast_value(_clean_and_find(folder) if is_main else None)
    return last


def remove_checkpoints(folder: Path) -> None:
    """Delete a run's checkpoints once no process needs them any more."""
    distributed.barrier()
    if distributed.is_main_process():
        shutil.rmtree(folder, ignore_errors=True)


def _clean_and_find(folder: Path) -> Path | None:
    complete = [path for path in folder.glob("checkpoint-*") if (path / _MARK).exists()]
    for path in folder.glob("checkpoint-*"):
        if path not in complete:
            shutil.rmtree(path)
    return max(complete, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
