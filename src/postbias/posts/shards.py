"""Parquet on disk: tables written whole or not at all, and posts in shards of bounded size.

Writer settings are fixed, so that the same content gives the same bytes. Readers name the columns
they want: only training, annotation and scoring ever read `images`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postbias.errors import CorpusError, SchemaError, StorageError
from postbias.posts.remote_files import HeldFile, ObjectPath, Place, readable
from postbias.posts.schema import IMAGE, POSTS, check_table, leaves

#: A shard is closed at whichever comes first.
SHARD_POSTS = 10_000
SHARD_BYTES = 128 * 2**20

#: Small enough that a reader of a row group with images holds a few tens of megabytes.
ROW_GROUP_POSTS = 500

# JPEG bytes do not compress: 5% of the size for three times the time.
_IMAGES = "images."

#: Named as a column, reads `images` without their bytes: enough to count them.
IMAGE_PATHS = "images.list.element.path"
_IMAGE_PATHS_FIELD = pa.field(
    "images", pa.list_(pa.field("element", pa.struct([IMAGE.field("path")]))), nullable=False
)


@contextmanager
def replacing(path: Place) -> Iterator[Path]:
    """Give a temporary path that takes the place of `path` when the block ends without an error.

    Args:
        path: The file to write; its folder is made.

    Yields:
        A local path to write to.

    Raises:
        StorageError: If the disk is full or the place cannot be written.
    """
    if isinstance(path, ObjectPath):
        with path.replacing() as temporary:
            yield temporary
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"cannot write {path}: {error.strerror or error}",
            do="free space or choose another disk",
        ) from error
    finally:
        with suppress(OSError):  # where the folder is a file, say, that is the error to tell
            temporary.unlink(missing_ok=True)


def writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet writer with the settings that all tables of postbias share.

    Args:
        path: The file to write.
        schema: Its schema.

    Returns:
        The writer; close it, best as a context manager.
    """
    names = leaves(schema)
    images = {name for name in names if name.startswith(_IMAGES)}
    return pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression={name: "none" if name in images else "zstd" for name in names},
        use_dictionary=[name for name in names if name not in images],
    )


def write_table(table: pa.Table, path: Place, schema: pa.Schema) -> None:
    """Write a checked table, whole or not at all.

    Args:
        table: The rows, in the order to keep.
        path: The file to write.
        schema: What the table must be.

    Raises:
        SchemaError: If the table has other columns or types.
        StorageError: If it cannot be written.
    """
    table = check_table(table, schema, str(path))
    with replacing(path) as temporary, writer(temporary, schema) as out:
        out.write_table(table, row_group_size=ROW_GROUP_POSTS if "images" in schema.names else None)


def read_table(
    path: Place, schema: pa.Schema | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read a table and check it.

    Args:
        path: A Parquet file.
        schema: What it must be; unchecked if not given.
        columns: The columns to read; all if not given.

    Returns:
        The rows in file order.

    Raises:
        SchemaError: If the file is missing, damaged or has other columns.
    """
    try:
        table = pq.ParquetFile(readable(path)).read(columns=list(columns) if columns else None)
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(
            f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}",
            do="run `dvc repro` or `dvc pull` to make it again",
        ) from error
    if schema is None:
        return table
    if columns:
        schema = pa.schema([schema.field(name) for name in columns])
    return check_table(table, schema, str(path))


def list_shards(folder: Path) -> list[Path]:
    """List the shards of a folder in reading order.

    Args:
        folder: A folder of Parquet shards.

    Returns:
        Its `.parquet` files sorted by name; hidden files are none of them.

    Raises:
        CorpusError: If there is none.
    """
    shards = sorted(p for p in folder.glob("*.parquet") if not p.name.startswith("."))
    if not shards:
        raise CorpusError(
            "no post shards",
            seen=str(folder),
            do="run `dvc pull`, or import posts with `postbias import LAYOUT SRC DEST`",
        )
    return shards


def count_rows(shards: Sequence[Place]) -> int:
    """Count the rows of Parquet files from their footers alone."""
    return sum(pq.read_metadata(readable(shard)).num_rows for shard in shards)


def read_posts(folder: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of all posts of a folder.

    Args:
        folder: A folder of post shards.
        columns: Columns of `POSTS`; naming `images` here loads every image into memory.

    Returns:
        One row per post, in shard order.

    Raises:
        CorpusError: If the folder has no shard.
        SchemaError: If a shard has other columns.
    """
    shards = list_shards(folder)
    return pa.concat_tables([read_table(shard, POSTS, columns) for shard in shards])


def iter_posts(
    shards: Sequence[Place | HeldFile], columns: Sequence[str], batch_size: int
) -> Iterator[pa.RecordBatch]:
    """Go through posts in batches, in constant memory.

    Args:
        shards: Post shards, read in the order given.
        columns: Columns of `POSTS`, or `IMAGE_PATHS`.
        batch_size: Rows per batch at most; a batch never spans two shards.

    Yields:
        Record batches in shard and row order.

    Raises:
        SchemaError: If a shard is damaged or has other columns.
    """
    want = pa.schema(
        [_IMAGE_PATHS_FIELD if name == IMAGE_PATHS else POSTS.field(name) for name in columns]
    )
    for shard in shards:
        with _opened(shard) as file:
            for batch in file.iter_batches(batch_size, columns=list(columns)):
                yield batch.cast(want)


def iter_wanted(
    folder: Path, post_ids: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Go through some posts by id; row groups that hold none of them are not read.

    Args:
        folder: A folder of post shards.
        post_ids: The ids wanted; those in no shard are passed over.
        columns: Columns of `POSTS`.

    Yields:
        Record batches of wanted posts in shard and row order, none of them empty.

    Raises:
        CorpusError: If there is no shard.
        SchemaError: If a shard is damaged or has other columns.
    """
    wanted = pa.array(post_ids, pa.string())
    want = pa.schema([POSTS.field(name) for name in columns])
    for shard in list_shards(folder):
        with _opened(shard) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["post_id"])["post_id"]
                hits = pc.is_in(ids, value_set=wanted)
                if pc.any(hits).as_py():
                    found = file.read_row_group(group, columns=list(columns)).filter(hits)
                    yield found.combine_chunks().cast(want).to_batches()[0]


def take_posts(folder: Path, post_ids: Sequence[str], columns: Sequence[str]) -> pa.Table:
    """Read some posts by id.

    Args:
        folder: A folder of post shards.
        post_ids: The ids wanted, each once.
        columns: Columns of `POSTS`.

    Returns:
        One row per id, in the order of `post_ids`.

    Raises:
        CorpusError: If an id is in no shard, or there is no shard.
        SchemaError: If a shard is damaged.
    """
    wanted = pa.array(post_ids, pa.string())
    names = ["post_id", *(name for name in columns if name != "post_id")]
    found = list(iter_wanted(folder, post_ids, names))
    table = pa.Table.from_batches(found, pa.schema([POSTS.field(name) for name in names]))
    positions = pc.index_in(wanted, value_set=table["post_id"].combine_chunks())
    if positions.null_count:
        missing = wanted.filter(positions.is_null())
        raise CorpusError(
            f"{len(missing)} of {len(wanted)} posts are not in {folder}",
            seen=missing[0].as_py(),
            do="run `dvc repro` so that sample and labels match the posts",
        )
    return table.take(positions).select(list(columns))


@contextmanager
def _opened(shard: Place | HeldFile) -> Iterator[pq.ParquetFile]:
    """Open a shard of posts; whatever is damaged in it becomes a `SchemaError`."""
    try:
        file = pq.ParquetFile(readable(shard))
        check_table(file.schema_arrow.empty_table(), POSTS, str(shard))
        yield file
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(
            f"{shard} is damaged: {' '.join(str(error).split())[:200]}",
            do="run `dvc pull --force` or import again",
        ) from error


def rows(table: pa.Table | pa.RecordBatch) -> list[dict[str, Any]]:
    """Return one dictionary per row; for tables small enough to be read by people."""
    return table.to_pylist()  # type: ignore[no-any-return]
