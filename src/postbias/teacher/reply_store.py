"""The reply store: a SQLite file with every reply that was paid for.

Replies are stored raw, with usage, latency, finish reason and model name, under the key of their
request (see `postbias.teacher.prompts`). The store never contains an endpoint's URL or key.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from postbias.errors import StorageError
from postbias.teacher.reply import COLUMNS, Reply, reply_from_row

_VERSION = 1
#: `sent` lists the requests in flight with an upper bound of their cost. A row is written before
#: its request is sent and deleted in the transaction that stores the reply, so that rows left over
#: from a crash count as spent.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS asked (
    post_id TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (post_id, key)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS asked_key ON asked (key);
CREATE TABLE IF NOT EXISTS replies (
    id INTEGER PRIMARY KEY,
    key TEXT NOT NULL,
    repeat INTEGER NOT NULL,
    delivery TEXT NOT NULL,
    status TEXT NOT NULL,
    detail TEXT NOT NULL,
    scores TEXT NOT NULL,
    modes TEXT NOT NULL,
    reason TEXT NOT NULL,
    text TEXT NOT NULL,
    raw BLOB NOT NULL,
    rubric TEXT NOT NULL,
    asked_model TEXT NOT NULL,
    model TEXT NOT NULL,
    finish TEXT NOT NULL,
    source TEXT NOT NULL,
    tokens_in INTEGER,
    tokens_out INTEGER,
    cost_usd REAL,
    latency_s REAL,
    asked_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS replies_key ON replies (key, repeat);
CREATE TABLE IF NOT EXISTS sent (id INTEGER PRIMARY KEY, worst_usd REAL NOT NULL);
CREATE TABLE IF NOT EXISTS totals (name TEXT PRIMARY KEY, value REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS batches (
    tag TEXT PRIMARY KEY, id TEXT, setting TEXT NOT NULL, worst_usd REAL NOT NULL,
    lines TEXT NOT NULL
) WITHOUT ROWID;
"""


class ReplyStore:
    """A connection to the reply store, usable as a context manager; see `ReplyStore.open`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Wrap a connection to a database that has the tables."""
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> ReplyStore:
        """Open the store; create it if it does not exist.

        Returns:
            The open store.

        Raises:
            StorageError: If it cannot be opened, is damaged or was written by a newer postbias.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
            db.execute("PRAGMA journal_mode=WAL")
            # FULL, so that a paid reply survives a power cut too; `StoreWriter` groups commits.
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise StorageError(
                    f"{path} was written by a newer postbias", seen=version, allowed=_VERSION
                )
            if version < _VERSION:
                db.executescript(f"BEGIN IMMEDIATE;{_SCHEMA}PRAGMA user_version={_VERSION};COMMIT;")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"the reply store {path} cannot be opened: {error}",
                do="check free space and permissions; do not delete it, it holds paid replies",
            ) from error
        return cls(db)

    def __enter__(self) -> ReplyStore:
        """Return the store, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the store."""
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def transact(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> None:
        """Run statements in one transaction.

        Args:
            statements: SQL with its values, in order.

        Raises:
            StorageError: If the disk is full or the file is damaged; nothing is then changed.
        """
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for sql, values in statements:
                    self._db.execute(sql, values)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StorageError(
                f"the reply store cannot be written: {error}",
                do="free disk space and run again; all replies so far are kept",
            ) from error

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run a query.

        Args:
            values: Values of its parameters.

        Returns:
            All rows of the result.

        Raises:
            StorageError: If the file is damaged.
        """
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"the reply store cannot be read: {error}") from error

    def replies(self, key: str, repeat: int) -> list[Reply]:
        """Read all replies to one repetition of a request, oldest first."""
        sql = f"SELECT {', '.join(COLUMNS)} FROM replies WHERE key = ? AND repeat = ? ORDER BY id"  # noqa: S608 - column names only
        return [reply_from_row(row) for row in self.rows(sql, (key, repeat))]

    def iter_replies(self, post_id: str | None = None) -> Iterator[tuple[str, Reply]]:
        """Read replies together with the posts that they are about.

        Args:
            post_id: The post; None for all posts.

        Yields:
            Post id and reply, sorted by post id, oldest first.
        """
        columns = ", ".join(f"r.{name}" for name in COLUMNS)
        sql = (
            f"SELECT a.post_id, {columns} FROM replies r JOIN asked a USING (key) "  # noqa: S608 - column names only
            "WHERE ?1 IS NULL OR a.post_id = ?1 ORDER BY 1, r.id"
        )
        for row in self._db.execute(sql, (post_id,)):
            yield row[0], reply_from_row(row[1:])

    def compact(self) -> None:
        """Rewrite the file, so that nothing of deleted rows remains in it.

        Raises:
            StorageError: If the disk is full.
        """
        try:
            self._db.execute("VACUUM")
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise StorageError(f"the reply store cannot be compacted: {error}") from error

    def total(self, name: str) -> float:
        """Return a running total: `spent_usd`, `tokens_in`, `tokens_out` or `requests`."""
        rows = self.rows("SELECT value FROM totals WHERE name = ?", (name,))
        return float(rows[0][0]) if rows else 0.0

    def fact(self, key: str) -> Any | None:  # noqa: ANN401 - any JSON value
        """Return a stored fact about an endpoint; None if there is none."""
        rows = self.rows("SELECT value FROM facts WHERE key = ?", (key,))
        return json.loads(rows[0][0]) if rows else None
