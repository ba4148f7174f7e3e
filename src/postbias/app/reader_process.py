"""Read uploads in a process of their own, with less memory, which can be stopped at any time.

The process gets its task as one line of JSON and answers in lines of JSON: progress, then a result
or an error. A file that crashes a decoder ends this process, not the page.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL
from typing import Any

from postbias.errors import InputError

logger = logging.getLogger(__name__)

Json = dict[str, Any]

_MODULE = "postbias.app.reader_tasks"


class ReaderStoppedError(InputError):
    """The process was stopped, by the user or at the end of the program."""


class ReaderProcess:
    """One task in a process of its own."""

    def __init__(self, scratch: Path) -> None:
        """Prepare a task.

        Args:
            scratch: Existing folder for the temporary files of the task; also removed from
                messages.
        """
        self._scratch = scratch
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def run(self, task: Mapping[str, Any], report: Callable[[Json], None] | None = None) -> Json:
        """Run a task to its end.

        Args:
            task: `task`, its name in `postbias.app.reader_tasks`, and its arguments.
            report: Called with each line of progress.

        Returns:
            The result.

        Raises:
            InputError: If the task failed, with its message.
            ReaderStoppedError: If it was stopped.
        """
        process = self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        answer: Json = {}
        with process:
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(task) + "\n")
                process.stdin.close()
            for line in process.stdout:
                answer = json.loads(line)
                if report is not None and "phase" in answer:
                    report(answer)
        if self._is_stopped:
            raise ReaderStoppedError("stopped")
        if "result" in answer:
            return dict(answer["result"])
        if "error" not in answer:
            log = (self._scratch / "reader.log").read_text("utf-8", "replace")
            logger.error("the reader of an upload ended unexpectedly: %s", log[-4000:])
            raise InputError(_describe_end(process.returncode))
        raise InputError(self._clean(answer["error"]))

    def stop(self) -> None:
        """Kill the process and its children; what it has finished stays."""
        with self._lock:
            self._is_stopped = True
            if self._process is not None and self._process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, SIGKILL)

    def _start(self) -> subprocess.Popen[str]:
        with self._lock, (self._scratch / "reader.log").open("ab") as log:
            if self._is_stopped:
                raise ReaderStoppedError("stopped")
            # Whatever is unpacked goes to the folder of the upload.
            environment = os.environ | {"TMPDIR": str(self._scratch)}
            self._process = subprocess.Popen(  # noqa: S603 - no user input
                [sys.executable, "-m", _MODULE],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=environment,
                start_new_session=True,
            )
            return self._process

    def _clean(self, message: str) -> str:
        """Remove the paths of temporary folders from a message."""
        folder = str(self._scratch.parent)
        for part in ("/files/", "/unpacked/", "/import/", "/"):
            message = message.replace(f"{folder}{part}", "")
        return message.replace(folder, "the files")


def _describe_end(code: int) -> str:
    return (
        f"the files could not be read: the reader ended unexpectedly (code {code}); they may be "
        "damaged or need too much memory; try fewer posts, or save the table as CSV"
    )
