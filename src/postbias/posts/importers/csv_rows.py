"""Read the rows of a CSV file so that a damaged quote costs one row, not the rest of the file."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from itertools import chain

from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

#: A quoted cell that is longer, or spans more lines, was never closed.
MAX_CELL_CHARS, MAX_CELL_LINES = 131_072, 2_000

_ADVICE = "close every quote and double quotes inside cells"


class CsvRows:
    """Iterate over the rows of a CSV file; resynchronise at the next line after a damaged row."""

    def __init__(self, lines: Iterator[str], delimiter: str) -> None:
        """Start at the first line.

        Args:
            lines: The lines with their line ends.
            delimiter: The character between cells.
        """
        self._lines = lines
        self._delimiter = delimiter
        self._pushed_back: deque[str] = deque()
        self._n_cells: int | None = None

    def __iter__(self) -> Iterator[list[str] | RecordError]:
        """Yield the cells of each row, or why it could not be read; blank lines are skipped.

        All rows must have as many cells as the first.
        """
        while (line := self._next_line()) is not None:
            if '"' not in line:
                cells = line.rstrip("\r\n").split(self._delimiter)
                if cells == [""]:
                    continue
                yield self._check_cells(cells, 1, len(line))
            else:
                yield self._read_quoted(line)

    def _next_line(self) -> str | None:
        if self._pushed_back:
            return self._pushed_back.popleft()
        return next(self._lines, None)

    def _check_cells(self, cells: list[str], n_lines: int, n_chars: int) -> list[str] | RecordError:
        if self._n_cells is None:
            self._n_cells = len(cells)
        if len(cells) != self._n_cells:
            detail = f"{len(cells)} cells, the header has {self._n_cells}"
            return RecordError(RejectReason.BROKEN_ROW, _with_lines(detail, n_lines))
        if n_chars > MAX_CELL_CHARS and max(map(len, cells)) > MAX_CELL_CHARS:
            detail = f"a cell is longer than {MAX_CELL_CHARS} characters"
            return RecordError(RejectReason.BROKEN_ROW, _with_lines(detail, n_lines))
        return cells

    def _read_quoted(self, first: str) -> list[str] | RecordError:
        """Read a row that has quotes; it may span several lines."""
        if first.count('"') % 2 == 0 and len(first) <= MAX_CELL_CHARS:
            # Most rows end on their line; a generator per row would take twice as long.
            try:
                cells = next(csv.reader((first,), delimiter=self._delimiter, strict=True))
            except csv.Error:
                pass
            else:
                return self._check_cells(cells, 1, len(first))
        taken: list[str] = []

        def feed() -> Iterator[str]:
            for line in chain([first], iter(self._next_line, None)):
                taken.append(line)
                if len(taken) > MAX_CELL_LINES:
                    return
                yield line

        limit = csv.field_size_limit(8 * MAX_CELL_CHARS)
        try:
            cells = next(csv.reader(feed(), delimiter=self._delimiter, strict=True), [])
        except csv.Error as error:
            self._pushed_back.extendleft(reversed(taken[1:]))
            return self._read_escaped(first) or RecordError(
                RejectReason.BROKEN_ROW, f"damaged quotes ({error}); {_ADVICE}"
            )
        finally:
            csv.field_size_limit(limit)
        row = self._check_cells(cells, len(taken), sum(map(len, taken)))
        if len(taken) > 1 and (len(cells) != self._n_cells or self._contains_rows(taken)):
            self._pushed_back.extendleft(reversed(taken[1:]))
            return RecordError(RejectReason.BROKEN_ROW, f"a quote is not closed; {_ADVICE}")
        return row

    def _read_escaped(self, line: str) -> list[str] | None:
        """Read a line whose quotes are escaped by backslashes instead of doubled."""
        if '\\"' not in line:
            return None
        try:
            rows = list(csv.reader([line], delimiter=self._delimiter, escapechar="\\", strict=True))
        except csv.Error:
            return None
        return rows[0] if len(rows) == 1 and len(rows[0]) == self._n_cells else None

    def _contains_rows(self, taken: list[str]) -> bool:
        """Tell whether a cell seems to have swallowed rows: all of its inner lines have n cells."""
        inner = taken[1:-1]
        n_delimiters = (self._n_cells or 0) - 1
        return (
            len(inner) > 2
            and n_delimiters > 1
            and all(line.count(self._delimiter) == n_delimiters for line in inner)
        )


def _with_lines(detail: str, n_lines: int) -> str:
    return detail if n_lines == 1 else f"{detail}; the row spans {n_lines} lines"
