"""One fork server for all stages that the tests of a process start by `dvc repro`."""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

#: Below the server: passes its address on, and keeps it running until its input is closed.
_COMMAND = """
import os, sys
print(os.environ.get("POSTBIAS_FORK_SERVER", ""), flush=True)
sys.stdin.read()
"""


@cache
def fork_server_environment() -> dict[str, str]:
    """Start a fork server; stages that start before it is ready run by themselves.

    Importing MLflow and torch takes most of the time of a small pipeline's stages. It ends with the
    tests' process, however that ends.

    Returns:
        The variables by which stages find it.
    """
    folder = Path(tempfile.mkdtemp(prefix="postbias-tests-"))
    process = subprocess.Popen(
        [sys.executable, "-m", "postbias.tracking.fork_server", sys.executable, "-c", _COMMAND],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=folder, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    with process.stdout as output:
        address = output.readline().strip()
    atexit.register(_stop, process, folder)
    return {"POSTBIAS_FORK_SERVER": address}


def _stop(process: subprocess.Popen[str], folder: Path) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    shutil.rmtree(folder)
