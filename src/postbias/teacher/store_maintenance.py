"""Look into the reply store, copy it out, thin it, and forget posts.

What was spent stays counted whatever is thrown away. Knows nothing of endpoints.
"""

from __future__ import annotations

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

from postbias.errors import InputError, StorageError
from postbias.paths import Paths
from postbias.posts.shards import atomic_write
from postbias.teacher.reply import Reply
from postbias.teacher.reply_store import ReplyStore

_EXPORT = pa.schema(
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
_ROWS = 500


@contextmanager
def open_reply_store(paths: Paths, *, is_changed: bool = False) -> Iterator[ReplyStore]:
    """Open the store of a repository for a look or a change.

    Args:
        paths: The repository.
        is_changed: Whether it will be changed; then nobody may be asking meanwhile.

    Yields:
        The store.

    Raises:
        InputError: If there is none.
        StorageError: If it is damaged, or in use and to be changed.
    """
    if not paths.replies.exists():
        raise InputError("no reply store: no endpoint has been asked yet", seen=str(paths.replies))
    lock = FileLock(paths.store / "replies.lock")
    if is_changed:
        try:
            lock.acquire(timeout=0)
        except Timeout as error:
            raise StorageError(
                "another process is asking the teacher", do="wait until it has ended, or stop it"
            ) from error
    try:
        with ReplyStore.open(paths.replies) as store:
            yield store
    finally:
        lock.release()


def summarize_store(store: ReplyStore) -> str:
    """Say what the store holds.

    Args:
        store: The store.

    Returns:
        A block per rubric and model, then what was spent in all.
    """
    lines = []
    for rubric, model in store.rows(
        "SELECT DISTINCT rubric, asked_model FROM replies ORDER BY 1, 2"
    ):
        where = "FROM replies WHERE rubric = ? AND asked_model = ?"
        counts = f"SELECT status, count(*) {where} GROUP BY 1 ORDER BY 1"
        told = f"SELECT count(DISTINCT key), total(cost_usd), min(asked_at), max(asked_at) {where}"
        ((n, usd, first, last),) = store.rows(told, (rubric, model))
        by_status = ", ".join(f"{k} {v}" for k, v in store.rows(counts, (rubric, model)))
        lines += [
            f"{rubric}  {model}",
            f"  questions {n}; replies: {by_status}",
            f"  ${usd:.4f}; {first[:19]} to {last[:19]} UTC",
        ]
    ((n_batches,),) = store.rows("SELECT count(*) FROM batches")
    spent = f"ever spent: ${store.total('spent_usd'):.4f} in {store.total('requests'):.0f} requests"
    return "\n".join(
        [*lines, spent, *([f"batches on their way: {n_batches}"] if n_batches else [])]
    )


def describe_post_replies(store: ReplyStore, post_id: str) -> str:
    """Say what the teacher said about a post.

    Args:
        store: The store.
        post_id: The post.

    Returns:
        A line per reply, in the order in which they came.

    Raises:
        InputError: If the store knows no reply about it.
    """
    lines = [
        f"{reply.asked_at[:19]} UTC  {reply.rubric}  {reply.model or reply.asked_model}  "
        f"repeat {reply.repeat}  {reply.status}  "
        + (
            " ".join(f"{s:.3g}" for s in reply.scores) + f"  {reply.reason}".rstrip()
            or reply.detail
        )
        for _, reply in store.iter_replies(post_id)
    ]
    if not lines:
        raise InputError("no reply about this post", seen=post_id)
    return "\n".join(lines)


def export_replies(store: ReplyStore, path: Path) -> int:
    """Copy all replies out.

    Args:
        store: The store.
        path: A `.parquet` file (with the raw replies) or a `.csv` file (without).

    Returns:
        How many replies.

    Raises:
        InputError: If the file has another ending.
        StorageError: If it cannot be written.
    """
    if path.suffix not in {".parquet", ".csv"}:
        raise InputError("replies can be exported to .parquet or .csv", seen=path.name)
    replies, n = store.iter_replies(), 0
    schema = _EXPORT if path.suffix == ".parquet" else _csv_schema()
    with atomic_write(path) as temporary:
        opened_writer: Any = (
            pq.ParquetWriter(temporary, schema, compression="zstd")
            if path.suffix == ".parquet"
            else pv.CSVWriter(temporary, schema)
        )
        with opened_writer as writer:
            while rows := [_row(post_id, reply) for post_id, reply in islice(replies, _ROWS)]:
                table = pa.Table.from_pylist(rows, _EXPORT)
                writer.write_table(_flat(table) if path.suffix == ".csv" else table)
                n += len(rows)
    return n


def prune_replies(
    store: ReplyStore, *, rubric: str | None, model: str | None, failed: bool, dry_run: bool
) -> int:
    """Throw replies away, so that their questions are asked again if they come up.

    Args:
        store: The store.
        rubric: Only those of this rubric (name, or name@digest).
        model: Only those of this model.
        failed: Only those that cannot be used.
        dry_run: Only count them.

    Returns:
        How many replies.

    Raises:
        InputError: If nothing says which ones.
        StorageError: If the store cannot be written.
    """
    tests, values = [], []
    if rubric is not None:
        tests.append("(rubric = ? OR rubric LIKE ? || '@%')")
        values += [rubric, rubric]
    if model is not None:
        tests.append("asked_model = ?")
        values.append(model)
    if failed:
        tests.append("status != 'ok'")
    if not tests:
        raise InputError(
            "nothing says which replies to throw away",
            allowed="--rubric, --model, --failed, or several of them",
        )
    where = " AND ".join(tests)
    ((n,),) = store.rows(f"SELECT count(*) FROM replies WHERE {where}", values)  # noqa: S608 - text of ours
    if n and not dry_run:
        store.transact([(f"DELETE FROM replies WHERE {where}", values)])  # noqa: S608 - as above
        store.compact()
    return int(n)


def delete_posts(paths: Paths, post_ids: Sequence[str]) -> dict[str, int]:
    """Delete everything that is kept about posts: replies, labels and scores.

    Args:
        paths: The repository.
        post_ids: The posts.

    Returns:
        How many replies, label rows and score rows went.

    Raises:
        StorageError: If the store is in use, or a file cannot be written.
    """
    gone = {"replies": 0, "labels": 0, "scores": 0}
    if paths.replies.exists():
        with open_reply_store(paths, is_changed=True) as store:
            gone["replies"] = _forget_replies(store, post_ids)
    for file in (paths.labels, paths.label_rejects):
        gone["labels"] += _forget_rows(file, post_ids)
    for file in sorted(paths.scores.glob("**/*.parquet")):
        gone["scores"] += _forget_rows(file, post_ids)
    for file in sorted((paths.store / "scores").glob("**/*.parquet")):
        # Finished work that can be done again: its folder is keyed by the posts that it was of.
        if file.exists() and _holds(file, post_ids):
            for part in file.parent.glob(f"{file.name.partition('.')[0]}.*"):
                part.unlink()
    return gone


def _forget_replies(store: ReplyStore, post_ids: Sequence[str]) -> int:
    marks = ", ".join("?" * len(post_ids))
    ids = list(post_ids)
    # Replies that another post shares, asked in the very same words, are that post's too.
    alone = (
        f"SELECT key FROM asked WHERE post_id IN ({marks}) AND key NOT IN "  # noqa: S608 - marks only
        f"(SELECT key FROM asked WHERE post_id NOT IN ({marks}))"
    )
    ((n,),) = store.rows(f"SELECT count(*) FROM replies WHERE key IN ({alone})", ids + ids)  # noqa: S608 - as above
    store.transact(
        [
            (f"DELETE FROM replies WHERE key IN ({alone})", ids + ids),  # noqa: S608 - as above
            (f"DELETE FROM asked WHERE post_id IN ({marks})", ids),  # noqa: S608 - as above
        ]
    )
    store.compact()
    return int(n)


def _forget_rows(path: Path, post_ids: Sequence[str]) -> int:
    if not _holds(path, post_ids):
        return 0
    table = pq.ParquetFile(path).read()
    is_kept = pc.invert(pc.is_in(table["post_id"], value_set=pa.array(post_ids, pa.string())))
    kept = table.filter(is_kept)
    with atomic_write(path) as temporary:
        pq.write_table(kept, temporary, compression="zstd")
    return int(table.num_rows - kept.num_rows)


def _holds(path: Path, post_ids: Sequence[str]) -> bool:
    if not path.is_file() or "post_id" not in pq.read_schema(path).names:
        return False
    ids = pq.ParquetFile(path).read(["post_id"])["post_id"]
    return bool(pc.any(pc.is_in(ids, value_set=pa.array(post_ids, pa.string()))).as_py())


def _row(post_id: str, reply: Reply) -> dict[str, Any]:
    return {
        "post_id": post_id,
        **{name: getattr(reply, name) for name in _EXPORT.names if name != "post_id"},
    }


def _csv_schema() -> pa.Schema:
    return _flat(_EXPORT.empty_table()).schema


def _flat(table: pa.Table) -> pa.Table:
    """Write lists as text and leave the raw bytes out, for CSV."""
    for name in ("scores", "modes"):
        lists = [" ".join(f"{v:g}" for v in values) for values in table[name].to_pylist()]
        at = table.schema.get_field_index(name)
        table = table.set_column(at, name, pa.array(lists, pa.string()))
    return table.drop_columns(["raw"])
