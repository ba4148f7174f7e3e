"""Scoring processes that are killed at a given point of their progress."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

_COUNT = """
import os, signal, sys
from postbias.scoring.score_store import StoredShard
n_left, write = int(sys.argv.pop(1)), StoredShard.write

def write_and_count(*arguments):
    global n_left
    write(*arguments)
    n_left -= 1
    if not n_left:
        os.kill(os.getpid(), signal.SIGKILL)

StoredShard.write = write_and_count
"""
_COMMAND = "from postbias.cli import main; main()"


def kill_after_shards(n_shards: int, folder: Path, *arguments: str, code: str = _COMMAND) -> None:
    """Run a `postbias` command, or other code, that kills itself when it has stored some shards.

    Killing it from outside would depend on how fast the machine is.
    """
    command = [sys.executable, "-c", _COUNT + code, str(n_shards), *arguments]
    process = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr
