"""Read the rows of table files: CSV, TSV, JSONL and Parquet.

Each reader finds the columns when it is created, so that a wrong table is refused before anything
is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from postbias.errors import InputError, SchemaError
from postbias.posts.importers.csv_header import find_header
from postbias.posts.importers.limited_json import parse_limited_json
from postbias.posts.importers.records import RecordError, TextReading
from postbias.posts.importers.table_columns import Columns, ReadingOptions, propose_columns
from postbias.posts.importers.text_lines import (
    describe_undecoded,
    detect_file_encoding,
    is_decoded,
    read_lines,
    read_table_lines,
)
from postbias.posts.reasons import RejectReason

# Rows whose keys tell the columns of a JSONL file; more are read while one is missing.
_HEADER_ROWS = 1_000
_BATCH_ROWS = 256

#: The cells of a row by field, or why it could not be read; a cell can be an error, too.
Row = Mapping[str, Any] | RecordError


class RowReader(Protocol):
    """Reads the rows of a table.

    Attributes:
        columns: The column of each field.
        reading: Remarks on a text file; filled while rows are read.
    """

    columns: dict[str, str]
    reading: TextReading | None

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows, from the first."""
        ...


class CsvReader:
    """Reads a CSV or TSV file."""

    def __init__(self, src: Path, options: ReadingOptions) -> None:
        """Find the header.

        Args:
            src: The file.
            options: The names of its columns, and its encoding if it is known.

        Raises:
            SchemaError: If a column is missing.
        """
        self._src = src
        self._encoding = detect_file_encoding(src, options.encoding)
        self._header = find_header(self._lines, options.columns)
        self.columns = self._header.columns
        notes = [*self._encoding.notes, *self._header.notes]
        self._n_notes = len(notes)
        self._reading = TextReading(str(self._encoding), notes)
        self.reading: TextReading | None = self._reading

    def _lines(self) -> Iterator[str]:
        return read_table_lines(self._src, self._encoding)

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows, from the first."""
        header, reading = self._header, self._reading
        places = header.places
        reading.n_rows = 0
        del reading.notes[self._n_notes :]
        rows = header.open(islice(self._lines(), header.n_skipped, None))
        for cells in rows:
            reading.n_rows += 1
            reading.n_lines, reading.n_row_like = rows.n_lines, rows.n_row_like
            if isinstance(cells, RecordError):
                yield cells
            elif cells == header.names:
                yield RecordError(RejectReason.BROKEN_ROW, "the header again: were files joined?")
            elif "".join(cells).isascii():
                yield {field: cells[place] for field, place in places.items()}
            else:
                yield {field: self._check(cells[place]) for field, place in places.items()}
        if rows.n_joined:
            reading.notes.append(
                f"{rows.n_joined} rows have a cell with an unquoted {header.delimiter!r}, whose "
                "parts were joined where a space follows: check them"
            )

    def _check(self, cell: str) -> str | RecordError:
        if cell.isascii() or is_decoded(cell):
            return cell
        return RecordError(RejectReason.BAD_ENCODING, describe_undecoded(cell, self._encoding))


class JsonlReader:
    """Reads a JSONL file."""

    def __init__(self, src: Path, options: ReadingOptions) -> None:
        """Find the columns among the keys of the first rows, as later rows may leave out cells.

        Args:
            src: The file.
            options: The names of its columns, and its encoding if it is known.

        Raises:
            SchemaError: If a column is missing in all rows.
        """
        self._src = src
        self._encoding = detect_file_encoding(src, options.encoding)
        self._reading = TextReading(str(self._encoding), self._encoding.notes)
        self.reading: TextReading | None = self._reading
        self.columns = self._find_columns(options.columns)

    def _find_columns(self, columns: Columns) -> dict[str, str]:
        names: dict[str, None] = {}
        n_rows = 0
        for row in self._objects():
            n_rows += 1
            if isinstance(row, RecordError):
                continue
            n_names = len(names)
            names |= dict.fromkeys(row)
            if n_rows >= _HEADER_ROWS and (n_rows == _HEADER_ROWS or len(names) > n_names):
                try:
                    columns.find(list(names))
                except SchemaError:
                    continue
                break
        if not names and n_rows:
            # Every row is a reject: the import will say so.
            return {"post_id": columns.post_id}
        found = columns.find(list(names))
        if options := propose_columns(list(names), found):
            self._reading.notes.append(
                f"columns that are not used; if they are right, add {options}"
            )
        return found

    def _objects(self) -> Iterator[dict[str, Any] | RecordError]:
        reading = self._reading
        reading.n_lines = reading.n_rows = 0
        for line in read_lines(self._src, self._encoding, "\n"):
            if line.strip("\ufeff \t\r\n\0"):
                reading.n_lines += 1
                reading.n_rows += 1
                yield self._parse(line)

    def _parse(self, line: str) -> dict[str, Any] | RecordError:
        if not is_decoded(line):
            return RecordError(RejectReason.BAD_ENCODING, describe_undecoded(line, self._encoding))
        try:
            row = parse_limited_json(line.lstrip("\ufeff"))
        except ValueError as error:
            return RecordError(RejectReason.BROKEN_ROW, f"not JSON: {str(error)[:120]}")
        if isinstance(row, dict):
            return row
        detail = f"a {type(row).__name__}, not an object: each line must be one object"
        return RecordError(RejectReason.BROKEN_ROW, detail)

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows, from the first."""
        columns = self.columns.items()
        for row in self._objects():
            if isinstance(row, RecordError):
                yield row
            else:
                yield {field: row.get(name) for field, name in columns}


class ParquetReader:
    """Reads a Parquet file."""

    def __init__(self, src: Path, options: ReadingOptions) -> None:
        """Find the columns in the schema.

        Args:
            src: The file.
            options: The names of its columns.

        Raises:
            InputError: If it is no Parquet file.
            SchemaError: If a column is missing.
        """
        self._src = src
        self.reading: TextReading | None = None
        try:
            names = pq.ParquetFile(src).schema_arrow.names
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged(error) from error
        self.columns = options.columns.find(names)

    def _damaged(self, error: Exception) -> InputError:
        message = " ".join(str(error).split())[:160]
        return InputError(
            f"{self._src.name} cannot be read as Parquet: {message}",
            do="copy or export the file again",
        )

    def rows(self) -> Iterator[Row]:
        """Iterate over the rows, from the first."""
        names = list(self.columns.values())
        try:
            for batch in pq.ParquetFile(self._src).iter_batches(_BATCH_ROWS, columns=names):
                yield from self._rows_of(batch)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise self._damaged(error) from error

    def _rows_of(self, batch: pa.RecordBatch) -> Iterator[Row]:
        cells = {
            field: _to_python(batch.column(batch.schema.names.index(name)))
            for field, name in self.columns.items()
        }
        for index in range(batch.num_rows):
            yield {field: values[index] for field, values in cells.items()}


def _to_python(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (ValueError, OverflowError):
        return [_to_cell(value) for value in column]


def _to_cell(value: pa.Scalar) -> Any:  # noqa: ANN401 - a cell
    """Convert a cell; text in no known encoding and times beyond Python's are errors."""
    try:
        return value.as_py()
    except UnicodeDecodeError as error:
        return RecordError(RejectReason.BAD_ENCODING, f"not UTF-8 at byte {error.start}")
    except (ValueError, OverflowError) as error:
        return RecordError(RejectReason.BROKEN_ROW, str(error)[:120])


READERS: dict[str, Callable[[Path, ReadingOptions], RowReader]] = {
    ".csv": CsvReader,
    ".tsv": CsvReader,
    ".txt": CsvReader,
    ".jsonl": JsonlReader,
    ".ndjson": JsonlReader,
    ".parquet": ParquetReader,
}
