"""Score uploads one after the other in the background, with progress, cancel and resume."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from postbias.app.reader_process import Json, ReaderProcess, ReaderStoppedError
from postbias.app.uploads import Upload
from postbias.errors import InputError

State = Literal["waiting", "running", "cancelled", "failed", "done"]


@dataclass(slots=True)
class ScoringStatus:
    """How far a job has come.

    Attributes:
        state: `waiting` for another job, `running`, `cancelled`, `failed` or `done`.
        phase: `reading`, `scoring` or `writing`, while it runs.
        done: Posts scored.
        total: Posts; 0 until they are read.
        message: Why it failed.
        summary: The result of `score_upload`, when it is done.
    """

    state: State = "waiting"
    phase: str = "reading"
    done: int = 0
    total: int = 0
    message: str = ""
    summary: Json | None = None


@dataclass(slots=True)
class UploadJob:
    """One upload to score.

    Attributes:
        upload: The files.
        columns: The column of each field, as confirmed; None if it is no table.
        status: How far it has come.
        reader: The process of the current run.
    """

    upload: Upload
    columns: Mapping[str, str] | None
    status: ScoringStatus = field(default_factory=ScoringStatus)
    reader: ReaderProcess | None = None


class ScoringJobs:
    """All jobs of a session; one runs at a time."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        """Keep the arguments of all jobs.

        Args:
            settings: `student` (folder), `threads`, `device` and `drift` (limits, or None).
        """
        self._settings = dict(settings)
        self._jobs: dict[str, UploadJob] = {}
        self._slot = threading.Lock()
        self._is_closed = False

    def start(self, upload: Upload, columns: Mapping[str, str] | None) -> str:
        """Start to score an upload, and return the id of the job."""
        job_id = secrets.token_hex(8)
        self._jobs[job_id] = UploadJob(upload, columns)
        self._launch(self._jobs[job_id])
        return job_id

    def find(self, job_id: str) -> UploadJob:
        """Return a job.

        Raises:
            InputError: If there is none.
        """
        if job_id not in self._jobs:
            raise InputError("this job is no longer here", do="send the files again")
        return self._jobs[job_id]

    def finished(self) -> dict[str, UploadJob]:
        """Return the jobs that are done, by id."""
        return {key: job for key, job in self._jobs.items() if job.status.state == "done"}

    def cancel(self, job_id: str) -> None:
        """Stop a job; the posts that are read and the shards that are scored stay.

        Raises:
            InputError: If there is no such job.
        """
        job = self.find(job_id)
        if job.reader is not None and job.status.state in {"waiting", "running"}:
            if job.status.state == "waiting":
                job.status.state = "cancelled"
            job.reader.stop()

    def resume(self, job_id: str) -> None:
        """Continue a job that was cancelled or has failed.

        Raises:
            InputError: If there is no such job.
        """
        job = self.find(job_id)
        if job.status.state in {"cancelled", "failed"}:
            self._launch(job)

    def close(self) -> None:
        """Stop all jobs, at the end of the program."""
        self._is_closed = True
        for job in self._jobs.values():
            if job.reader is not None:
                job.reader.stop()

    def _launch(self, job: UploadJob) -> None:
        scratch = job.upload.folder / "tmp"
        scratch.mkdir(exist_ok=True)
        job.status = ScoringStatus()
        job.reader = ReaderProcess(scratch)
        threading.Thread(target=self._run, args=(job, job.reader), daemon=True).start()

    def _run(self, job: UploadJob, reader: ReaderProcess) -> None:
        status = job.status

        def report(progress: Json) -> None:
            status.phase = progress["phase"]
            status.done, status.total = progress.get("done", 0), progress.get("total", 0)

        with self._slot:
            if self._is_closed or status.state == "cancelled":
                return
            status.state = "running"
            task = {"task": "score", "folder": str(job.upload.folder), "columns": job.columns}
            try:
                status.summary = reader.run(task | self._settings, report)
            except ReaderStoppedError:
                status.state = "cancelled"
            except InputError as error:
                status.state, status.message = "failed", str(error)
            else:
                status.state = "done"
