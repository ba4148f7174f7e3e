"""Start `postbias rate` from the page, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading

from postbias.errors import InputError
from postbias.paths import Paths


class RatingProcess:
    """At most one rating page."""

    def __init__(self, paths: Paths) -> None:
        """Rate the posts of a repository."""
        self._paths = paths
        self._process: subprocess.Popen[str] | None = None
        self._lock = threading.Lock()

    def start(self, port: int) -> None:
        """Start it unless it runs, and wait until it listens.

        Args:
            port: Port to listen on, of this machine only.

        Raises:
            InputError: If it ends at once, with its last line.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            code = "from postbias.cli import main; main()"
            self._process = subprocess.Popen(  # noqa: S603 - no user input
                [sys.executable, "-c", code, "rate", "--no-browser", "--port", str(port)],
                cwd=self._paths.root,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            _wait_for_address(self._process)

    def close(self) -> None:
        """Stop it; answers are stored at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            self._process.communicate()


def _wait_for_address(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    last = "the rating page ended at once"
    for line in process.stdout:
        if "http://" in line:
            return
        last = line.strip().removeprefix("postbias: ") or last
    process.communicate()
    raise InputError(last)
