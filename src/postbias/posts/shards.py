"""Read and write Parquet: atomic writes, schema checks, and posts in shards of bounded size.

Writer settings are fixed, so that the same content always produces the same bytes. Readers name the
columns they need; only training, annotation and scoring read `images`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postbias.errors import CorpusError, SchemaError, StorageError
from postbias.posts.remote_files import AnyPath, InMemoryFile, ObjectPath, pyarrow_source
from postbias.posts.schema import IMAGE, POSTS, check_table, leaf_columns

#: Limits of one shard: it is closed when the first of them is reached.
SHARD_POSTS = 10_000
SHARD_BYTES = 128 * 2**20

#: Small enough that one row group with images takes only a few tens of megabytes of memory.
ROW_GROUP_POSTS = 500

# Image bytes stay uncompressed: zstd would save 5% of the size for three times the time.
_IMAGES = "images."

#: Pass this as a column to read `images` without their bytes, which is enough to count them.
IMAGE_PATHS = "images.list.element.path"
_IMAGE_PATHS_FIELD = pa.field(
    "images", pa.list_(pa.field("element", pa.struct([IMAGE.field("path")]))), nullable=False
)


@contextmanager
def atomic_write(path: AnyPath) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path that replaces `path` if no error occurs.

    Args:
        path: The file to write; its parent folder is created.

    Yields:
        A local path to write to.

    Raises:
        StorageError: If the disk is full or the location is not writable.
    """
    if isinstance(path, ObjectPath):
        with path.upload_on_exit() as temporary:
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
        with suppress(OSError):  # do not hide the first error, for example a parent that is a file
            temporary.unlink(missing_ok=True)


def parquet_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """Open a Parquet writer with the settings that all tables of postbias share.

    Returns:
        The writer; use it as a context manager.
    """
    names = leaf_columns(schema)
    images = {name for name in names if name.startswith(_IMAGES)}
    return pq.ParquetWriter(
        path,
        schema,
        version="2.6",
        compression={name: "none" if name in images else "zstd" for name in names},
        use_dictionary=[name for name in names if name not in images],
    )


def write_table(table: pa.Table, path: AnyPath, schema: pa.Schema) -> None:
    """Check a table and write it atomically.

    Args:
        table: The rows, in file order.

    Raises:
        SchemaError: If the table does not match the schema.
        StorageError: If the file cannot be written.
    """
    table = check_table(table, schema, str(path))
    with atomic_write(path) as temporary, parquet_writer(temporary, schema) as out:
        out.write_table(table, row_group_size=ROW_GROUP_POSTS if "images" in schema.names else None)


def read_table(
    path: AnyPath, schema: pa.Schema | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Read a table and check it.

    Args:
        path: A Parquet file.
        schema: The required schema of the whole file; None skips the check.
        columns: Columns to read; None reads all.

    Returns:
        The rows in file order.

    Raises:
        SchemaError: If the file is missing, damaged or does not match the schema.
    """
    try:
        table = pq.ParquetFile(pyarrow_source(path)).read(
            columns=list(columns) if columns else None
        )
    except (OSError, pa.ArrowException) as error:
        raise SchemaError(
            f"{path} cannot be read as Parquet: {' '.join(str(error).split())[:200]}",
            do="run `dvc repro` or `dvc pull` to restore it",
        ) from error
    if schema is None:
        return table
    if columns:
        schema = pa.schema([schema.field(name) for name in columns])
    return check_table(table, schema, str(path))


def list_shards(folder: Path) -> list[Path]:
    """List the Parquet shards of a folder.

    Returns:
        The `.parquet` files sorted by name, without hidden files.

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


def count_rows(shards: Sequence[AnyPath]) -> int:
    """Count the rows of Parquet files, reading only their footers.

    Raises:
        SchemaError: If a file is damaged.
    """
    return sum(_count_rows(shard) for shard in shards)


def read_posts(folder: Path, columns: Sequence[str]) -> pa.Table:
    """Read some columns of all posts in a folder.

    Args:
        columns: Columns of `POSTS`; `images` would load every image into memory.

    Returns:
        One row per post, in shard and row order.

    Raises:
        CorpusError: If the folder has no shard.
        SchemaError: If a shard is damaged or does not match `POSTS`.
    """
    shards = list_shards(folder)
    return pa.concat_tables([read_table(shard, POSTS, columns) for shard in shards])


def iter_posts(
    shards: Sequence[AnyPath | InMemoryFile], columns: Sequence[str], batch_size: int
) -> Iterator[pa.RecordBatch]:
    """Iterate over posts in batches, in constant memory.

    Args:
        shards: Post shards, read in the given order.
        columns: Columns of `POSTS`, or `IMAGE_PATHS`.
        batch_size: Maximum rows per batch; a batch never spans two shards.

    Yields:
        Record batches in shard and row order.

    Raises:
        SchemaError: If a shard is damaged or does not match `POSTS`.
    """
    schema = pa.schema(
        [_IMAGE_PATHS_FIELD if name == IMAGE_PATHS else POSTS.field(name) for name in columns]
    )
    for shard in shards:
        with open_shard(shard) as file:
            # With threads, images would lie in the memory of several threads, which costs a
            # kernel call and a page fault for each of them.
            threads = "images" not in columns
            for batch in file.iter_batches(batch_size, columns=list(columns), use_threads=threads):
                yield batch.cast(schema)


def iter_selected_posts(
    shards: Sequence[AnyPath], post_ids: Sequence[str], columns: Sequence[str]
) -> Iterator[pa.RecordBatch]:
    """Iterate over selected posts; skips row groups that hold none of them.

    Args:
        shards: Post shards.
        post_ids: The posts to select; ids that are in no shard are ignored.
        columns: Columns of `POSTS`.

    Yields:
        Non-empty record batches of selected posts, in shard and row order.

    Raises:
        SchemaError: If a shard is damaged or does not match `POSTS`.
    """
    selected = pa.array(post_ids, pa.string())
    schema = pa.schema([POSTS.field(name) for name in columns])
    for shard in shards:
        with open_shard(shard) as file:
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["post_id"])["post_id"]
                is_selected = pc.is_in(ids, value_set=selected)
                if pc.any(is_selected).as_py():
                    posts = file.read_row_group(group, columns=list(columns)).filter(is_selected)
                    yield posts.combine_chunks().cast(schema).to_batches()[0]


def read_selected_posts(
    posts: Path | Sequence[AnyPath], post_ids: Sequence[str], columns: Sequence[str]
) -> pa.Table:
    """Read selected posts.

    Args:
        posts: A folder of shards, or some shards.
        post_ids: Distinct ids of the posts to select.
        columns: Columns of `POSTS`.

    Returns:
        One row per id, in the order of `post_ids`.

    Raises:
        CorpusError: If an id is in no shard, or there is no shard.
        SchemaError: If a shard is damaged or does not match `POSTS`.
    """
    selected = pa.array(post_ids, pa.string())
    names = ["post_id", *(name for name in columns if name != "post_id")]
    shards = list_shards(posts) if isinstance(posts, Path) else posts
    batches = list(iter_selected_posts(shards, post_ids, names))
    table = pa.Table.from_batches(batches, pa.schema([POSTS.field(name) for name in names]))
    positions = pc.index_in(selected, value_set=table["post_id"].combine_chunks())
    if positions.null_count:
        missing = selected.filter(positions.is_null())
        raise CorpusError(
            f"{len(missing)} of {len(selected)} posts are not in {posts}",
            seen=missing[0].as_py(),
            do="run `dvc repro` so that sample and labels match the posts",
        )
    return table.take(positions).select(list(columns))


@contextmanager
def open_shard(shard: AnyPath | InMemoryFile) -> Iterator[pq.ParquetFile]:
    """Open a shard of posts; errors while reading it become a `SchemaError`.

    Yields:
        The open file.

    Raises:
        SchemaError: If the shard is damaged or does not match `POSTS`.
    """
    try:
        with pq.ParquetFile(pyarrow_source(shard)) as file:
            check_table(file.schema_arrow.empty_table(), POSTS, str(shard))
            yield file
    except (OSError, pa.ArrowException) as error:
        raise _damaged(shard, error) from error


def _count_rows(shard: AnyPath) -> int:
    try:
        return int(pq.read_metadata(pyarrow_source(shard)).num_rows)
    except (OSError, pa.ArrowException) as error:
        raise _damaged(shard, error) from error


def _damaged(shard: AnyPath | InMemoryFile, error: Exception) -> SchemaError:
    return SchemaError(
        f"{shard} is damaged: {' '.join(str(error).split())[:200]}",
        do="run `dvc pull --force` or import again",
    )
