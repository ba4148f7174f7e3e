"""Search files for posts: ids and captions, also inside Parquet tables and SQLite databases."""

from __future__ import annotations

import html
import json
import re
import sqlite3
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
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
        """Return a pattern of ids and captions in UTF-8, JSON and HTML, for any bytes."""
        parts = []
        for post_id in self.post_ids:
            text = re.escape(post_id.encode())
            boundary = rb"(?<![0-9A-Za-z_])%b(?![0-9A-Za-z_])" % text
            parts.append(boundary if len(post_id) >= MIN_ID_CHARS else rb"[\"'>]%b[\"'<]" % text)
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
        return re.compile(b"|".join(parts) or rb"(?!)")


def iter_files(folders: Collection[Path]) -> Iterator[Path]:
    """Iterate over all files of some folders, sorted."""
    for folder in folders:
        yield from sorted(path for path in folder.rglob("*") if path.is_file())


def has_traces(path: Path, traces: Traces, pattern: re.Pattern[bytes] | None = None) -> bool:
    """Tell whether a file contains one of the posts.

    Args:
        path: Any file. Tables and databases are also searched cell by cell.
        traces: What to search for.
        pattern: `traces.pattern()`, if it is at hand.
    """
    content = path.read_bytes()
    if (pattern or traces.pattern()).search(content):
        return True
    if content.startswith(_PARQUET):
        return _has_traces_in_table(path, traces)
    return content.startswith(_SQLITE) and _has_traces_in_database(path, traces)


def _has_traces_in_table(path: Path, traces: Traces) -> bool:
    try:
        file = pq.ParquetFile(path)
        texts = [f.name for f in file.schema_arrow if pa.types.is_string(f.type)]
        for batch in file.iter_batches(columns=texts) if texts else ():
            for name in texts:
                if any(_match(batch.column(name), traces)):
                    return True
    except (OSError, pa.ArrowException):
        return False  # not a table; its bytes were searched
    return False


def _match(column: pa.Array, traces: Traces) -> Iterator[bool]:
    yield bool(pc.any(pc.is_in(column, value_set=pa.array(sorted(traces.post_ids)))).as_py())
    long_ids = [post_id for post_id in traces.post_ids if len(post_id) >= MIN_ID_CHARS]
    for text in (*traces.captions, *long_ids):
        found = column.filter(pc.fill_null(pc.match_substring(column, text), False))
        pattern = re.compile(rf"(?<![0-9A-Za-z_]){re.escape(text)}(?![0-9A-Za-z_])")
        yield any(text in traces.captions or pattern.search(cell) for cell in found.to_pylist())


def _has_traces_in_database(path: Path, traces: Traces) -> bool:
    """Search all cells: a long one is spread over pages, so that its bytes are not contiguous."""
    pattern = traces.pattern()
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            for table, column in text_columns(db):
                for (cell,) in db.execute(f'SELECT "{column}" FROM "{table}"'):  # noqa: S608 - names from the schema
                    data = cell.encode() if isinstance(cell, str) else cell
                    if isinstance(data, bytes) and (
                        cell in traces.post_ids or pattern.search(data)
                    ):
                        return True
    except sqlite3.Error:
        return False  # not a database; its bytes were searched
    return False


def text_columns(db: sqlite3.Connection) -> list[tuple[str, str]]:
    """List table and name of all columns of a database."""
    tables = [name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [
        (table, row[1])
        for table in tables
        for row in db.execute(f'SELECT * FROM pragma_table_info("{table}")')  # noqa: S608 - as above
    ]
