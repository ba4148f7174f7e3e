"""What is one click away: the report, the runs in MLflow, and the rating page."""

from __future__ import annotations

import socket
from typing import Any

from fastapi import FastAPI, HTTPException
from fastapi.responses import FileResponse

from postbias.app.access import LOOPBACK
from postbias.app.rating_process import RatingProcess
from postbias.errors import InputError
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

    def __init__(
        self, paths: Paths | None, rating: RatingProcess | None, *, is_local: bool
    ) -> None:
        """Look for them in a repository.

        Args:
            paths: The repository; None outside of one.
            rating: Starts the rating page; None outside of a repository.
            is_local: Whether only this machine can connect: then the page may start the other one.
        """
        self._paths = paths
        self._is_local = is_local
        self._rating = rating

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.get("/api/pages")(self.pages)
        app.get("/report")(self.report)
        app.post("/api/pages/rating")(self.start_rating)

    def pages(self) -> Json:
        """Tell which pages exist and which servers answer."""
        has_report = self._paths is not None and self._paths.report.is_file()
        return {
            "is_repository": self._paths is not None,
            "has_report": has_report,
            "runs": {"port": RUNS_PORT, "path": _RUNS_PATH, "is_open": _is_listening(RUNS_PORT)},
            "can_start_rating": self._is_local and self._rating is not None,
            "rating": {"port": RATING_PORT, "is_open": _is_listening(RATING_PORT)},
        }

    def start_rating(self) -> Json:
        """Start `postbias rate` on its port, until this command ends.

        Raises:
            InputError: If it cannot be started, with its message.
        """
        if not self._is_local or self._rating is None:
            raise InputError("the rating page cannot be started here", do="run `postbias rate`")
        if not _is_listening(RATING_PORT):
            self._rating.start(RATING_PORT)
        return {"port": RATING_PORT}

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
