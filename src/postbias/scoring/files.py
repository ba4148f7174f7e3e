"""Scores the posts in files of any known kind, for `postbias score`.

Post shards are scored as they are; anything else is imported first. What must survive a crash lies
beside the output in a hidden folder, which goes when the output is complete; so an interrupted
command, given again, goes on. Rejects of import and scoring end in one table beside the output.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from postbias.errors import InputError, StorageError
from postbias.posts.importers import LAYOUTS, Columns, import_posts
from postbias.posts.schema import POSTS, REJECTS, scores_schema
from postbias.posts.shards import list_shards, read_table, replacing, write_table, writer
from postbias.scoring.bulk import BulkSummary, Destination, score_shards
from postbias.scoring.scorer import Scorer

logger = logging.getLogger(__name__)

_TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")


@dataclass(frozen=True, slots=True)
class Job:
    """What `postbias score` is asked to do.

    Attributes:
        source: Post shards (a folder or one file), a table, or an export.
        output: A `.parquet` or `.csv` file, or a folder that gets one shard per shard.
        layout: Layout of an export; None for shards and tables.
        columns: Column names of a table.
    """

    source: Path
    output: Path
    layout: str | None = None
    columns: Columns | None = None

    @property
    def rejects(self) -> Path:
        """The table of the posts that could not be read or scored."""
        return self.output.with_name(f"{self.output.stem}.rejects.parquet")

    @property
    def partial(self) -> Path:
        """The folder of what must survive a crash."""
        return self.output.with_name(f".{self.output.name}.partial")


def score_files(job: Job, scorer: Scorer, *, batch_size: int) -> BulkSummary:
    """Score the posts in files.

    Args:
        job: What to read and where to write.
        scorer: The student.
        batch_size: Posts in memory at a time, times a few; does not change a score.

    Returns:
        What it came to.

    Raises:
        InputError: If the source is of no known kind, or the output is something else already.
        CorpusError: If there are no posts.
        CountsError: If rows in are not rows out.
        StorageError: If something cannot be written.
    """
    write = _writer(job.output)
    _refuse_foreign(job)
    shards, import_rejects = _shards(job)
    to = Destination(job.partial / "scores", job.partial / "rejects.parquet", job.partial / "store")
    summary = score_shards(shards, scorer, to, batch_size=batch_size)
    rejects = [read_table(path, REJECTS) for path in (*import_rejects, to.rejects)]
    write_table(pa.concat_tables(rejects), job.rejects, REJECTS)
    write(list_shards(to.scores), job.output, scores_schema(scorer.axes))
    shutil.rmtree(job.partial)
    return summary


def _shards(job: Job) -> tuple[list[Path], list[Path]]:
    """Give post shards, and the tables of rejects that making them left behind."""
    source = job.source
    if not source.exists():
        raise InputError("no such file or folder", seen=str(source))
    if job.layout is None:
        if source.is_dir():
            return _shards_in(source), []
        if source.suffix == ".parquet" and _is_shard(source):
            return [source], []
        if source.suffix not in _TABLES:
            raise InputError(
                f"{source} is of no known kind",
                allowed=f"a folder of post shards, a file ({', '.join(_TABLES)}), or an export "
                f"with --layout ({', '.join(LAYOUTS)})",
            )
    imported = job.partial / "posts"
    summary = import_posts(job.layout or "table", source, imported, columns=job.columns,
                           replace=True)  # fmt: skip
    if summary.n_rejects:
        logger.warning("%d posts could not be read: see %s", summary.n_rejects, job.rejects)
    return list_shards(imported / "posts"), [imported / "rejects.parquet"]


def _shards_in(folder: Path) -> list[Path]:
    inner = folder / "posts"  # what `postbias import` leaves
    found = [f for f in (folder, inner) if any(f.glob("*.parquet"))]
    shards = [shard for f in found for shard in sorted(f.glob("*.parquet")) if _is_shard(shard)]
    if not shards:
        raise InputError(
            f"no post shards in {folder}",
            do=f"name its layout with --layout ({', '.join(LAYOUTS)})",
        )
    return shards


def _is_shard(path: Path) -> bool:
    try:
        return pq.read_schema(path).equals(POSTS)  # type: ignore[no-any-return]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{path} cannot be read as Parquet") from error


def _refuse_foreign(job: Job) -> None:
    """Refuse to replace what this command did not write."""
    output = job.output
    is_folder = _writer(output) is _write_folder
    if not output.exists():
        return
    if output.is_dir() != is_folder:
        kind = "folder" if output.is_dir() else "file"
        raise InputError("OUT is there and of another kind", seen=f"{output}, a {kind}")
    if output.resolve() == job.source.resolve():
        raise InputError("OUT is INPUT", seen=str(output), do="choose another OUT")
    foreign = [f.name for f in output.iterdir() if not _is_scores(f)] if is_folder else []
    if foreign:
        raise InputError(
            f"{output} holds other things than scores",
            seen=foreign[0],
            do="choose a folder that is empty or does not exist",
        )


def _is_scores(path: Path) -> bool:
    return path.suffix == ".parquet" and "champion" in pq.read_schema(path).names


def _writer(output: Path) -> Callable[[Sequence[Path], Path, pa.Schema], None]:
    writers = {".parquet": _write_parquet, ".csv": _write_csv, "": _write_folder}
    if output.suffix not in writers:
        raise InputError(
            "OUT is of no known kind", seen=output.name, allowed="a folder, .parquet or .csv"
        )
    return writers[output.suffix]


def _write_parquet(shards: Sequence[Path], output: Path, schema: pa.Schema) -> None:
    with replacing(output) as temporary, writer(temporary, schema) as out:
        for shard in shards:
            out.write_table(read_table(shard, schema))


def _write_csv(shards: Sequence[Path], output: Path, schema: pa.Schema) -> None:
    with replacing(output) as temporary, pa.csv.CSVWriter(temporary, schema) as out:
        for shard in shards:
            out.write_table(read_table(shard, schema))


def _write_folder(shards: Sequence[Path], output: Path, _schema: pa.Schema) -> None:
    try:
        if output.exists():
            shutil.rmtree(output)
        output.parent.mkdir(parents=True, exist_ok=True)
        shards[0].parent.replace(output)
    except OSError as error:
        raise StorageError(f"cannot write {output}: {error.strerror or error}") from error
