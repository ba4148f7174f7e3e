"""Search files for posts: ids and captions, also inside Parquet tables and SQLite databases."""

from __future__ import annotations

import csv
import html
import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

#: A shorter id may be any number or word: it is searched for as a whole cell or a quoted string.
MIN_ID_CHARS = 6

#: A shorter caption may be part of any text and is not searched for.
MIN_CAPTION_CHARS = 12

# The report shortens captions, so that the start of a caption is enough.
_CAPTION_CHARS = 60

_SQLITE = b"SQLite format 3\x00"
_PARQUET = b"PAR1"


@dataclass(frozen=True, slots=True)
class Traces:
    """What to search for.

    Attributes:
        post_ids: Ids of the posts.
        captions: Starts of their captions that no other post contains.
        n_skipped: Captions that are too short, or that other posts have too.
    """

    post_ids: frozenset[str]
    captions: tuple[str, ...]
    n_skipped: int

    @classmethod
    def of(
        cls, post_ids: Iterable[str], captions: Iterable[str], others: pa.ChunkedArray
    ) -> Traces:
        """Choose what to search for.

        Args:
            post_ids: Ids of the posts.
            captions: Their captions.
            others: Captions of all other posts.
        """
        wanted, n_skipped = set(), 0
        for caption in {c for c in captions if c.strip()}:
            start = caption.strip()[:_CAPTION_CHARS]
            is_shared = pc.any(pc.match_substring(others, start)).as_py() if len(others) else False
            if len(start) < MIN_CAPTION_CHARS or is_shared:
                n_skipped += 1
            else:
                wanted.add(start)
        return cls(frozenset(post_ids), tuple(sorted(wanted)), n_skipped)

    def pattern(self) -> re.Pattern[bytes]:
        """Return a pattern for texts that a stage can write again: finds short ids in quotes."""
        short = [
            rb"[\"'>]%b[\"'<]" % re.escape(post_id.encode())
            for post_id in sorted(self.post_ids)
            if len(post_id) < MIN_ID_CHARS
        ]
        return _compile([*short, *self._certain()])

    def certain_pattern(self) -> re.Pattern[bytes]:
        """Return a pattern for tables and databases: a short id could be any number there."""
        return _compile(self._certain())

    def is_named(self, column: str, cell: object) -> bool:
        """Tell whether a cell of a table names one of the posts."""
        if column == "post_id" and cell in self.post_ids:
            return True
        data = cell.encode(errors="surrogateescape") if isinstance(cell, str) else cell
        return isinstance(data, bytes) and bool(self.certain_pattern().search(data))

    def _certain(self) -> list[bytes]:
        """List patterns of long ids, and of captions in UTF-8, JSON, CSV and HTML."""
        parts = [
            rb"(?<![0-9A-Za-z_])%b(?![0-9A-Za-z_])" % re.escape(post_id.encode())
            for post_id in sorted(self.post_ids)
            if len(post_id) >= MIN_ID_CHARS
        ]
        for caption in self.captions:
            forms = {
                caption,
                json.dumps(caption)[1:-1],
                json.dumps(caption, ensure_ascii=False)[1:-1],
                html.escape(caption),
                caption.replace('"', '""'),
                # Jinja writes quotes as numbers.
                html.escape(caption).replace("&quot;", "&#34;").replace("&#x27;", "&#39;"),
            }
            parts += [re.escape(form.encode()) for form in sorted(forms)]
        return parts


@lru_cache(maxsize=8)
def _compile_joined(joined: bytes) -> re.Pattern[bytes]:
    return re.compile(joined)


def _compile(parts: list[bytes]) -> re.Pattern[bytes]:
    return _compile_joined(b"|".join(parts) or rb"(?!)")


def iter_files(folders: Collection[Path]) -> Iterator[Path]:
    """Iterate over all files of some folders, sorted."""
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.is_file())


def has_traces(path: Path, traces: Traces) -> bool:
    """Tell whether a file contains one of the posts.

    Args:
        path: Any file. Tables and databases are searched cell by cell, and their bytes too.
        traces: What to search for.
    """
    content = path.read_bytes()
    is_table, is_database = content.startswith(_PARQUET), content.startswith(_SQLITE)
    is_csv = path.suffix == ".csv"
    if is_table or is_database or is_csv or path.name.endswith(("-wal", "-shm")):
        if traces.certain_pattern().search(content):
            return True
    elif traces.pattern().search(content):
        return True
    if is_table:
        return _has_traces_in_table(path, traces)
    if is_csv:
        return any(is_named for is_named, _ in iter_csv_rows(path, traces))
    return is_database and _has_traces_in_database(path, traces)


def iter_csv_rows(path: Path, traces: Traces) -> Iterator[tuple[bool, str]]:
    """Iterate over the rows of a CSV file.

    Args:
        path: The file; the first row may name a column `post_id`.
        traces: What to search for.

    Yields:
        Whether a row names one of the posts, and its text.
    """
    lines: list[str] = []

    def remember(file: Iterable[str]) -> Iterator[str]:
        for line in file:
            lines.append(line)
            yield line

    with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        header: list[str] | None = None
        for row in csv.reader(remember(file)):
            header = header or [name.lstrip("\ufeff") for name in row]
            names = [*header, *([""] * len(row))]
            yield any(map(traces.is_named, names, row)), "".join(lines)
            lines.clear()


def _has_traces_in_table(path: Path, traces: Traces) -> bool:
    try:
        file = pq.ParquetFile(path)
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
        for batch in file.iter_batches(columns=texts) if texts else ():
            for name in texts:
                column = batch.column(name)
                if name == "post_id":
                    ids = pa.array(sorted(traces.post_ids), pa.string())
                    if pc.any(pc.is_in(column, value_set=ids)).as_py():
                        return True
                if any(traces.is_named("", cell) for cell in pc.unique(column).to_pylist()):
                    return True
    except (OSError, pa.ArrowException):
        return False  # not a table; its bytes were searched
    return False


def _has_traces_in_database(path: Path, traces: Traces) -> bool:
    """Search all cells: a long one is spread over pages, so that its bytes are not contiguous."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            return any(
                traces.is_named(column, cell)
                for table, column in text_columns(db)
                for (cell,) in db.execute(f'SELECT "{column}" FROM "{table}"')  # noqa: S608 - names from the schema
            )
    except sqlite3.Error:
        return False  # not a database; its bytes were searched


def text_columns(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """List table and name of all columns of a database."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, row[1])
        for table in tables
        for row in db.execute(f'SELECT * FROM pragma_table_info("{table}")')  # noqa: S608 - as above
    ]
