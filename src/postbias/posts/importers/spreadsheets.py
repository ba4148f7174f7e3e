"""Convert the first sheet with the needed columns of an Excel file to one JSON object per line."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from postbias.errors import InputError, MissingExtraError, PostbiasError, SchemaError
from postbias.posts.importers.scratch_folder import ExpansionLimit
from postbias.posts.importers.table_cells import parse_id
from postbias.posts.importers.table_columns import Columns
from postbias.posts.importers.zip_archives import ZIP_ERRORS, damaged_zip

_MAX_PREAMBLE_ROWS = 30
# Spreadsheets keep 15 digits of a number.
_EXACT_BELOW = 10**15

# More rows are not possible, but a damaged file may state any row number.
_MAX_ROWS = 2**20


class _Header(NamedTuple):
    sheet: str
    number: int
    names: list[str]
    id_place: int | None


class SheetReader:
    """Reads the rows of an Excel file.

    Attributes:
        notes: Remarks for the user.
    """

    def __init__(self, src: Path, columns: Columns) -> None:
        """Find the sheet and the header in it.

        Args:
            src: The file.
            columns: The names of the columns.

        Raises:
            InputError: If the file is damaged.
            MissingExtraError: If openpyxl is not installed.
            SchemaError: If no sheet has the required columns.
        """
        self._src = src
        try:
            import openpyxl
        except ModuleNotFoundError as error:
            raise MissingExtraError(
                f"{src.name} is an Excel file; reading it needs the package openpyxl",
                do="run `pip install 'postbias[excel]'`, or save the file as CSV",
            ) from error
        _check_size(src)
        self._open = openpyxl.load_workbook
        try:
            self._header, sheets = self._find_header(columns)
        except PostbiasError:
            raise
        except Exception as error:  # openpyxl documents no set of errors
            raise damaged_zip(src, error) from error
        more = f", one of {len(sheets)}" if len(sheets) > 1 else ""
        self.notes = [f"sheet {self._header.sheet!r}{more}"]

    def _rows(self, sheet: str) -> Iterator[tuple[Any, ...]]:
        with self._book() as book:
            # The size that a file states may be wrong.
            book[sheet].reset_dimensions()
            for number, row in enumerate(book[sheet].iter_rows(values_only=True)):
                if number == _MAX_ROWS:
                    raise InputError(f"{self._src.name} has more than {_MAX_ROWS} rows in a sheet")
                yield row

    @contextmanager
    def _book(self) -> Iterator[Any]:
        with self._src.open("rb") as file, warnings.catch_warnings():
            # About styles and validation, which are not read.
            warnings.simplefilter("ignore")
            book = self._open(file, read_only=True, data_only=True)
            try:
                yield book
            finally:
                book.close()

    def _sheets(self) -> list[str]:
        with self._book() as book:
            return [sheet.title for sheet in book.worksheets]

    def _find_header(self, columns: Columns) -> tuple[_Header, list[str]]:
        sheets = self._sheets()
        attempts: list[tuple[int, SchemaError]] = []
        for sheet in sheets:
            for number, row in enumerate(islice(self._rows(sheet), _MAX_PREAMBLE_ROWS)):
                names = ["" if cell is None else str(cell).strip() for cell in row]
                if not any(names):
                    continue
                try:
                    found = columns.find(names)
                except SchemaError as error:
                    attempts.append((sum(map(bool, names)), error))
                    continue
                place = names.index(found["post_id"]) if "post_id" in found else None
                return _Header(sheet, number, names, place), sheets
        if not attempts:
            raise SchemaError(f"{self._src.name} has no rows")
        raise max(attempts, key=lambda attempt: attempt[0])[1]

    def rows(self) -> Iterator[str]:
        """Iterate over the rows below the header.

        Yields:
            A JSON object each, in one line.

        Raises:
            InputError: If the file is damaged, or its ids were rounded.
        """
        header = self._header
        ids = _LongIds()
        try:
            for row in islice(self._rows(header.sheet), header.number + 1, None):
                if all(cell is None or cell == "" for cell in row):
                    continue
                place = header.id_place
                ids.count(row[place] if place is not None and place < len(row) else None)
                yield json.dumps(_to_object(header.names, row))
        except PostbiasError:
            raise
        except Exception as error:  # openpyxl documents no set of errors
            raise damaged_zip(self._src, error) from error
        ids.check()


def _to_object(names: list[str], row: Iterable[Any]) -> dict[str, object]:
    cells: dict[str, object] = {}
    for name, cell in zip(names, row, strict=False):
        if name and name not in cells:
            cells[name] = _to_json(cell)
    # The reader takes the columns from the rows.
    return dict.fromkeys(filter(None, names)) | cells


def _to_json(cell: object) -> object:
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and abs(cell) >= _EXACT_BELOW:
        return f"{cell:.14E}"  # recognised as rounded, if it is an id
    if isinstance(cell, int | float | str) or cell is None:
        return cell
    return cell.isoformat() if isinstance(cell, datetime | date) else str(cell)


class _LongIds:
    """Finds out whether all long ids have been rounded to 15 digits."""

    def __init__(self) -> None:
        self._rounded: int | None = None
        self._n_exact = 0

    def count(self, cell: object) -> None:
        if isinstance(cell, int) and not isinstance(cell, bool) and abs(cell) >= _EXACT_BELOW:
            if len(str(abs(cell)).rstrip("0")) > 15:
                self._n_exact += 1
            else:
                self._rounded = self._rounded or cell

    def check(self) -> None:
        if self._rounded is not None and not self._n_exact:
            parse_id(f"{float(self._rounded):.14E}")


def _check_size(src: Path) -> None:
    """Check what the file expands to, from its data: the sizes that it states may be wrong."""
    limit = ExpansionLimit(src)
    try:
        with zipfile.ZipFile(src) as archive:
            for entry in archive.infolist():
                if entry.flag_bits & 0x1:
                    raise InputError(f"{src.name} is encrypted", do="save it without a password")
                with archive.open(entry) as file:
                    while chunk := file.read(2**20):
                        limit.add(len(chunk))
    except ZIP_ERRORS as error:
        raise damaged_zip(src, error) from error
