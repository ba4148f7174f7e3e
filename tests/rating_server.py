"""`postbias rate` in a process of its own, and a client that rates."""

from __future__ import annotations

import json
import secrets
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.page_process import PageProcess

Json = dict[str, Any]


class RatingServer(PageProcess):
    """The command, started in a repository; a context manager."""

    _stderr = subprocess.PIPE

    def __init__(self, root: Path, *options: str) -> None:
        """Name the repository; `__enter__` starts the server."""
        super().__init__(root, "rate", *options)

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
