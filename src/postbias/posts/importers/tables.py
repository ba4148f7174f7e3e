"""Import a table: CSV, TSV, JSONL or Parquet with a caption column and image paths.

Image paths are relative to the folder of the table and must stay inside it; URLs are never fetched.
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
from postbias.posts.importers.export_files import read_image
from postbias.posts.importers.records import (
    Export,
    ImageFault,
    ImageFile,
    ImportedPost,
    ImportReject,
    ReadUnit,
    Record,
    RecordError,
    split_images,
)
from postbias.posts.importers.table_cells import (
    parse_count,
    parse_flag,
    parse_images,
    parse_text,
    parse_time_us,
)
from postbias.posts.importers.text_repair import decode_escaped, detect_encoding
from postbias.posts.reasons import RejectReason
from postbias.posts.remote_files import content_digest

_BATCH_ROWS = 256


@dataclass(frozen=True, slots=True)
class Columns:
    """Column names of a table; columns that it does not have are left empty.

    Attributes:
        post_id: Required.
        caption: Required unless there are images.
        images: Paths, or Hugging Face `Image` values that contain the bytes.
        author: Without it, each post counts as its own author.
        sponsored: true/false, yes/no, 1/0.
        posted_at: ISO 8601 or seconds since 1970; UTC unless it has an offset.
        likes: A whole number.
        comments: A whole number.
        media_type: Any word.
        platform: Any word; the default is "table".
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

    def check(self, names: list[str]) -> None:
        """Check that a table has the required columns and all that were renamed.

        Args:
            names: The columns of the table.

        Raises:
            SchemaError: If a column is missing or a name occurs twice.
        """
        missing = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) not in names
            and (field.name == "post_id" or getattr(self, field.name) != field.default)
        }
        if not {self.caption, self.images} & set(names):
            missing |= {"caption": self.caption}
        if missing or len(set(names)) < len(names):
            raise SchemaError(
                f"the table has no column {', '.join(missing.values())}"
                if missing
                else "two columns have the same name",
                seen=f"columns {names[:20]}",
                do="name them: --column FIELD=NAME, with FIELD one of "
                + ", ".join(field.name for field in fields(self)),
            )


def parse_columns(assignments: Sequence[str]) -> Columns:
    """Parse column names from the command line.

    Args:
        assignments: `field=name` each; `field` is an attribute of `Columns`.

    Returns:
        The default names, with these replaced.

    Raises:
        InputError: If an assignment is malformed or its field is unknown.
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
    """Open a `.csv`, `.tsv`, `.jsonl` (`.ndjson`) or `.parquet` file: one unit per row.

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
        post_id = parse_text(row.get(columns.post_id), "post_id").strip() or None
        if post_id is None:
            raise RecordError(RejectReason.MISSING_ID, f"nothing in column {columns.post_id!r}")
        return [_to_post(root, columns, source, post_id, row)]
    except RecordError as error:
        return [ImportReject.from_error(error, source, post_id)]


def _to_post(
    root: Path, columns: Columns, source: str, post_id: str, row: Mapping[str, Any]
) -> ImportedPost:
    images = parse_images(row.get(columns.images))
    files, faults = split_images(_read_image(root, image) for image in images)
    return ImportedPost(
        post_id=post_id,
        author=parse_text(row.get(columns.author), "author").strip() or f"post:{post_id}",
        caption=parse_text(row.get(columns.caption), "caption"),
        source=source,
        platform=parse_text(row.get(columns.platform), "platform").strip() or "table",
        images=files,
        image_faults=faults,
        sponsored=parse_flag(row.get(columns.sponsored)),
        posted_at_us=parse_time_us(row.get(columns.posted_at)),
        likes=parse_count(row.get(columns.likes), "likes"),
        comments=parse_count(row.get(columns.comments), "comments"),
        media_type=parse_text(row.get(columns.media_type), "media_type").strip() or None,
    )


def _read_image(root: Path, image: str | ImageFile) -> ImageFile | ImageFault:
    if isinstance(image, ImageFile):
        n_bytes = len(image.data)
        if n_bytes > MAX_BYTES:
            return ImageFault(RejectReason.TOO_LARGE, f"{n_bytes} bytes, over {MAX_BYTES}")
        return image
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
