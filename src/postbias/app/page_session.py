"""What the page works with: one student, uploads, jobs, corpora, and other pages to open."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from postbias.app.corpus_library import CorpusLibrary
from postbias.app.explored_corpus import CorpusFiles
from postbias.app.rating_process import RatingProcess
from postbias.app.reader_process import ReaderProcess
from postbias.app.scoring_jobs import ScoringJobs
from postbias.app.upload_scoring import UploadFiles
from postbias.app.uploads import UploadFolders
from postbias.errors import PostbiasError
from postbias.params import Params, load_params
from postbias.paths import Paths
from postbias.scoring.scorer import Scorer


@dataclass(frozen=True, slots=True)
class PageSession:
    """One run of `postbias app`.

    Attributes:
        scorer: The student.
        scratch: Temporary folder of everything that is written.
        uploads: Files that were sent.
        jobs: Uploads that are scored.
        library: Corpora to explore.
        paths: The repository; None outside of one.
        rating: Starts the rating page; None outside of a repository.
    """

    scorer: Scorer
    scratch: Path
    uploads: UploadFolders
    jobs: ScoringJobs
    library: CorpusLibrary
    paths: Paths | None
    rating: RatingProcess | None

    def new_reader(self, folder: Path) -> ReaderProcess:
        """Return a process for a task on an upload."""
        scratch = folder / "tmp"
        scratch.mkdir(exist_ok=True)
        return ReaderProcess(scratch)

    def add_result(self, job_id: str) -> str:
        """Add the result of a finished job to the corpora, and return its id there."""
        job = self.jobs.find(job_id)
        summary = job.status.summary
        assert summary is not None
        files = UploadFiles(job.upload.folder)
        shards = tuple(Path(shard) for shard in summary["shards"])
        scores = tuple(files.outputs.scores / shard.name for shard in shards)
        brands = None if self.paths is None else find_brands_table(self.paths)
        corpus = CorpusFiles(job.upload.name, scores, shards, brands=brands)
        self.library.add(job_id, corpus, files.rejects)
        return job_id


def find_brands_table(paths: Paths) -> Path | None:
    """Return the table of brands that params.yaml names; None if there is none."""
    params = _find_params(paths)
    if params is None or params.report.brands is None:
        return None
    return paths.root / params.report.brands


def _find_params(paths: Paths | None) -> Params | None:
    """Return the params of a repository; None outside of one, or if they are not valid."""
    if paths is None:
        return None
    try:
        return load_params(paths.params)
    except PostbiasError:  # the page works without
        return None


@contextmanager
def open_page_session(scorer: Scorer, paths: Paths | None) -> Iterator[PageSession]:
    """Create the temporary folder of a session; stop everything and delete it at the end.

    Args:
        scorer: The student.
        paths: The repository; None outside of one.

    Yields:
        The session.
    """
    scratch = Path(tempfile.mkdtemp(prefix="postbias-app-"))
    params = _find_params(paths)
    settings = {
        "drift": None if params is None else params.infer.drift.model_dump(),
        "student": str(scorer.artifact.folder.resolve()),
        "threads": scorer.threads,
        "device": scorer.device,
    }
    jobs, library = ScoringJobs(settings), CorpusLibrary(scratch / "topics")
    uploads = UploadFolders(scratch / "uploads")
    rating = None if paths is None else RatingProcess(paths)
    try:
        yield PageSession(scorer, scratch, uploads, jobs, library, paths, rating)
    finally:
        if rating is not None:
            rating.close()
        jobs.close()
        library.close()
        shutil.rmtree(scratch, ignore_errors=True)
