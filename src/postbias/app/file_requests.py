"""Requests of `Score a file`: send files, confirm columns, start, watch, stop and continue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from postbias.app.page_session import PageSession
from postbias.app.upload_reading import FIELDS

Json = dict[str, Any]

_ColumnName = Annotated[str, Field(max_length=500)]


class _ColumnsBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    columns: Annotated[dict[str, _ColumnName], Field(max_length=50)] | None = None


class FileHandlers:
    """The handlers of these requests; those that wait run in threads."""

    def __init__(self, session: PageSession) -> None:
        """Use the uploads and jobs of a session."""
        self._session = session

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        app.post("/api/uploads")(self.create)
        app.put("/api/uploads/{upload}/file")(self.receive)
        app.post("/api/uploads/{upload}/examination")(self.examine)
        app.delete("/api/uploads/{upload}")(self.remove)
        app.post("/api/uploads/{upload}/job")(self.start)
        app.get("/api/jobs/{job}")(self.status)
        app.post("/api/jobs/{job}/cancel")(self.cancel)
        app.post("/api/jobs/{job}/resume")(self.resume)

    def create(self) -> Json:
        """Create an upload."""
        return {"upload": self._session.uploads.create()}

    async def receive(
        self, upload: str, request: Request, name: Annotated[str, Query(max_length=1000)]
    ) -> Json:
        """Receive one file; its content is the body."""
        found = self._session.uploads.find(upload)
        await found.receive(name, request.stream())
        return {"files": found.n_files, "bytes": found.n_bytes}

    def examine(self, upload: str, body: _ColumnsBody) -> Json:
        """Find out what was sent, or show it with other columns."""
        folder = self._session.uploads.find(upload).folder
        task = {"task": "examine", "folder": str(folder), "columns": body.columns}
        return self._session.new_reader(folder).run(task) | {"fields": FIELDS}

    def remove(self, upload: str) -> Json:
        """Delete an upload."""
        self._session.uploads.remove(upload)
        return {}

    def start(self, upload: str, body: _ColumnsBody) -> Json:
        """Start to score an upload."""
        found = self._session.uploads.find(upload)
        return {"job": self._session.jobs.start(found, body.columns)}

    def status(self, job: str) -> Mapping[str, Any]:
        """Say how far a job has come; when it is done, its posts can be explored."""
        found = self._session.jobs.find(job)
        status = asdict(found.status)
        if found.status.state == "done":
            status["corpus"] = self._session.add_result(job)
            status["summary"] = {k: v for k, v in status["summary"].items() if k != "shards"}
        return status | {"name": found.upload.name}

    def cancel(self, job: str) -> Json:
        """Stop a job."""
        self._session.jobs.cancel(job)
        return {}

    def resume(self, job: str) -> Json:
        """Continue a job."""
        self._session.jobs.resume(job)
        return {}
