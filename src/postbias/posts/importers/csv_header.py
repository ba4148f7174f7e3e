"""Find the header of a CSV file: its delimiter, and the lines before it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Protocol

from postbias.errors import SchemaError
from postbias.posts.importers.csv_rows import CsvRows
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_columns import propose_columns

_DELIMITERS = ",;\t|"

# Titles and dates of an export precede the header; more lines than these do not.
_MAX_PREAMBLE_LINES = 30
# Rows that are compared with the header to find row names that it does not mention.
_ROWS_TO_COMPARE = 10


class KnownColumns(Protocol):
    """Tells whether the names of columns are those of the header of a table."""

    def find(self, names: Sequence[str]) -> dict[str, str]:
        """Find columns; raise `SchemaError` if these are not the columns of the table."""
        ...


@dataclass(frozen=True, slots=True)
class CsvHeader:
    """The header of a CSV file.

    Attributes:
        names: Its cells.
        columns: The column of each field that the table has.
        delimiter: The character between cells.
        n_skipped: Lines before it.
        skips_space: Whether spaces follow the delimiters.
        has_row_names: Whether rows start with a cell that the header does not mention.
        notes: Remarks for the user.
    """

    names: list[str]
    columns: dict[str, str]
    delimiter: str
    n_skipped: int
    skips_space: bool
    has_row_names: bool
    notes: list[str]

    @property
    def places(self) -> dict[str, int]:
        """The position of each field in a row."""
        return {
            field: self.names.index(name) + self.has_row_names
            for field, name in self.columns.items()
        }

    def open(self, lines: Iterator[str]) -> CsvRows:
        """Start reading the rows after the header.

        Args:
            lines: The lines from the header on.

        Returns:
            The rows.
        """
        rows = CsvRows(lines, self.delimiter, skip_initial_space=self.skips_space)
        next(iter(rows), None)
        rows.n_lines = 0
        rows.id_cell = self.places.get("post_id")
        if self.has_row_names:
            rows.expect_cells(len(self.names) + 1)
        return rows


def find_header(lines: Callable[[], Iterator[str]], columns: KnownColumns) -> CsvHeader:
    """Find the header: the first line that has the required columns.

    Args:
        lines: Starts to read the lines of the file.
        columns: The names of the columns.

    Returns:
        The header.

    Raises:
        SchemaError: If no line among the first has the required columns.
    """
    head = list(islice(lines(), _MAX_PREAMBLE_LINES + 2 * _ROWS_TO_COMPARE))
    delimiters = _DELIMITERS
    attempts: list[tuple[list[str], SchemaError]] = []
    for n_skipped, line in enumerate(head[:_MAX_PREAMBLE_LINES]):
        marked = line.strip("\ufeff \t\r\n").lower()
        if marked.startswith("sep=") and len(marked) == 5:
            delimiters = marked[4]
            continue
        if not line.strip("\ufeff\r\n\t ,;|"):
            continue
        for delimiter in delimiters:
            names, skips_space = _parse_names(head[n_skipped:], delimiter)
            try:
                found = columns.find(names)
            except SchemaError as error:
                attempts.append((names, error))
                continue
            has_row_names = _has_row_names(head[n_skipped:], delimiter, len(names))
            notes = [_describe_preamble(head[:n_skipped]), _describe_unused(names, found)]
            return CsvHeader(names, found, delimiter, n_skipped, skips_space, has_row_names,
                             [note for note in notes if note])  # fmt: skip
    if not attempts:
        raise SchemaError("the table has no header", do="its first line must name the columns")
    # The error of the line that looks most like a header.
    raise max(attempts, key=lambda attempt: len(attempt[0]))[1]


def _parse_names(lines: list[str], delimiter: str) -> tuple[list[str], bool]:
    first = lines[0].rstrip("\r\n")
    n_delimiters = first.count(delimiter)
    skips_space = n_delimiters > 0 and first.count(f"{delimiter} ") == n_delimiters
    row = next(iter(CsvRows(iter(lines), delimiter, skip_initial_space=skips_space)), [])
    if isinstance(row, RecordError):
        return [], skips_space
    # Some programs write a second byte order mark, also before a quote.
    return [cell.lstrip("\ufeff").strip().strip('"') for cell in row], skips_space


def _has_row_names(lines: list[str], delimiter: str, n_names: int) -> bool:
    """Tell whether all rows have one cell more than the header: a number that counts them.

    R writes it in quotes; without them, the additional cell can come from a comma in a caption.
    """
    rows = CsvRows(iter(lines), delimiter)
    iterator = iter(rows)
    next(iterator, None)
    rows.expect_cells(n_names + 1)
    found = list(islice(iterator, _ROWS_TO_COMPARE))
    numbers = [row[0] for row in found if isinstance(row, list)]
    n_quoted = sum(line.startswith(f'"{number}"') for number in numbers for line in lines)
    return n_quoted >= len(numbers) and (
        len(numbers) == len(found) > 1
        and all(number.isdecimal() for number in numbers)
        and all(int(b) == int(a) + 1 for a, b in pairwise(numbers))
    )


def _describe_preamble(lines: list[str]) -> str:
    texts = [line.strip() for line in lines if line.strip("\ufeff\r\n\t ,;|")]
    texts = [text for text in texts if not text.lstrip("\ufeff").lower().startswith("sep=")]
    return f"skipped {len(texts)} lines before the header: {texts[0][:60]!r}" if texts else ""


def _describe_unused(names: list[str], found: dict[str, str]) -> str:
    options = propose_columns(names, found)
    return f"columns that are not used; if they are right, add {options}" if options else ""
