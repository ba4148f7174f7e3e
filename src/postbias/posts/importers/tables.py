"""Import a table: CSV, JSON, Parquet or Excel with a caption column and image paths.

Image paths are relative to the folder of the table and must stay inside it; addresses are never
fetched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from postbias.posts.authorship import make_own_author
from postbias.posts.importers.durations import parse_duration_s
from postbias.posts.importers.image_cells import read_images
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.optional_cells import OptionalCells
from postbias.posts.importers.records import (
    Export,
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
    parse_id,
    parse_text,
    parse_time_us,
)
from postbias.posts.importers.table_columns import ReadingOptions
from postbias.posts.importers.table_files import OpenTable, open_rows
from postbias.posts.importers.table_rows import Row
from postbias.posts.reasons import RejectReason
from postbias.posts.remote_files import content_digest


def open_table(src: Path, options: ReadingOptions) -> Export:
    """Open a table.

    Args:
        src: A file that `unpack_table` accepts.
        options: The names of its columns, its encoding if it is known, and words for empty cells.

    Returns:
        One unit per row.

    Raises:
        InputError: If there is no such file, or it cannot be read or unpacked.
        LayoutError: If it holds no table, or several.
        SchemaError: If a column is missing.
        StorageError: If it cannot be unpacked to the disk.
    """
    # Reads the header, so that a wrong column is reported before anything is written.
    table = open_rows(src, options)
    load = partial(_load, ImageFolder(table.plain.root), table.columns)
    return Export(
        digest=content_digest(src),
        n_units=None,
        units=lambda: _units(src.name, table, load),
        reading=table.reading,
    )


def _units(
    name: str, table: OpenTable, load: Callable[[str, Row], list[Record]]
) -> Iterator[ReadUnit]:
    for number, row in enumerate(table.rows(), start=1):
        yield partial(load, f"{name}:{number}", row)


def _load(folder: ImageFolder, columns: Mapping[str, str], source: str, row: Row) -> list[Record]:
    post_id = None
    try:
        if isinstance(row, RecordError):
            raise row
        is_numbered = "post_id" not in columns
        post_id = _number_row(source) if is_numbered else parse_id(_cell(row, "post_id")) or None
        if post_id is None:
            column = columns["post_id"]
            raise RecordError(RejectReason.MISSING_ID, f"nothing in column {column!r}")
        return [_to_post(folder, source, post_id, row)]
    except RecordError as error:
        return [ImportReject.from_error(error, source, post_id)]


def _number_row(source: str) -> str:
    """Return the id of a row in a table without ids."""
    return f"row-{source.rpartition(':')[2]}"


def _cell(row: Mapping[str, Any], field: str) -> Any:  # noqa: ANN401 - a cell
    """Return a cell; raise the error if it could not be read."""
    value = row.get(field)
    if isinstance(value, RecordError):
        raise value
    return value


def _to_post(
    folder: ImageFolder, source: str, post_id: str, row: Mapping[str, Any]
) -> ImportedPost:
    cells, get = OptionalCells(), row.get
    images = cells.parse("images", get("images"), read_images, folder, post_id) or []
    files, faults = split_images(images)
    author = cells.parse("author", get("author"), parse_text, "author") or ""
    platform = cells.parse("platform", get("platform"), parse_text, "platform") or ""
    media_type = cells.parse("media_type", get("media_type"), parse_text, "media_type") or ""
    transcript = cells.parse("transcript", get("transcript"), parse_text, "transcript")
    return ImportedPost(
        post_id=post_id,
        author=author.strip() or make_own_author(post_id),
        caption=parse_text(_cell(row, "caption"), "caption"),
        source=source,
        platform=platform.strip() or "table",
        images=files,
        image_faults=faults,
        sponsored=cells.parse("sponsored", get("sponsored"), parse_flag),
        posted_at_us=cells.parse("posted_at", get("posted_at"), parse_time_us),
        likes=cells.parse("likes", get("likes"), parse_count, "likes"),
        comments=cells.parse("comments", get("comments"), parse_count, "comments"),
        media_type=media_type.strip() or None,
        duration_s=cells.parse("duration_s", get("duration_s"), parse_duration_s),
        transcript=(transcript or "").strip(),
        emptied_cells=tuple(cells.emptied),
    )
