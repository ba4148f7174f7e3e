"""Erase posts from single files: tables, databases, and files that a stage can make again."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postbias.errors import StorageError
from postbias.posts.schema import POSTS
from postbias.posts.shards import atomic_write, open_shard, parquet_writer, read_table
from postbias.privacy.traces import Traces, iter_csv_rows, text_columns

#: Replaces what cannot be removed without its row.
REDACTED = "(forgotten)"


def erase_from_shard(path: Path, post_ids: pa.Array) -> int:
    """Rewrite a shard of posts without some of them; remove it if none is left.

    Returns:
        The number of erased posts.

    Raises:
        SchemaError: If the shard is damaged.
        StorageError: If it cannot be written.
    """
    ids = read_table(path, POSTS, ["post_id"])["post_id"]
    n_erased = int(pc.sum(pc.is_in(ids, value_set=post_ids)).as_py() or 0)
    if n_erased == len(ids):
        path.unlink()
    elif n_erased:
        with (
            open_shard(path) as file,
            atomic_write(path) as temporary,
            parquet_writer(temporary, POSTS) as out,
        ):
            for number in range(file.num_row_groups):
                group = file.read_row_group(number)
                kept = group.filter(pc.invert(pc.is_in(group["post_id"], value_set=post_ids)))
                if kept.num_rows:
                    out.write_table(kept.cast(POSTS))
    return n_erased


def erase_from_table(path: Path, traces: Traces) -> None:
    """Rewrite a Parquet table without the rows of posts, and redact other cells that name them.

    Raises:
        SchemaError: If the table is damaged.
        StorageError: If it cannot be written.
    """
    table = read_table(path)
    if "post_id" in table.column_names:
        ids = pa.array(sorted(traces.post_ids), pa.string())
        table = table.filter(pc.invert(pc.is_in(table["post_id"], value_set=ids)))
    for name in table.column_names:
        if pa.types.is_string(table.schema.field(name).type):
            table = _redact(table, name, traces)
    with atomic_write(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def redact_rejects(path: Path, traces: Traces) -> None:
    """Redact the rows of posts in a table of rejects: the number of rejects stays true.

    Raises:
        SchemaError: If the table is damaged.
        StorageError: If it cannot be written.
    """
    table = read_table(path)
    ids = pa.array(sorted(traces.post_ids), pa.string())
    is_erased = pc.is_in(table["post_id"], value_set=ids)
    for name in ("source", "detail", "post_id"):
        column = pc.if_else(is_erased, REDACTED, table[name])
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, column)
    for name in ("source", "detail"):
        table = _redact(table, name, traces)
    with atomic_write(path) as temporary, parquet_writer(temporary, table.schema) as out:
        out.write_table(table)


def _redact(table: pa.Table, name: str, traces: Traces) -> pa.Table:
    cells = table[name].to_pylist()
    kept = [REDACTED if traces.is_named("", cell) else cell for cell in cells]
    if kept == cells:
        return table
    field = table.schema.field(name)
    return table.set_column(table.schema.get_field_index(name), field, pa.array(kept, pa.string()))


def erase_from_csv(path: Path, traces: Traces) -> None:
    """Rewrite a CSV file without the rows that name a post; keep all other bytes.

    Raises:
        StorageError: If it cannot be written.
    """
    kept = [text for is_named, text in iter_csv_rows(path, traces) if not is_named]
    with atomic_write(path) as temporary:
        temporary.write_text("".join(kept), encoding="utf-8", errors="surrogateescape", newline="")


def erase_from_json(path: Path, traces: Traces) -> None:
    """Remove all list items and keys of a JSON file whose text names a post.

    Raises:
        StorageError: If it cannot be written.
    """

    def is_named(value: object) -> bool:
        return traces.is_named("", value)

    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {
                key: clean(item)
                for key, item in value.items()
                if not is_named(key) and not is_named(item)
            }
        if isinstance(value, list):
            return [clean(item) for item in value if not is_named(item)]
        return value

    content = clean(json.loads(path.read_text(encoding="utf-8")))
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", "utf-8")


def erase_from_database(path: Path, traces: Traces) -> int:
    """Redact all cells of an SQLite database that name a post, and rewrite the file.

    Returns:
        The number of redacted cells.

    Raises:
        StorageError: If the database is in use or cannot be written.
    """
    pattern, n_cells = traces.certain_pattern(), 0

    def redact(column: str, cell: Any) -> Any:  # noqa: ANN401 - any value of SQLite
        nonlocal n_cells
        data = cell.encode() if isinstance(cell, str) else cell
        if not isinstance(data, bytes):
            return cell
        is_id = column == "post_id" and cell in traces.post_ids
        changed = REDACTED.encode() if is_id else pattern.sub(REDACTED.encode(), data)
        if changed == data:
            return cell
        n_cells += 1
        return changed.decode(errors="replace") if isinstance(cell, str) else changed

    try:
        with closing(sqlite3.connect(path, timeout=10, isolation_level=None)) as db:
            db.create_function("redact", 2, redact, deterministic=True)
            db.execute("BEGIN IMMEDIATE")
            for table, column in text_columns(db):
                db.execute(
                    f'UPDATE "{table}" SET "{column}" = redact(?1, "{column}") '  # noqa: S608 - names from the schema
                    f'WHERE "{column}" IS NOT redact(?1, "{column}")',
                    (column,),
                )
            db.execute("COMMIT")
            # Otherwise the old cells stay in free pages and in the write-ahead log.
            db.execute("VACUUM")
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise StorageError(
            f"{path} cannot be changed: {error}",
            do="stop the MLflow server and other processes that use it, then run again",
        ) from error
    return n_cells
