"""What is one click away: the report, the runs in MLflow, and the rating page."""

from __future__ import annotations

import socket
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from postbias.app.access import LOOPBACK
from postbias.paths import Paths

Json = dict[str, Any]

#: Where `make ui` and `postbias rate` listen by default.
RUNS_PORT, RATING_PORT = 5000, 8765
# The view of the students that `make ui` saves.
_RUNS_PATH = "/#/experiments/1/runs?viewStateShareKey=students"
_TIMEOUT_S = 0.2
# The report has styles and images inside, and no scripts.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


class PageLinks:
    """Handlers of the other pages."""

    def __init__(self, paths: Paths | None) -> None:
        """Look for them in a repository; None outside of one."""
        self._paths = paths

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.get("/api/pages")(self.pages)
        app.get("/report")(self.report)

    def pages(self) -> Json:
        """Tell which pages exist and which servers answer."""
        has_report = self._paths is not None and self._paths.report.is_file()
        return {
            "is_repository": self._paths is not None,
            "has_report": has_report,
            "runs": {"port": RUNS_PORT, "path": _RUNS_PATH, "is_open": _is_listening(RUNS_PORT)},
            "rating": {"port": RATING_PORT, "is_open": _is_listening(RATING_PORT)},
        }

    def report(self) -> FileResponse:
        """Send the report."""
        if self._paths is None or not self._paths.report.is_file():
            raise HTTPException(404)
        headers = {"Content-Security-Policy": _REPORT_POLICY}
        return FileResponse(self._paths.report, media_type="text/html", headers=headers)


def _is_listening(port: int) -> bool:
    """Tell whether a server of this machine listens on a port."""
    try:
        with socket.create_connection((LOOPBACK, port), _TIMEOUT_S):
            return True
    except OSError:
        return False
