"""Open the file that holds a table, whatever it is packed in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from postbias.posts.importers.containers import PlainTable, unpack_table
from postbias.posts.importers.null_values import NullValues
from postbias.posts.importers.records import TextReading
from postbias.posts.importers.table_columns import Columns, ColumnsError, ReadingOptions
from postbias.posts.importers.table_rows import READERS, Row, RowReader


@dataclass(frozen=True, slots=True)
class OpenTable:
    """A table whose columns are found.

    Attributes:
        plain: The table itself; keeps what was unpacked.
        reader: Reads its rows.
        nulls: Words that stand for empty cells.
        reading: Remarks; filled while rows are read.
    """

    plain: PlainTable
    reader: RowReader
    nulls: NullValues
    reading: TextReading

    @property
    def columns(self) -> dict[str, str]:
        """The column of each field."""
        return self.reader.columns

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows, from the first."""
        yield from self.nulls.apply(self.reader.rows(), self.reading)
        notes = self.reading.notes
        # Readers start their notes again with the rows.
        notes[:0] = [note for note in self.plain.notes if note not in notes]


def open_rows(src: Path, options: ReadingOptions) -> OpenTable:
    """Open a table and find its columns.

    Args:
        src: The file.
        options: The names of its columns, its encoding if it is known, and words for empty cells.

    Returns:
        The table.

    Raises:
        InputError: If there is no such file, or it cannot be read or unpacked.
        LayoutError: If it holds no table, or several.
        SchemaError: If a column is missing.
        StorageError: If it cannot be unpacked to the disk.
    """
    plain = unpack_table(src, options.columns, options.encoding)
    reader = READERS[plain.suffix](plain.path, replace(options, encoding=plain.encoding))
    reading = reader.reading or TextReading("")
    return OpenTable(plain, reader, NullValues(options.null_values), reading)


# No table has a column of this name.
_NO_COLUMN = "\0"


def list_columns(src: Path, encoding: str | None = None) -> list[str]:
    """List all columns of a table.

    Args:
        src: The file.
        encoding: Its encoding, if it is known.

    Returns:
        Their names in order; of the line that looks most like a header.

    Raises:
        InputError: If there is no such file, or it cannot be read or unpacked.
        LayoutError: If it holds no table, or several.
        StorageError: If it cannot be unpacked to the disk.
    """
    try:
        open_rows(src, ReadingOptions(Columns(post_id=_NO_COLUMN), encoding))
    except ColumnsError as error:
        return list(error.names)
    return []  # every row is damaged
