"""Inspect, export and prune the reply store, and delete all data about a post.

Deleting replies never changes the running total of what was spent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pv
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from postbias.errors import InputError, SchemaError, StorageError
from postbias.paths import Paths
from postbias.posts.shards import atomic_write, read_table
from postbias.teacher.reply import Reply
from postbias.teacher.reply_store import ReplyStore

_EXPORT_SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("post_id", "key", "rubric", "asked_model", "model")),
        ("repeat", pa.int64()),
        *((name, pa.string()) for name in ("status", "detail")),
        ("scores", pa.list_(pa.float64())),
        ("modes", pa.list_(pa.float64())),
        *((name, pa.string()) for name in ("reason", "text", "finish", "source")),
        *((name, pa.int64()) for name in ("tokens_in", "tokens_out")),
        *((name, pa.float64()) for name in ("cost_usd", "latency_s")),
        ("asked_at", pa.string()),
        ("raw", pa.binary()),
    ]
)
_ROWS_PER_GROUP = 500


@contextmanager
def open_reply_store(paths: Paths, *, is_writable: bool = False) -> Iterator[ReplyStore]:
    """Open the existing reply store of a repository.

    Args:
        paths: Locates the store.
        is_writable: Whether the store will be changed, which requires that no process is labelling.

    Yields:
        The store.

    Raises:
        InputError: If there is no store.
        StorageError: If the store is damaged, or `is_writable` and another process is labelling.
    """
    if not paths.replies.exists():
        raise InputError(
            "no reply store: no endpoint has been used yet",
            seen=str(paths.replies),
            do="run `postbias annotate` first (see docs/teacher.md)",
        )
    lock = FileLock(paths.store / "replies.lock")
    if is_writable:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                "another process is labelling with this reply store",
                do="wait until it has ended, or stop it",
            ) from error
    try:
        with ReplyStore.open(paths.replies) as store:
            yield store
    finally:
        lock.release()


def summarise_store(store: ReplyStore) -> str:
    """Describe the store: replies by rubric and model, and the total spent."""
    lines = []
    for rubric, model in store.rows(
        "SELECT DISTINCT rubric, asked_model FROM replies ORDER BY 1, 2"
    ):
        where = "FROM replies WHERE rubric = ? AND asked_model = ?"
        counts = f"SELECT status, count(*) {where} GROUP BY 1 ORDER BY 1"
        totals = (
            f"SELECT count(DISTINCT key), total(cost_usd), min(asked_at), max(asked_at) {where}"
        )
        ((n, usd, first, last),) = store.rows(totals, (rubric, model))
        by_status = ", ".join(f"{k} {v}" for k, v in store.rows(counts, (rubric, model)))
        lines += [
            f"{rubric}  {model}",
            f"  requests {n}; replies: {by_status}",
            f"  ${usd:.4f}; {first[:19]} to {last[:19]} UTC",
        ]
    spent_usd, n_requests = store.total("spent_usd"), store.total("requests")
    lines.append(f"total spent: ${spent_usd:.4f} in {n_requests:.0f} requests")
    ((n_batches,),) = store.rows("SELECT count(*) FROM batches")
    if n_batches:
        lines.append(f"outstanding batches: {n_batches}")
    return "\n".join(lines)


def describe_post_replies(store: ReplyStore, post_id: str) -> str:
    """Describe all replies about a post, one line each, oldest first.

    Returns:
        The lines as text.

    Raises:
        InputError: If the store has no reply about the post.
    """
    lines = [_describe_reply(reply) for _, reply in store.iter_replies(post_id)]
    if not lines:
        raise InputError("the store has no reply about this post", seen=post_id)
    return "\n".join(lines)


def _describe_reply(reply: Reply) -> str:
    scores = " ".join(f"{score:.3g}" for score in reply.scores)
    content = scores + f"  {reply.reason}".rstrip() or reply.detail
    return (
        f"{reply.asked_at[:19]} UTC  {reply.rubric}  {reply.model or reply.asked_model}  "
        f"repeat {reply.repeat}  {reply.status}  {content}"
    )


def export_replies(store: ReplyStore, path: Path) -> int:
    """Write all replies to a file.

    Args:
        path: A `.parquet` file, which includes the raw replies, or a `.csv` file, which does not.

    Returns:
        The number of replies.

    Raises:
        InputError: If the file name has another extension.
        StorageError: If the file cannot be written.
    """
    if path.suffix not in {".parquet", ".csv"}:
        raise InputError("unknown export format", seen=path.name, allowed=".parquet, .csv")
    replies, n = store.iter_replies(), 0
    schema = _EXPORT_SCHEMA if path.suffix == ".parquet" else _csv_schema()
    with atomic_write(path) as temporary:
        open_writer: Any = (
            pq.ParquetWriter(temporary, schema, compression="zstd")
            if path.suffix == ".parquet"
            else pv.CSVWriter(temporary, schema)
        )
        with open_writer as writer:
            while rows := [
                _export_row(post_id, reply) for post_id, reply in islice(replies, _ROWS_PER_GROUP)
            ]:
                table = pa.Table.from_pylist(rows, _EXPORT_SCHEMA)
                writer.write_table(_flatten(table) if path.suffix == ".csv" else table)
                n += len(rows)
    return n


def prune_replies(
    store: ReplyStore, *, rubric: str | None, model: str | None, is_failed: bool, is_dry_run: bool
) -> int:
    """Delete replies, so that their requests are sent again when they are needed.

    Args:
        rubric: Delete only replies to this rubric: its name, or name@digest.
        model: Delete only replies of this requested model.
        is_failed: Delete only unusable replies.
        is_dry_run: Count the replies without deleting them.

    Returns:
        The number of replies.

    Raises:
        InputError: If no condition is given.
        StorageError: If the store cannot be written.
    """
    conditions, values = [], []
    if rubric is not None:
        conditions.append("(rubric = ? OR rubric LIKE ? || '@%')")
        values += [rubric, rubric]
    if model is not None:
        conditions.append("asked_model = ?")
        values.append(model)
    if is_failed:
        conditions.append("status != 'ok'")
    if not conditions:
        raise InputError(
            "no condition says which replies to delete",
            allowed="--rubric, --model, --failed, or several of these",
        )
    where = " AND ".join(conditions)
    ((n,),) = store.rows(f"SELECT count(*) FROM replies WHERE {where}", values)  # noqa: S608 - conditions from above
    if n and not is_dry_run:
        store.transact([(f"DELETE FROM replies WHERE {where}", values)])  # noqa: S608 - as above
        store.compact()
    return int(n)


def delete_posts(paths: Paths, post_ids: Sequence[str]) -> dict[str, int]:
    """Delete all replies, labels and scores of some posts.

    Args:
        paths: Locates the store, the labels and the scores.

    Returns:
        The number of deleted replies, label rows and score rows.

    Raises:
        SchemaError: If the labels or scores are damaged.
        StorageError: If another process is labelling, or a file cannot be written.
    """
    deleted = {"replies": 0, "labels": 0, "scores": 0}
    if paths.replies.exists():
        with open_reply_store(paths, is_writable=True) as store:
            deleted["replies"] = _delete_replies(store, post_ids)
    for file in (paths.labels, paths.label_rejects):
        deleted["labels"] += _delete_rows(file, post_ids)
    for file in sorted(paths.scores.glob("**/*.parquet")):
        deleted["scores"] += _delete_rows(file, post_ids)
    for file in sorted((paths.store / "scores").glob("**/*.parquet")):
        # A finished score shard: delete it whole, since it is scored again when it is needed.
        if file.exists() and _may_have_posts(file, post_ids):
            for part in file.parent.glob(f"{file.name.partition('.')[0]}.*"):
                part.unlink()
    return deleted


def _delete_replies(store: ReplyStore, post_ids: Sequence[str]) -> int:
    # One JSON array, since the number of variables of a statement is limited.
    ids = (json.dumps(list(post_ids)),)
    deleted = "(SELECT value FROM json_each(?1))"
    # A reply that another post with the same caption and images shares is kept.
    unshared = (
        f"SELECT key FROM asked WHERE post_id IN {deleted} AND key NOT IN "  # noqa: S608 - constants only
        f"(SELECT key FROM asked WHERE post_id NOT IN {deleted})"
    )
    ((n,),) = store.rows(f"SELECT count(*) FROM replies WHERE key IN ({unshared})", ids)  # noqa: S608 - as above
    store.transact(
        [
            (f"DELETE FROM replies WHERE key IN ({unshared})", ids),  # noqa: S608 - as above
            (f"DELETE FROM asked WHERE post_id IN {deleted}", ids),  # noqa: S608 - as above
        ]
    )
    store.compact()
    return int(n)


def _delete_rows(path: Path, post_ids: Sequence[str]) -> int:
    if not _has_posts(path, post_ids):
        return 0
    table = read_table(path)
    is_kept = pc.invert(pc.is_in(table["post_id"], value_set=pa.array(post_ids, pa.string())))
    kept = table.filter(is_kept)
    with atomic_write(path) as temporary:
        pq.write_table(kept, temporary, compression="zstd")
    return int(table.num_rows - kept.num_rows)


def _has_posts(path: Path, post_ids: Sequence[str]) -> bool:
    if not path.is_file():
        return False
    table = read_table(path, columns=["post_id"])
    ids = table["post_id"] if table.num_columns else pa.array([], pa.string())
    return bool(pc.any(pc.is_in(ids, value_set=pa.array(post_ids, pa.string()))).as_py())


def _may_have_posts(path: Path, post_ids: Sequence[str]) -> bool:
    """Return whether a file has one of the posts or cannot be read."""
    try:
        return _has_posts(path, post_ids)
    except SchemaError:
        return True


def _export_row(post_id: str, reply: Reply) -> dict[str, Any]:
    return {
        "post_id": post_id,
        **{name: getattr(reply, name) for name in _EXPORT_SCHEMA.names if name != "post_id"},
    }


def _csv_schema() -> pa.Schema:
    return _flatten(_EXPORT_SCHEMA.empty_table()).schema


def _flatten(table: pa.Table) -> pa.Table:
    """Convert lists to text and drop the raw replies, for CSV."""
    for name in ("scores", "modes"):
        lists = [" ".join(f"{v:g}" for v in values) for values in table[name].to_pylist()]
        index = table.schema.get_field_index(name)
        table = table.set_column(index, name, pa.array(lists, pa.string()))
    return table.drop_columns(["raw"])
