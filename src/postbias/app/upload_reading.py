"""Find out what an upload is: its layout, and of a table the columns with some rows to show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from pathlib import Path
from typing import Any

from postbias.errors import InputError, LayoutError
from postbias.posts.importers import Columns, ReadingOptions
from postbias.posts.importers.containers import TABLE_SUFFIXES
from postbias.posts.importers.export_files import walk_folders
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_columns import choose_columns
from postbias.posts.importers.table_files import list_columns, open_rows
from postbias.posts.importers.zip_archives import list_zip, unpack_export
from postbias.scoring.post_sources import AUTO, PostSource, identify_source

_PREVIEW_ROWS = 5
_PREVIEW_CHARS = 160
_ZIP_HEADS = (b"PK\x03\x04", b"PK\x05\x06")
_EXCEL_FILES = ("xl/workbook.xml", "[Content_Types].xml")

#: Fields that a person is asked for; the others are taken by their default names.
FIELDS = ("post_id", "caption", "images", "author", "posted_at", "sponsored")


@dataclass(frozen=True, slots=True)
class UploadContent:
    """What an upload is.

    Attributes:
        source: Post shards, a table, or an export with its layout.
        names: Columns of a table; empty for others.
        columns: The column of each field of a table; "" for none.
        rows: The first rows of a table as text, by field.
    """

    source: PostSource
    names: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: tuple[Mapping[str, str], ...] = ()

    @property
    def options(self) -> ReadingOptions:
        """How to import it."""
        return ReadingOptions(build_columns(self.columns)) if self.names else ReadingOptions()


def read_upload(files: Path, unpacked: Path, columns: Mapping[str, str] | None) -> UploadContent:
    """Find out what an upload is.

    Args:
        files: Folder of the files as they were sent.
        unpacked: Folder for the content of a ZIP file; used again if it exists.
        columns: The column of each field that a person confirmed; None to guess.

    Returns:
        Its source, and of a table the columns and rows to show.

    Raises:
        InputError: If it cannot be read, is damaged or expands too much.
        LayoutError: If no layout fits.
        SchemaError: If a column does not exist.
        StorageError: If it cannot be unpacked.
    """
    path = _open_archive(_only_file(files), unpacked)
    try:
        found = identify_source(path, AUTO, ReadingOptions())
    except LayoutError as error:
        found = PostSource(_only_table(path, error), "table")
    if found.layout != "table":
        return UploadContent(found)
    assert isinstance(found.path, Path)
    names = list_columns(found.path)
    chosen = dict(columns) if columns is not None else choose_columns(names)
    chosen = {name: chosen.get(name, "") for name in FIELDS} | chosen
    rows: tuple[Mapping[str, str], ...] = ()
    if columns is not None or chosen["caption"] or chosen["images"]:
        table = open_rows(found.path, ReadingOptions(build_columns(chosen)))
        rows = tuple(_show_row(row) for row in islice(table.rows(), _PREVIEW_ROWS))
    return UploadContent(found, tuple(names), chosen, rows)


def build_columns(chosen: Mapping[str, str]) -> Columns:
    """Convert the choice of a person to names of columns; fields without a choice are not read.

    Args:
        chosen: Names of columns by field.

    Raises:
        InputError: If a field is unknown.
    """
    known = {each.name for each in fields(Columns)}
    if unknown := sorted(chosen.keys() - known):
        raise InputError("unknown field", seen=unknown[0][:40], allowed=", ".join(sorted(known)))
    return Columns(**(dict.fromkeys(known, "") | dict(chosen)))


def _only_file(files: Path) -> Path:
    """Return the only file that was sent, or the folder of several."""
    sent = [files / f"{prefix}{name}" for prefix, names in walk_folders(files) for name in names]
    if not sent:
        raise InputError("no file was sent", do="choose a file")
    return sent[0] if len(sent) == 1 else files


def _open_archive(path: Path, unpacked: Path) -> Path:
    """Return the folder that a ZIP file is unpacked to; other files and folders as they are."""
    if path.is_dir() or unpacked.is_dir():
        return unpacked if unpacked.is_dir() else path
    with path.open("rb") as file:
        is_archive = file.read(4) in _ZIP_HEADS
    if not is_archive or any(name in _EXCEL_FILES for name in list_zip(path)):
        return path
    staging = unpacked.with_name(f"{unpacked.name}.new")
    staging.mkdir(parents=True, exist_ok=True)
    unpack_export(path, staging)
    staging.rename(unpacked)
    return unpacked


def _only_table(path: Path, error: LayoutError) -> Path:
    """Return the only table of an upload, whose columns have other names; else raise the error."""
    if not path.is_dir():
        tables = [path] if path.name.lower().endswith(TABLE_SUFFIXES) else []
    else:
        tables = [
            path / f"{prefix}{name}"
            for prefix, names in walk_folders(path)
            for name in names
            if name.lower().endswith(TABLE_SUFFIXES)
        ]
    if len(tables) != 1:
        raise error
    return tables[0]


def _show_row(row: Mapping[str, Any] | RecordError) -> Mapping[str, str]:
    if isinstance(row, RecordError):
        return {"post_id": "(this row cannot be read)"}
    return {name: _show_cell(cell) for name, cell in row.items()}


def _show_cell(cell: Any) -> str:  # noqa: ANN401 - any value of a table cell
    if cell is None:
        return ""
    if isinstance(cell, RecordError):
        return "(this cell cannot be read)"
    if isinstance(cell, bytes | dict) or (isinstance(cell, list) and cell and not _is_text(cell)):
        return "(images in the table)"
    text = ", ".join(map(str, cell)) if isinstance(cell, list) else str(cell)
    return text if len(text) <= _PREVIEW_CHARS else f"{text[:_PREVIEW_CHARS]}…"


def _is_text(cell: list[Any]) -> bool:
    return all(isinstance(item, str) for item in cell)
