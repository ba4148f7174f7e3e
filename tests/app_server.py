"""`postbias app` in a process of its own, and a client that does what the page does."""

from __future__ import annotations

import json
import signal
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote

from tests.page_process import PageProcess

Json = Any


class AppServer(PageProcess):
    """The command, started in a folder; a context manager."""

    def __init__(self, root: Path, *options: str, **environment: str) -> None:
        """Name the folder; `__enter__` starts the server."""
        super().__init__(root, "app", *options, **environment)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Interrupt the server, as Ctrl+C does."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise

    def send(
        self, method: str, path: str, data: bytes | None = None, **headers: str
    ) -> tuple[int, bytes]:
        """Send a request, and return status and body of the answer."""
        url = self.url.rstrip("/") + path
        headers = {"Content-Type": "application/json"} | headers
        request = urllib.request.Request(  # noqa: S310 - on loopback
            url, data, headers, method=method
        )
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(request, timeout=60) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def call(self, method: str, path: str, body: Json = None) -> Json:
        """Send JSON, and return that of the answer.

        Raises:
            AssertionError: If the answer has an error status.
        """
        data = None if body is None else json.dumps(body).encode()
        status, answer = self.send(method, path, data)
        assert status == 200, (status, answer)
        return json.loads(answer)

    def upload(self, files: dict[str, bytes]) -> str:
        """Send files, and return the id of the upload."""
        upload = str(self.call("POST", "/api/uploads")["upload"])
        for name, data in files.items():
            path = f"/api/uploads/{upload}/file?name={quote(name)}"
            status, answer = self.send("PUT", path, data)
            assert status == 200, answer
        return upload

    def examine(self, upload: str, columns: dict[str, str] | None = None) -> Json:
        """Find out what an upload is."""
        return self.call("POST", f"/api/uploads/{upload}/examination", {"columns": columns})

    def score(self, upload: str, columns: dict[str, str] | None = None) -> str:
        """Start to score an upload, and return the id of the job."""
        return str(self.call("POST", f"/api/uploads/{upload}/job", {"columns": columns})["job"])

    def wait(self, job: str, *states: str, timeout_s: float = 60) -> Json:
        """Wait until a job has one of the states; by default until it has ended."""
        ends = states or ("done", "failed", "cancelled")
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            status = self.call("GET", f"/api/jobs/{job}")
            if status["state"] in ends:
                return status
            time.sleep(0.05)
        raise AssertionError(f"the job did not become {ends}: {status}")
