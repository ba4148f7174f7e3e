"""Score the posts in files of any supported kind, for `postbias score`.

Post shards are scored directly, anything else is imported first. Resumable: finished shards are in
a hidden folder beside the output until the output is complete. Rejects of import and scoring go to
one table beside the output.
"""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from postbias.errors import InputError, StorageError
from postbias.posts.importers import (
    LAYOUTS,
    ImportSummary,
    ReadingOptions,
    import_posts,
)
from postbias.posts.importers.containers import TABLE_SUFFIXES
from postbias.posts.remote_files import AnyPath, ObjectPath, copy_to_local, pyarrow_source
from postbias.posts.schema import REJECTS, scores_schema
from postbias.posts.shards import atomic_write, list_shards, parquet_writer, read_table, write_table
from postbias.scoring.bulk import BulkSummary, ExecutionBackend, ScoreOutputs, score_with_backend
from postbias.scoring.post_sources import AUTO, is_shard, list_shards_in

logger = logging.getLogger(__name__)

#: Empty object, written last: marks a folder in an object store, where no folder can be replaced
#: atomically, as complete. Readers of data sets ignore it.
COMPLETE = "_SUCCESS"


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """Input and output of `postbias score`.

    Attributes:
        source: Post shards (a folder or one file), a table, or an export.
        output: A `.parquet` or `.csv` file, or a folder with one score shard per post shard.
        layout: Layout of an export; None for shards and tables.
        options: Column names of a table, and the encoding if it is known.
    """

    source: AnyPath
    output: AnyPath
    layout: str | None = None
    options: ReadingOptions | None = None

    @property
    def rejects(self) -> AnyPath:
        """Path of the table of posts that could not be read or scored."""
        return self.output.with_name(f"{self.output.stem}.rejects.parquet")

    @property
    def partial(self) -> AnyPath:
        """Folder of the files that must survive a crash."""
        return self.output.with_name(f".{self.output.name}.partial")


def score_files(job: ScoringJob, backend: ExecutionBackend) -> BulkSummary:
    """Score the posts in files.

    Args:
        job: Input and output.
        backend: Execution backend with its student.

    Raises:
        InputError: If the kind of the source is unknown, or the output exists and is not scores.
        CorpusError: If there are no posts.
        SchemaError: If a shard is damaged.
        CountsError: If the number of rows differs from the number of posts.
        StorageError: If an output cannot be written.
    """
    write = _writer(job.output)
    _check_output(job)
    with _scratch(job) as scratch:
        shards, imported = _shards(job, scratch)
        outputs = ScoreOutputs(
            scratch / "scores", scratch / "rejects.parquet", job.partial / "store"
        )
        summary = score_with_backend(shards, backend, outputs)
        import_rejects = [scratch / "posts" / "rejects.parquet"] if imported else []
        rejects = [read_table(path, REJECTS) for path in (*import_rejects, outputs.rejects)]
        write_table(pa.concat_tables(rejects), job.rejects, REJECTS)
        write(list_shards(outputs.scores), job.output, scores_schema(backend.axes))
    if isinstance(job.partial, ObjectPath):
        job.partial.remove()
    else:
        shutil.rmtree(job.partial)
    warning = imported.warning if imported else None
    return dataclasses.replace(
        summary, import_warning=warning and warning.replace("rejects.parquet", str(job.rejects))
    )


@contextmanager
def _scratch(job: ScoringJob) -> Iterator[Path]:
    """Yield a local folder for imported posts and for outputs before they are moved."""
    if isinstance(job.partial, Path):
        yield job.partial
    else:
        with TemporaryDirectory(prefix="postbias-") as folder:
            yield Path(folder)


def _shards(job: ScoringJob, scratch: Path) -> tuple[list[AnyPath], ImportSummary | None]:
    """Return post shards, imported if necessary, and the summary of the import."""
    source = job.source
    if not source.exists():
        raise InputError("no such file or folder", seen=str(source))
    if job.layout is None:
        if source.is_dir():
            shards = list_shards_in(source)
            if not shards:
                raise InputError(
                    f"no post shards in {source}",
                    do=f"name its layout with --layout ({AUTO}, {', '.join(LAYOUTS)})",
                )
            return shards, None
        if source.suffix == ".parquet" and is_shard(source):
            return [source], None
        if source.suffix.lower() not in TABLE_SUFFIXES:
            raise InputError(
                f"the kind of {source} is unknown",
                allowed=f"a folder of post shards, a file ({', '.join(TABLE_SUFFIXES)}), or an "
                f"export with --layout ({', '.join(LAYOUTS)})",
            )
    imported = scratch / "posts"
    summary = import_posts(job.layout or "table", _local_source(job, scratch), imported,
                           options=job.options, replace=True)  # fmt: skip
    _log_import(summary, job)
    return [*list_shards(imported / "posts")], summary


def _log_import(summary: ImportSummary, job: ScoringJob) -> None:
    if summary.encoding:
        logger.info("encoding: %s", summary.encoding)
    for note in summary.notes:
        logger.warning("%s", note)
    for line in summary.fault_lines():
        logger.warning("import: %s", line)
    if warning := summary.warn_of_addresses("score again"):
        logger.warning("%s", warning.removeprefix("WARNING: "))
    if summary.n_rejects or summary.n_missing_images:
        logger.warning("see %s for all of them", job.rejects)


def _local_source(job: ScoringJob, scratch: Path) -> Path:
    """Return the source of an import as a local path; a file in an object store is downloaded."""
    if isinstance(job.source, Path):
        return job.source
    if job.source.is_dir():
        raise InputError(
            "an export in an object store cannot be imported",
            seen=str(job.source),
            do="import it on a disk (`postbias import`), upload its posts/, and score those",
        )
    scratch.mkdir(parents=True, exist_ok=True)
    path = scratch / job.source.name
    copy_to_local(job.source, path)
    return path


def _check_output(job: ScoringJob) -> None:
    """Check that the output may be replaced: only earlier output of this command may."""
    output = job.output
    is_folder = _writer(output) is _write_folder
    if not output.exists():
        return
    if output.is_dir() != is_folder:
        kind = "folder" if output.is_dir() else "file"
        raise InputError("OUT exists and is of another kind", seen=f"{output}, a {kind}")
    if _is_same(output, job.source):
        raise InputError("OUT is the same as INPUT", seen=str(output), do="choose another OUT")
    foreign = [f.name for f in output.iterdir() if not _is_scores(f)] if is_folder else []
    if foreign:
        raise InputError(
            f"{output} contains files other than scores",
            seen=foreign[0],
            do="choose an empty or new folder",
        )


def _is_same(one: AnyPath, other: AnyPath) -> bool:
    if isinstance(one, Path) and isinstance(other, Path):
        return one.resolve() == other.resolve()
    return one == other


def _is_scores(path: AnyPath) -> bool:
    if isinstance(path, ObjectPath) and path.name == COMPLETE:
        return True
    if path.suffix != ".parquet":
        return False
    try:
        return "champion" in pq.read_schema(pyarrow_source(path)).names
    except (OSError, pa.ArrowException):
        return False  # a damaged file is not overwritten: it may be anything


def _writer(output: AnyPath) -> Callable[[Sequence[Path], AnyPath, pa.Schema], None]:
    writers = {".parquet": _write_parquet, ".csv": _write_csv, "": _write_folder}
    if output.suffix not in writers:
        raise InputError(
            "the kind of OUT is unknown", seen=output.name, allowed="a folder, .parquet or .csv"
        )
    return writers[output.suffix]


def _write_parquet(shards: Sequence[Path], output: AnyPath, schema: pa.Schema) -> None:
    with atomic_write(output) as temporary, parquet_writer(temporary, schema) as out:
        for shard in shards:
            out.write_table(read_table(shard, schema))


def _write_csv(shards: Sequence[Path], output: AnyPath, schema: pa.Schema) -> None:
    with atomic_write(output) as temporary, pa.csv.CSVWriter(temporary, schema) as out:
        for shard in shards:
            out.write_table(read_table(shard, schema))


def _write_folder(shards: Sequence[Path], output: AnyPath, _schema: pa.Schema) -> None:
    if isinstance(output, ObjectPath):
        _upload_folder(shards, output)
        return
    try:
        if output.exists():
            shutil.rmtree(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        shards[0].parent.replace(output)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror or error}") from error


def _upload_folder(shards: Sequence[Path], output: ObjectPath) -> None:
    (output / COMPLETE).remove()
    for stale in {old.name for old in output.iterdir()} - {shard.name for shard in shards}:
        (output / stale).remove()
    for shard in shards:
        (output / shard.name).upload(shard)
    (output / COMPLETE).write(pa.py_buffer(b""))
