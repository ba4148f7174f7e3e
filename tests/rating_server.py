"""`postbias rate` in a process of its own, and a client that rates."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Json = dict[str, Any]


class RatingServer:
    """The command, started in a repository; a context manager."""

    def __init__(self, root: Path, *options: str) -> None:
        """Name the repository; `__enter__` starts the server."""
        self._root = root
        self._options = options
        self.url = ""
        self.lines: list[str] = []

    def __enter__(self) -> Self:
        """Start the server and wait until it prints its address."""
        code = "from postbias.cli import main; main()"
        command = [sys.executable, "-c", code, "rate", "--no-browser", "--port", "0"]
        self.process = subprocess.Popen(
            [*command, *self._options],
            cwd=self._root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.strip())
            if found := re.search(r"http://\S+", line):
                self.url = found[0]
                return self
        raise AssertionError(f"the server ended with code {self.process.wait()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Kill the server."""
        self.process.kill()
        self.process.communicate()

    def request(self, path: str, body: Json | None = None, **headers: str) -> Json:
        """Send a request, and return the JSON of the answer.

        Raises:
            urllib.error.HTTPError: If the answer has an error status.
        """
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | headers
        url = self.url.rstrip("/") + path
        request = urllib.request.Request(url, data, headers)  # noqa: S310 - on loopback
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=10) as response:
            answer: Json = json.load(response)
            return answer

    def rate(self, rater: str, task: Json, **changes: object) -> Json:
        """Rate a post, and return the rater's progress."""
        body = {
            "rater": rater, "nonce": secrets.token_hex(8), "post": task["post"],
            "occasion": task["occasion"], "outcome": "rated",
            "scores": {"bias": 4, "orientation": 5}, "note": "", "seconds": 2.5,
        }  # fmt: skip
        return self.request("/api/answers", body | changes)


def error_of(error: urllib.error.HTTPError) -> tuple[int, str]:
    """Return status and text of an error."""
    with error:
        return error.code, error.read().decode()
