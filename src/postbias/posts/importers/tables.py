"""Import a table: CSV, TSV, JSONL or Parquet with a caption column and image paths.

Image paths are relative to the folder of the table and must stay inside it; URLs are never fetched.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import InputError, LayoutError, SchemaError
from postbias.posts.file_kinds import recognise_kind
from postbias.posts.images import MAX_BYTES
from postbias.posts.importers.csv_rows import CsvRows
from postbias.posts.importers.export_files import read_image
from postbias.posts.importers.records import (
    Export,
    ImageFault,
    ImageFile,
    ImportedPost,
    ImportReject,
    MediaFile,
    ReadUnit,
    Record,
    RecordError,
    split_images,
)
from postbias.posts.importers.table_cells import (
    parse_count,
    parse_flag,
    parse_id,
    parse_images,
    parse_text,
    parse_time_us,
)
from postbias.posts.importers.table_columns import Columns
from postbias.posts.importers.text_repair import decode_escaped, detect_encoding
from postbias.posts.reasons import RejectReason
from postbias.posts.remote_files import content_digest

_BATCH_ROWS = 256

T = TypeVar("T")


def open_table(src: Path, columns: Columns) -> Export:
    """Open a table.

    Args:
        src: A `.csv`, `.tsv`, `.jsonl` (`.ndjson`) or `.parquet` file.
        columns: The names of its columns.

    Returns:
        One unit per row.

    Raises:
        InputError: If there is no such file.
        LayoutError: If it has another suffix.
        SchemaError: If a column is missing.
    """
    if not src.is_file():
        raise InputError("no such file", seen=str(src))
    reader = _READERS.get(src.suffix.lower())
    if reader is None:
        raise LayoutError("unknown kind of table", seen=src.name, allowed=", ".join(_READERS))
    # Reads one row, so that a wrong column is reported before anything is written.
    next(reader(src, columns), None)
    load = partial(_load, src.parent.resolve(), columns)
    return Export(
        digest=content_digest(src),
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
        first, n_skipped = _first_line(lines)
        lines.seek(0)
        body = (line.replace("\0", "") for line in islice(lines, n_skipped, None))
        marked = first.strip().lower()
        if marked.startswith("sep=") and len(marked) == 5:
            next(body, None)
            delimiter = marked[4]
        else:
            delimiter = max(",;\t", key=first.count)
        rows = iter(CsvRows(body, delimiter))
        header = _parse_header(next(rows, []))
        columns.check(header)
        for cells in rows:
            if isinstance(cells, RecordError):
                yield cells
            else:
                yield dict(zip(header, cells, strict=True))


def _first_line(lines: Iterator[str]) -> tuple[str, int]:
    """Return the first line that is not blank, and the number of blank lines before it."""
    for n_blank, line in enumerate(lines):
        if line.strip("\ufeff\r\n\t ,;"):
            return line, n_blank
    return "", 0


def _parse_header(row: list[str] | RecordError) -> list[str]:
    if isinstance(row, RecordError):
        raise SchemaError(f"the header cannot be read: {row.detail}")
    # Some programs write a second byte order mark.
    return [decode_escaped(cell).lstrip("\ufeff").strip() for cell in row]


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
            except RecordError as error:
                yield error
                continue
            except (ValueError, RecursionError) as error:
                yield RecordError(RejectReason.BROKEN_ROW, f"not JSON: {str(error)[:120]}")
                continue
            if not isinstance(row, dict):
                detail = f"no object but a {type(row).__name__}"
                yield RecordError(RejectReason.BROKEN_ROW, detail)
                continue
            if not is_checked:
                # Only the first row: later rows may leave out empty columns.
                columns.check(list(row))
                is_checked = True
            yield row


def _parquet_rows(src: Path, columns: Columns) -> Iterator[Row]:
    try:
        file = pq.ParquetFile(src)
        names = file.schema_arrow.names
        columns.check(names)
        wanted = [getattr(columns, field.name) for field in fields(columns)]
        for batch in file.iter_batches(_BATCH_ROWS, columns=[n for n in wanted if n in names]):
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
        post_id = parse_id(row.get(columns.post_id)) or None
        if post_id is None:
            raise RecordError(RejectReason.MISSING_ID, f"nothing in column {columns.post_id!r}")
        return [_to_post(root, columns, source, post_id, row)]
    except RecordError as error:
        return [ImportReject.from_error(error, source, post_id)]


def _to_post(
    root: Path, columns: Columns, source: str, post_id: str, row: Mapping[str, Any]
) -> ImportedPost:
    emptied: list[str] = []

    def parse_optional(field: str, parse: Callable[..., T], *arguments: object) -> T | None:
        """Parse a cell that a post can do without: an invalid value is counted and left empty."""
        try:
            return parse(row.get(getattr(columns, field)), *arguments)
        except RecordError:
            emptied.append(field)
            return None

    images = parse_optional("images", parse_images) or []
    files, faults = split_images(_read_image(root, image) for image in images)
    author = parse_optional("author", parse_text, "author") or ""
    platform = parse_optional("platform", parse_text, "platform") or ""
    media_type = parse_optional("media_type", parse_text, "media_type") or ""
    return ImportedPost(
        post_id=post_id,
        author=author.strip() or f"post:{post_id}",
        caption=parse_text(row.get(columns.caption), "caption"),
        source=source,
        platform=platform.strip() or "table",
        images=files,
        image_faults=faults,
        sponsored=parse_optional("sponsored", parse_flag),
        posted_at_us=parse_optional("posted_at", parse_time_us),
        likes=parse_optional("likes", parse_count, "likes"),
        comments=parse_optional("comments", parse_count, "comments"),
        media_type=media_type.strip() or None,
        emptied_cells=tuple(emptied),
    )


def _read_image(root: Path, image: str | ImageFile) -> ImageFile | ImageFault:
    if isinstance(image, ImageFile):
        n_bytes = len(image.data)
        if n_bytes > MAX_BYTES:
            return ImageFault(RejectReason.TOO_LARGE, f"{n_bytes} bytes, over {MAX_BYTES}")
        kind = recognise_kind(image.data)
        return MediaFile(image.data, image.path, kind) if kind else image
    if "://" in image:
        return ImageFault(RejectReason.MISSING_FILE, f"{image[:120]}: addresses are not fetched")
    try:
        path = (root / image).resolve()
    except (OSError, ValueError, RuntimeError):  # a NUL, or a loop of links
        return ImageFault(RejectReason.MISSING_FILE, f"{image[:120]!r}: no path")
    if Path(image).is_absolute() or not path.is_relative_to(root):
        raise RecordError(
            RejectReason.BROKEN_ROW,
            f"image path {image[:120]!r} leaves the table's folder; paths are relative to it",
        )
    return read_image(str(root), image)
