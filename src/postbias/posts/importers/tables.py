"""A table of one's own: CSV, TSV, JSONL or Parquet with a caption column and image paths.

Paths are relative to the table's folder and may not leave it; addresses are never fetched.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import InputError, LayoutError, SchemaError
from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.export_files import digest_file, read_image
from postbias.posts.importers.records import (
    RecordError,
    ImageFile,
    ImageFault,
    ImportedPost,
    Record,
    ImportReject,
    Export,
    ReadUnit,
)
from postbias.posts.importers.table_cells import (
    parse_count,
    parse_flag,
    parse_time_us,
    parse_images,
    parse_text,
)
from postbias.posts.importers.text_repair import detect_encoding, decode_escaped
from postbias.posts.reasons import RejectReason

_BATCH = 256


@dataclass(frozen=True, slots=True)
class Columns:
    """The names of a table's columns; those that it has not are left empty.

    Attributes:
        post_id: Needed.
        caption: Needed, unless there are images.
        images: Paths, or Hugging Face `Image` values with the bytes inside.
        author: Without it each post is its own author.
        sponsored: true/false, yes/no, 1/0.
        posted_at: ISO 8601 or seconds since 1970; UTC if it does not say.
        likes: A whole number.
        comments: A whole number.
        media_type: Any word.
        platform: Any word; "table" without it.
    """

    post_id: str = "post_id"
    caption: str = "caption"
    images: str = "images"
    author: str = "author"
    sponsored: str = "sponsored"
    posted_at: str = "posted_at"
    likes: str = "likes"
    comments: str = "comments"
    media_type: str = "media_type"
    platform: str = "platform"

    def check(self, seen: list[str]) -> None:
        """Check that a table has what is needed and all that was asked for by another name.

        Args:
            seen: Its columns.

        Raises:
            SchemaError: If it has not.
        """
        missing = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) not in seen
            and (field.name == "post_id" or getattr(self, field.name) != field.default)
        }
        if not {self.caption, self.images} & set(seen):
            missing |= {"caption": self.caption}
        if missing or len(set(seen)) < len(seen):
            what = f"without column {', '.join(missing.values())}" if missing else "has twins"
            raise SchemaError(
                f"the table is {what}" if missing else "two columns have the same name",
                seen=f"columns {seen[:20]}",
                do="name them: --column FIELD=NAME, with FIELD one of "
                + ", ".join(field.name for field in fields(self)),
            )


def parse_columns(assignments: Sequence[str]) -> Columns:
    """Read column names as the command line gives them.

    Args:
        assignments: `field=name` each, `field` being one of `Columns`.

    Returns:
        The usual names but for these.

    Raises:
        InputError: If one is no assignment to a field.
    """
    known = [field.name for field in fields(Columns)]
    chosen = {}
    for assignment in assignments:
        name, equals, column = assignment.partition("=")
        if name not in known or not equals or not column:
            raise InputError(
                "--column takes FIELD=NAME", seen=assignment, allowed=f"FIELD: {', '.join(known)}"
            )
        chosen[name] = column
    return Columns(**chosen)


def open_table(src: Path, columns: Columns) -> Export:
    """Open a table.

    Args:
        src: The `.csv`, `.tsv`, `.jsonl` (`.ndjson`) or `.parquet` file.
        columns: The names of its columns.

    Returns:
        One unit per row.

    Raises:
        InputError: If there is no such file.
        LayoutError: If its ending is another.
        SchemaError: If a column is missing.
    """
    if not src.is_file():
        raise InputError("no such file", seen=str(src))
    reader = _READERS.get(src.suffix.lower())
    if reader is None:
        raise LayoutError("a table of no known kind", seen=src.name, allowed=", ".join(_READERS))
    # The first row is drawn and dropped: a wrong column is named before anything is written.
    next(reader(src, columns), None)
    load = partial(_load, src.parent.resolve(), columns)
    return Export(
        digest=digest_file(src),
        n_units=None,
        units=lambda: _units(src.name, reader(src, columns), load),
    )


Row = Mapping[str, Any] | RecordError


def _units(
    name: str, rows: Iterator[Row], load: Callable[[str, Row], list[Record]]
) -> Iterator[ReadUnit]:
    for number, row in enumerate(rows, start=1):
        yield partial(load, f"{name}:{number}", row)


def _csv_rows(src: Path, columns: Columns) -> Iterator[Row]:
    with src.open("rb") as file:
        encoding = detect_encoding(file.read(4))
    with src.open(encoding=encoding, errors="surrogateescape", newline="") as lines:
        first = lines.readline()
        lines.seek(0)
        delimiter = max(",;\t", key=first.count)
        reader = csv.reader((line.replace("\0", "") for line in lines), delimiter=delimiter)
        header = [decode_escaped(cell).strip() for cell in next(reader, [])]
        columns.check(header)
        while True:
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield RecordError(RejectReason.BROKEN_ROW, str(error))
                continue
            if len(cells) == len(header):
                yield dict(zip(header, cells, strict=True))
            elif cells:
                detail = f"{len(cells)} cells, the header has {len(header)}"
                yield RecordError(RejectReason.BROKEN_ROW, detail)


def _jsonl_rows(src: Path, columns: Columns) -> Iterator[Row]:
    with src.open("rb") as file:
        encoding = detect_encoding(file.read(4))
    is_checked = False
    with src.open(encoding=encoding, errors="surrogateescape", newline="\n") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(decode_escaped(line))
            except RecordError as fault:
                yield fault
                continue
            except (ValueError, RecursionError) as error:
                yield RecordError(RejectReason.BROKEN_ROW, f"not JSON: {str(error)[:120]}")
                continue
            if not isinstance(row, dict):
                yield RecordError(RejectReason.BROKEN_ROW, f"no object but a {type(row).__name__}")
                continue
            if not is_checked:
                # Later rows may leave out what they have not.
                columns.check(list(row))
                is_checked = True
            yield row


def _parquet_rows(src: Path, columns: Columns) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(src)
        columns.check(file.schema_arrow.names)
        wanted = [getattr(columns, field.name) for field in fields(columns)]
        names = [name for name in wanted if name in file.schema_arrow.names]
        for batch in file.iter_batches(_BATCH, columns=names):
            yield from batch.to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise InputError(
            f"{src.name} cannot be read as Parquet: {' '.join(str(error).split())[:160]}"
        ) from error


_READERS: dict[str, Callable[[Path, Columns], Iterator[Row]]] = {
    ".csv": _csv_rows,
    ".tsv": _csv_rows,
    ".jsonl": _jsonl_rows,
    ".ndjson": _jsonl_rows,
    ".parquet": _parquet_rows,
}


def _load(root: Path, columns: Columns, source: str, row: Row) -> list[Record]:
    post_id = None
    try:
        if isinstance(row, RecordError):
            raise row
        post_id = parse_text(row.get(columns.post_id), "post_id").strip() or None
        if post_id is None:
            raise RecordError(RejectReason.MISSING_ID, f"nothing in column {columns.post_id!r}")
        return [_post(root, columns, source, post_id, row)]
    except RecordError as fault:
        return [ImportReject.of(fault, source, post_id)]


def _post(root: Path, columns: Columns, source: str, post_id: str, row: Mapping[str, Any]) -> ImportedPost:
    found = [_picture(root, cell) for cell in parse_images(row.get(columns.images))]
    return ImportedPost(
        post_id=post_id,
        author=parse_text(row.get(columns.author), "author").strip() or f"post:{post_id}",
        caption=parse_text(row.get(columns.caption), "caption"),
        source=source,
        platform=parse_text(row.get(columns.platform), "platform").strip() or "table",
        pictures=tuple(one for one in found if isinstance(one, ImageFile)),
        faults=tuple(one for one in found if isinstance(one, ImageFault)),
        sponsored=parse_flag(row.get(columns.sponsored)),
        posted_at_us=parse_time_us(row.get(columns.posted_at)),
        likes=parse_count(row.get(columns.likes), "likes"),
        comments=parse_count(row.get(columns.comments), "comments"),
        media_type=parse_text(row.get(columns.media_type), "media_type").strip() or None,
    )


def _picture(root: Path, cell: str | ImageFile) -> ImageFile | ImageFault:
    if isinstance(cell, ImageFile):
        if len(cell.data) > MAX_BYTES:
            return ImageFault(RejectReason.TOO_LARGE, f"{len(cell.data)} bytes, over {MAX_BYTES}")
        return cell
    if "://" in cell:
        return ImageFault(RejectReason.MISSING_FILE, f"{cell[:120]}: addresses are not fetched")
    try:
        place = (root / cell).resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL, a loop of links
        return ImageFault(RejectReason.MISSING_FILE, f"{cell[:120]!r}: no path")
    if Path(cell).is_absolute() or not place.is_relative_to(root):
        raise RecordError(
            RejectReason.BROKEN_ROW,
            f"image path {cell[:120]!r} leaves the table's folder; paths are relative to it",
        )
    return read_image(str(root), cell)
