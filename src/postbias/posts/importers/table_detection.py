"""Recognise tables, in the same files as the layout `table` reads."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import NamedTuple

from postbias.errors import SchemaError
from postbias.posts.importers.source_columns import find_source
from postbias.posts.importers.source_tables import NamedTable
from postbias.posts.importers.table_columns import (
    ColumnsError,
    ReadingOptions,
    format_options,
    is_text,
)
from postbias.posts.importers.table_files import open_rows

# The files that the layouts of research tools read.
_PLAIN = (".csv", ".tsv", ".tab")
_CONTENT = frozenset({"caption", "images"})


class Recognised(NamedTuple):
    """What a file is.

    Attributes:
        layout: Its layout; None if it is unknown.
        detail: Why, or a description of the file.
        options: If it may be a table with other columns: options that name them.
    """

    layout: str | None
    detail: str
    options: str = ""


def has_default_columns(row: object) -> bool:
    """Tell whether an object has keys that only the layout `table` has."""
    return isinstance(row, dict) and "post_id" in row and bool(_CONTENT & set(row))


def recognise_table(path: Path, options: ReadingOptions) -> Recognised:
    """Recognise a table by its columns.

    Args:
        path: The file.
        options: The names of its columns, and its encoding if it is known.

    Returns:
        The layout `table`, that of a research tool, or a description of the file.

    Raises:
        PostbiasError: If it cannot be opened.
    """
    if found := _recognise_source(path, options.encoding):
        return found
    try:
        columns = open_rows(path, options).columns
    except ColumnsError as error:
        return _describe(error)
    named = [columns[field] for field in ("post_id", "caption", "images") if field in columns]
    if not _CONTENT & set(columns):
        return Recognised(None, "a file without readable rows")
    return Recognised("table", f"columns {', '.join(named)}")


def _recognise_source(path: Path, encoding: str | None) -> Recognised | None:
    if not path.name.lower().endswith(_PLAIN):
        return None
    try:
        names = NamedTable(path, encoding).names
    except SchemaError:
        return None
    if (found := find_source(names)) is None:
        return None
    layout, source = found
    any_of = [column for column in source.any_of if column in names][:1]
    columns = ", ".join((*source.required, *any_of))
    return Recognised(layout, f"columns {columns} of {source.name}")


def _describe(error: ColumnsError) -> Recognised:
    if not is_text(error.names):
        return Recognised(None, "a file that is neither a table nor text")
    if found := find_source([name.strip().lower() for name in error.names]):
        return Recognised(None, f"a table of layout {found[0]} that must be unpacked first")
    detail = f"a table with the columns {list(error.names[:12])}"
    return Recognised(None, detail, error.options if len(error.names) > 1 else "")


def format_table_import(path: Path, options: ReadingOptions, proposed: str) -> str:
    """Format the command that imports a table.

    Args:
        path: The table.
        options: Options that were given.
        proposed: Further options.

    Returns:
        The command, with DEST for the folder of the posts.
    """
    given = format_options(options)
    return " ".join(
        each
        for each in ("postbias import table", shlex.quote(str(path)), "DEST", given, proposed)
        if each
    )
