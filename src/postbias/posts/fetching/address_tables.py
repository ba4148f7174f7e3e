"""Open a table for the addresses of its images: one of your own, or of a research tool."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from postbias.errors import InputError, SchemaError
from postbias.posts.importers.image_addresses import is_address
from postbias.posts.importers.image_cells import list_addresses, list_other_schemes
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.source_columns import TableSource, find_source
from postbias.posts.importers.source_tables import (
    NamedTable,
    list_images,
    read_row_id,
)
from postbias.posts.importers.table_cells import parse_id
from postbias.posts.importers.table_columns import (
    Columns,
    ColumnsError,
    ImageColumns,
    ReadingOptions,
)
from postbias.posts.importers.table_detection import format_table_import
from postbias.posts.importers.table_files import OpenTable, open_rows
from postbias.posts.importers.table_rows import Row

_CSV = (".csv", ".tsv", ".tab")


@dataclass(frozen=True, slots=True)
class AddressRow:
    """The addresses in a row.

    Attributes:
        number: The number of the row.
        post_id: The id of its post, if it can be read.
        addresses: Addresses of images.
        other_schemes: Schemes of references that are no addresses, such as `file`.
    """

    number: int
    post_id: str | None
    addresses: list[str]
    other_schemes: list[str]


@dataclass(frozen=True, slots=True)
class AddressTable:
    """A table whose images have addresses.

    Attributes:
        column: The columns that have them, for people.
        command: The command that imports it.
        rows: Its rows; those that cannot be read are left out, as the import reports them.
    """

    column: str
    command: str
    rows: Iterator[AddressRow]


def open_addresses(table: Path, options: ReadingOptions) -> AddressTable:
    """Open a table and find the columns of the images.

    Args:
        table: The file.
        options: Column names of the table, and its encoding if it is known.

    Returns:
        The table.

    Raises:
        InputError: If it cannot be read, is in an archive, or has no column of images.
    """
    if found := _find_source(table, options):
        layout, source = found
        given = "" if options.encoding is None else f" --encoding {shlex.quote(options.encoding)}"
        command = f"postbias import {layout} {shlex.quote(str(table))} DEST{given} --replace"
        rows_of_source = _source_rows(NamedTable(table, options.encoding), source)
        return AddressTable(", ".join(source.images), command, rows_of_source)
    proposed = ""
    try:
        rows = open_rows(table, options)
    except ColumnsError as error:
        rows = _open_images(table, options)
        # The import needs more columns than the download.
        proposed = error.options
    if rows.plain.root != table.parent:
        raise InputError(
            "the table is in an archive", seen=table.name, do="unpack it, and name the table in it"
        )
    if "images" not in rows.columns:
        rows = _open_images(table, options)
    command = format_table_import(table, options, proposed)
    folder = ImageFolder(table.parent)
    return AddressTable(
        repr(rows.columns["images"]), f"{command} --replace", _table_rows(rows, folder)
    )


def _open_images(table: Path, options: ReadingOptions) -> OpenTable:
    names = {each.name: getattr(options.columns, each.name) for each in fields(Columns)}
    try:
        return open_rows(table, replace(options, columns=ImageColumns(**names)))
    except ColumnsError as error:
        raise InputError(
            "the table has no column of images",
            seen=str(error),
            do="name the column that has the addresses: --column images=NAME",
        ) from error


def _find_source(table: Path, options: ReadingOptions) -> tuple[str, TableSource] | None:
    """Find the layout of a research tool whose images are in the chosen column."""
    if not table.name.lower().endswith(_CSV):
        return None
    try:
        names = NamedTable(table, options.encoding).names
    except (OSError, SchemaError):
        return None
    if (found := find_source(names)) is None:
        return None
    layout, source = found[0], found[1].limited_to(names)
    if (column := options.columns.images) != Columns().images:
        images = tuple(name for name in source.images if name == column.strip().lower())
        source = replace(source, images=images)
    return (layout, source) if source.images else None


def _source_rows(table: NamedTable, source: TableSource) -> Iterator[AddressRow]:
    for number, row in enumerate(table.rows(), start=1):
        if isinstance(row, RecordError):
            continue
        images = [str(image).strip() for image in list_images(source, row) if image]
        addresses = [i for i in images if is_address(i) and i[:5].lower() != "data:"]
        yield AddressRow(number, read_row_id(source, row)[:200] or None, addresses, [])


def _table_rows(table: OpenTable, folder: ImageFolder) -> Iterator[AddressRow]:
    for number, row in enumerate(table.rows(), start=1):
        if isinstance(row, RecordError):
            continue
        try:
            cell = row.get("images")
            addresses = list_addresses(cell, folder)
            yield AddressRow(number, _read_id(row), addresses, list_other_schemes(cell, folder))
        except RecordError:
            continue


def _read_id(row: Row) -> str | None:
    try:
        return (parse_id(row.get("post_id")) or None) if not isinstance(row, RecordError) else None
    except RecordError:
        return None
