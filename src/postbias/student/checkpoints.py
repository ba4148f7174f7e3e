"""Checkpoints on disk: which one a killed run goes on from, and when one is whole.

The Trainer writes them; a run may be killed while it does. Each is marked when nothing is missing
any more. Several processes agree on what the first one finds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from postbias.student import distributed as processes

_DONE = "whole"  # written into a checkpoint folder last: one without it was cut short


def mark_whole(checkpoint: Path) -> None:
    """Say that a checkpoint was written completely, by every process.

    Args:
        checkpoint: Its folder.
    """
    processes.wait()
    if processes.is_first():
        (checkpoint / _DONE).touch()


def last_whole(folder: Path) -> Path | None:
    """Find the checkpoint to go on from, and remove those that were cut short.

    Args:
        folder: Of a run's checkpoints.

    Returns:
        The last one that is whole, if there is any; the same in every process.
    """
    last: Path | None = processes.agree(_last_whole(folder) if processes.is_first() else None)
    return last


def remove(folder: Path) -> None:
    """Remove a run's checkpoints when nobody needs them any more.

    Args:
        folder: Of a run's checkpoints.
    """
    processes.wait()
    if processes.is_first():
        shutil.rmtree(folder, ignore_errors=True)


def _last_whole(folder: Path) -> Path | None:
    found = [path for path in folder.glob("checkpoint-*") if (path / _DONE).exists()]
    for path in folder.glob("checkpoint-*"):
        if path not in found:
            shutil.rmtree(path)
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
