"""The rating store: a SQLite file with the posts to rate and, append-only, every answer.

Each answer is one row, committed before its request is answered. Withdrawing an answer adds a row.
Several servers may use one store at the same time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from postbias.errors import RaterLimitError, StorageError
from postbias.people.rating_records import Outcome, Rating, RatingItem, RatingTask

_VERSION = 2
_SCHEMA = """
CREATE TABLE items (
    position INTEGER PRIMARY KEY,
    post_id TEXT NOT NULL UNIQUE,
    stratum TEXT NOT NULL,
    stratum_posts INTEGER NOT NULL,
    probability REAL NOT NULL,
    slot INTEGER
);
CREATE TABLE raters (slot INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE ratings (
    id INTEGER PRIMARY KEY,
    nonce TEXT NOT NULL UNIQUE,
    rater TEXT NOT NULL,
    post_id TEXT NOT NULL,
    occasion INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    scores TEXT NOT NULL,
    note TEXT NOT NULL,
    seconds REAL NOT NULL,
    rubric TEXT NOT NULL,
    rated_at TEXT NOT NULL
);
CREATE INDEX ratings_by_task ON ratings (rater, post_id, occasion);
"""
# Since version 2: the params that the posts were drawn with.
_DRAW = "CREATE TABLE draw (name TEXT PRIMARY KEY, value TEXT NOT NULL);"
_COLUMNS = "nonce, rater, post_id, occasion, outcome, scores, note, seconds, rubric, rated_at"


class RatingStore:
    """A connection to the rating store, usable as a context manager; see `RatingStore.open`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Wrap a connection to a database that has the tables."""
        self._db = connection

    @classmethod
    def open(cls, path: Path) -> RatingStore:
        """Open the store; create it if it does not exist.

        Raises:
            StorageError: If it cannot be opened, is damaged or was written by a newer postbias.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            db = sqlite3.connect(path, timeout=30, isolation_level=None)
            db.execute("PRAGMA journal_mode=WAL")
            # FULL, so that an answer survives a power cut.
            db.execute("PRAGMA synchronous=FULL")
            db.execute("BEGIN IMMEDIATE")
            (version,) = db.execute("PRAGMA user_version").fetchone()
            if version > _VERSION:
                raise StorageError(
                    f"{path} was written by a newer postbias", seen=version, allowed=_VERSION
                )
            if version < _VERSION:
                created = f"{_SCHEMA}{_DRAW}" if version == 0 else _DRAW
                for statement in f"{created}PRAGMA user_version={_VERSION}".split(";"):
                    db.execute(statement)
            db.execute("COMMIT")
        except (sqlite3.Error, OSError) as error:
            raise StorageError(
                f"the rating store {path} cannot be opened: {error}",
                do="check free space and permissions; do not delete it, it holds people's ratings",
            ) from error
        return cls(db)

    def __enter__(self) -> RatingStore:
        """Return the store, which is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self._db.close()

    def items(self) -> tuple[RatingItem, ...]:
        """Read the posts to rate, in the order in which they were drawn."""
        sql = (
            "SELECT post_id, stratum, stratum_posts, probability, slot FROM items ORDER BY position"
        )
        return tuple(RatingItem(*row) for row in self._query(sql))

    def draw(self) -> dict[str, str]:
        """Read the params that the posts were drawn with; empty if they are not known."""
        return dict(self._query("SELECT name, value FROM draw"))

    def add_items(self, items: Sequence[RatingItem], draw: Mapping[str, str] | None = None) -> None:
        """Store the posts to rate, unless the store has some already.

        Args:
            items: The posts, in the order in which they were drawn.
            draw: Params that they were drawn with.

        Raises:
            StorageError: If the store cannot be written.
        """
        with self._transaction():
            if self._db.execute("SELECT 1 FROM items").fetchone():
                return
            self._db.executemany(
                "INSERT INTO items (post_id, stratum, stratum_posts, probability, slot) "
                "VALUES (?, ?, ?, ?, ?)",
                [(i.post_id, i.stratum, i.stratum_posts, i.probability, i.slot) for i in items],
            )
            self._db.executemany("INSERT INTO draw VALUES (?, ?)", list((draw or {}).items()))

    def raters(self) -> tuple[str, ...]:
        """Return the raters' pseudonyms in the order of their slots."""
        return tuple(name for (name,) in self._query("SELECT name FROM raters ORDER BY slot"))

    def add_rater(self, name: str, max_raters: int) -> int:
        """Assign the next free slot to a rater, unless the rater has one.

        Args:
            name: Pseudonym.
            max_raters: Number of slots.

        Returns:
            The rater's slot, from 0.

        Raises:
            RaterLimitError: If all slots are taken.
            StorageError: If the store cannot be written.
        """
        with self._transaction():
            names = [n for (n,) in self._db.execute("SELECT name FROM raters ORDER BY slot")]
            if name in names:
                return names.index(name)
            if len(names) >= max_raters:
                raise RaterLimitError(
                    "all places for raters are taken, and this is none of the raters' names",
                    seen=name,
                    allowed=", ".join(names),
                    do="use the name that you began with, or raise rating.raters in params.yaml",
                )
            self._db.execute("INSERT INTO raters VALUES (?, ?)", (len(names), name))
            return len(names)

    def add(self, rating: Rating) -> None:
        """Store an answer; one whose nonce is stored already is ignored.

        Raises:
            StorageError: If the store cannot be written.
        """
        row = (
            rating.nonce, rating.rater, rating.task.post_id, rating.task.occasion, rating.outcome,
            json.dumps(dict(rating.scores), sort_keys=True), rating.note, rating.seconds,
            rating.rubric, rating.rated_at,
        )  # fmt: skip
        with self._transaction():
            marks = ", ".join("?" * len(row))
            sql = f"INSERT OR IGNORE INTO ratings ({_COLUMNS}) VALUES ({marks})"  # noqa: S608 - column names only
            self._db.execute(sql, row)

    def history(self) -> Iterator[Rating]:
        """Read all answers, oldest first, with those that were withdrawn.

        Raises:
            StorageError: If the store is damaged.
        """
        for row in self._query(f"SELECT {_COLUMNS} FROM ratings ORDER BY id"):  # noqa: S608 - column names only
            nonce, rater, post_id, occasion, outcome, scores, note, seconds, rubric, at = row
            task = RatingTask(post_id, occasion)
            yield Rating(
                nonce, rater, task, Outcome(outcome), json.loads(scores), note, seconds, rubric, at
            )

    def ratings(self, rater: str | None = None) -> list[Rating]:
        """Read the last answer to each task, in the order of these answers.

        Args:
            rater: Only answers of this rater.

        Returns:
            The answers that were not withdrawn.

        Raises:
            StorageError: If the store is damaged.
        """
        last: dict[tuple[str, RatingTask], Rating] = {}
        for rating in self.history():
            if rater in (None, rating.rater):
                last.pop((rating.rater, rating.task), None)
                last[rating.rater, rating.task] = rating
        return [rating for rating in last.values() if rating.outcome is not Outcome.WITHDRAWN]

    def withdrawn(self, rater: str, task: RatingTask) -> Rating | None:
        """Find the answer that a rater withdrew and has not replaced yet.

        Args:
            rater: Pseudonym.
            task: The post and the occasion.

        Returns:
            The answer; None if there is none, or if the task is answered.

        Raises:
            StorageError: If the store is damaged.
        """
        answers = [r for r in self.history() if (r.rater, r.task) == (rater, task)]
        if not answers or answers[-1].outcome is not Outcome.WITHDRAWN:
            return None
        given = (r for r in reversed(answers) if r.outcome is not Outcome.WITHDRAWN)
        return next(given, None)

    def delete_posts(self, post_ids: Sequence[str]) -> int:
        """Delete posts with all answers about them, and rewrite the file without them.

        Returns:
            Number of answers deleted.

        Raises:
            StorageError: If the store cannot be written.
        """
        deleted = 0
        with self._transaction():
            for post_id in post_ids:
                self._db.execute("DELETE FROM items WHERE post_id = ?", (post_id,))
                cursor = self._db.execute("DELETE FROM ratings WHERE post_id = ?", (post_id,))
                deleted += cursor.rowcount
        self._query("VACUUM")
        self._query("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._db.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"the rating store cannot be read: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise StorageError(
                f"the rating store cannot be written: {error}",
                do="free disk space and try again; all answers so far are kept",
            ) from error
