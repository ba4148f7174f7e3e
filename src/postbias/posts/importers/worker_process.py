"""A worker process that is killed when it takes too long, and started again when it is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

#: A busy machine can take this long to start Python and import the decoders.
START_TIMEOUT_S = 120.0

#: A longer reply is none of the worker's.
_MAX_LINE_BYTES = 2**20

# Not the whole environment, which may contain keys of an API: the worker reads untrusted files.
_ENVIRONMENT = (
    *("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),
    *("SYSTEMROOT", "TEMP", "TMP"),
)


class WorkerTimeoutError(Exception):
    """The worker did not reply in time and was killed."""


class WorkerCrashError(Exception):
    """The worker ended or sent something that is no reply."""


class WorkerProcess:
    """Sends requests to a process, one at a time, and reads its replies.

    A request and a reply are a line of JSON and the bytes announced by it.
    """

    def __init__(self, command: Sequence[str]) -> None:
        """Remember the command; the process starts with the first request.

        Args:
            command: Starts the worker, which first sends a reply by itself.
        """
        self._command = list(command)
        self._process: subprocess.Popen[bytes] | None = None
        self._is_late = False

    def ask(
        self, request: dict[str, Any], content: bytes, timeout_s: float
    ) -> tuple[dict[str, Any], list[bytes]]:
        """Send a request and wait for the reply.

        Args:
            request: The request, without the size of its content.
            content: Bytes that follow it.
            timeout_s: The process is killed after this time.

        Returns:
            The reply, and the content of each of its `parts`.

        Raises:
            WorkerTimeoutError: If it takes too long.
            WorkerCrashError: If the process ends or its reply is invalid.
        """
        if self._process is None:
            self._start()
        line = json.dumps(request | {"size": len(content), "timeout_s": timeout_s}).encode()
        return self._exchange(line + b"\n" + content, timeout_s)

    def close(self) -> None:
        """Kill the process, if it runs."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with suppress(OSError):  # a pipe with unsent bytes
            process.communicate()

    def _start(self) -> None:
        environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        try:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
        except OSError as error:
            raise WorkerCrashError(f"cannot be started: {error.strerror}") from error
        self._exchange(b"", START_TIMEOUT_S)

    def _exchange(self, message: bytes, timeout_s: float) -> tuple[dict[str, Any], list[bytes]]:
        process = self._process
        assert process is not None
        self._is_late = False
        timer = threading.Timer(timeout_s, self._kill_late, [process])
        timer.daemon = True
        timer.start()
        try:
            return _talk(process, message)
        except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
            self.close()
            if self._is_late:
                raise WorkerTimeoutError(f"no result after {timeout_s:g} s") from error
            raise WorkerCrashError(_describe_exit(process.returncode)) from error
        except BaseException:  # interrupted in the middle of a reply
            self.close()
            raise
        finally:
            timer.cancel()

    def _kill_late(self, process: subprocess.Popen[bytes]) -> None:
        self._is_late = True
        process.kill()


def _talk(process: subprocess.Popen[bytes], message: bytes) -> tuple[dict[str, Any], list[bytes]]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(message)
    process.stdin.flush()
    line = process.stdout.readline(_MAX_LINE_BYTES)
    if not line:
        raise EOFError
    reply = json.loads(line)
    contents = [process.stdout.read(part["size"]) for part in reply["parts"]]
    if any(len(data) != part["size"] for data, part in zip(contents, reply["parts"], strict=True)):
        raise EOFError
    return reply, contents


def _describe_exit(code: int | None) -> str:
    """Describe how the process ended; one that was killed after an invalid reply did not."""
    return "its reply is invalid" if code is None or code == -9 else f"it ended with code {code}"
