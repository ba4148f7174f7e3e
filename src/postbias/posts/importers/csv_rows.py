"""Read the rows of a CSV file so that a damaged quote costs one row, not the rest of the file."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import chain, islice

from postbias.posts.importers.id_shape import IdShape
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

#: A quoted cell that is longer, or spans more lines, was never closed.
MAX_CELL_CHARS, MAX_CELL_LINES = 131_072, 2_000

# Rows that are read at once if none is damaged.
_BATCH_LINES = 256

_ADVICE = "close every quote and double quotes inside cells"
_ESCAPED = re.compile(r'\\(["\\])')


class CsvRows:
    """Iterate over the rows of a CSV file; resynchronise at the next line after a damaged row.

    Attributes:
        id_cell: Position of the post id, once the header is known.
        n_lines: Lines of the rows yielded so far, without blank lines.
        n_row_like: Lines inside cells that look like rows.
        n_joined: Rows whose cells were joined because a cell has an unquoted delimiter.
    """

    def __init__(
        self, lines: Iterator[str], delimiter: str, *, skip_initial_space: bool = False
    ) -> None:
        """Start at the first line.

        Args:
            lines: The lines with their line ends.
            delimiter: The character between cells.
            skip_initial_space: Whether spaces after a delimiter do not belong to the cell.
        """
        self.id_cell: int | None = None
        self.n_lines = self.n_row_like = self.n_joined = 0
        self._lines = lines
        self._delimiter = delimiter
        self._skips_space = skip_initial_space
        self._pushed_back: deque[str] = deque()
        self._n_cells: int | None = None
        self._ids = IdShape()

    def __iter__(self) -> Iterator[list[str] | RecordError]:
        """Yield the cells of each row, or why it could not be read; blank lines are skipped.

        All rows must have as many cells as the first. Rows after the first are read in batches: an
        iteration that is given up after it can be continued by another one, a later one cannot.
        """
        while True:
            while self._n_cells is not None and (rows := self._read_batch()):
                yield from rows
            if (line := self._next_line()) is None:
                return
            if '"' in line:
                row = self._read_quoted(line)
            elif line.strip("\r\n"):
                row = self._check_cells(self._split(line), [line])
            else:
                continue
            if isinstance(row, RecordError):
                self.n_lines += row.n_lines
            elif self.id_cell is not None and row[self.id_cell].strip():
                self._ids.add(row[self.id_cell].strip())
            yield row

    def _read_batch(self) -> list[list[str]]:
        """Read rows up to the first that needs a closer look, of which lines are put back.

        One parser for many rows is over ten times as fast as one for each.
        """
        lines = [*self._pushed_back, *islice(self._lines, _BATCH_LINES)]
        self._pushed_back.clear()
        has_escapes = '\\"' in "".join(lines)
        reader = csv.reader(
            lines, delimiter=self._delimiter, strict=True, skipinitialspace=self._skips_space
        )
        rows: list[list[str]] = []
        start = n_learnt = 0
        with suppress(csv.Error):
            for cells in reader:
                end = reader.line_num
                if len(cells) != self._n_cells and (cells or end > start + 1):
                    break
                if has_escapes and '\\"' in lines[start]:
                    break
                if end > start + 1:
                    self._learn_ids(rows[n_learnt:])
                    n_learnt = len(rows)
                    taken = lines[start:end]
                    if self._contains_rows(taken):
                        break
                    self._count_row_like(taken)
                if cells:
                    rows.append(cells)
                    self.n_lines += end - start
                start = end
        self._learn_ids(rows[n_learnt:])
        self._pushed_back.extend(lines[start:])
        return rows

    def _learn_ids(self, rows: list[list[str]]) -> None:
        if (place := self.id_cell) is not None:
            self._ids.add_all([post_id for row in rows if (post_id := row[place].strip())])

    def _count_row_like(self, taken: list[str]) -> None:
        if len(taken) > 2 and self._ids.is_known:
            self.n_row_like += sum(map(self._looks_like_row, taken[1:-1]))

    def expect_cells(self, n_cells: int) -> None:
        """Expect another number of cells than the header has."""
        self._n_cells = n_cells

    def _next_line(self) -> str | None:
        if self._pushed_back:
            return self._pushed_back.popleft()
        return next(self._lines, None)

    def _split(self, line: str) -> list[str]:
        cells = line.rstrip("\r\n").split(self._delimiter)
        return [cell.lstrip(" ") for cell in cells] if self._skips_space else cells

    def _parse(self, lines: Iterator[str]) -> list[str]:
        rows = csv.reader(
            lines, delimiter=self._delimiter, strict=True, skipinitialspace=self._skips_space
        )
        return next(rows, [])

    def _check_cells(self, cells: list[str], taken: list[str]) -> list[str] | RecordError:
        if self._n_cells is None:
            self._n_cells = len(cells)
        if len(cells) > self._n_cells and (joined := self._join(cells, taken)):
            self.n_joined += 1
            cells = joined
        if len(cells) != self._n_cells:
            detail = f"{len(cells)} cells, the header has {self._n_cells}"
            if len(cells) > self._n_cells:
                detail += f"; put cells that contain {self._delimiter!r} in quotes"
            return _broken(detail, len(taken))
        n_chars = sum(map(len, taken))
        if n_chars > MAX_CELL_CHARS and max(map(len, cells)) > MAX_CELL_CHARS:
            return _broken(f"a cell is longer than {MAX_CELL_CHARS} characters", len(taken))
        self.n_lines += len(taken)
        return cells

    def _join(self, cells: list[str], taken: list[str]) -> list[str] | None:
        """Join the parts of cells that contain the delimiter and were not quoted.

        In a sentence a space follows the comma, between cells it does not: a part that starts with
        a space belongs to the cell before it, if this gives exactly the number of cells.
        """
        if self._skips_space or any('"' in line for line in taken):
            return None
        joined = cells[:1]
        for cell in cells[1:]:
            if cell.startswith(" "):
                joined[-1] += self._delimiter + cell
            else:
                joined.append(cell)
        return joined if len(joined) == self._n_cells else None

    def _read_quoted(self, first: str) -> list[str] | RecordError:
        """Read a row that has quotes; it may span several lines."""
        row: list[str] | RecordError | None = None
        if first.count('"') % 2 == 0 and len(first) <= MAX_CELL_CHARS:
            # Most rows end on their line; a generator per row would take twice as long.
            row = self._read_one_line(first)
            if isinstance(row, list):
                return row
        if '\\"' in first and (cells := self._read_escaped_line(first)):
            self.n_lines += 1
            return cells
        if row is not None:
            return row
        row, error = self._read_lines(first, is_escaped=False)
        if row is None:
            row, _ = self._read_lines(first, is_escaped=True)
        return row or _broken(f"{error}; {_ADVICE}")

    def _read_one_line(self, line: str) -> list[str] | RecordError | None:
        try:
            cells = self._parse(iter((line,)))
        except csv.Error:
            return None
        return self._check_cells(cells, [line])

    def _read_escaped_line(self, line: str) -> list[str] | None:
        """Read a line whose quotes are escaped by backslashes instead of doubled."""
        try:
            cells = self._parse(iter((_unescape(line),)))
        except csv.Error:
            return None
        return cells if len(cells) == self._n_cells else None

    def _read_lines(
        self, first: str, *, is_escaped: bool
    ) -> tuple[list[str] | RecordError | None, str]:
        """Read a row that may span lines; put the lines back and say why if there is none."""
        taken: list[str] = []

        def feed() -> Iterator[str]:
            for line in chain([first], iter(self._next_line, None)):
                taken.append(line)
                if len(taken) > MAX_CELL_LINES:
                    return
                yield _unescape(line) if is_escaped else line

        limit = csv.field_size_limit(8 * MAX_CELL_CHARS)
        cells, error = None, "a quote is not closed"
        try:
            cells = self._parse(feed())
        except csv.Error as csv_error:
            if "unexpected end" not in str(csv_error):
                error = f"damaged quotes ({csv_error})"
        finally:
            csv.field_size_limit(limit)
        has_cells = cells is not None and (self._n_cells in {None, len(cells)} or len(taken) == 1)
        if cells is not None and has_cells and not self._contains_rows(taken):
            self._count_row_like(taken)
            return self._check_cells(cells, taken), error
        self._pushed_back.extendleft(reversed(taken[1:]))
        return None, error

    def _looks_like_row(self, line: str) -> bool:
        cells = self._split(line)
        if len(cells) != self._n_cells:
            return False
        return self.id_cell is None or self._ids.matches(cells[self.id_cell].strip('" \r\n'))

    def _contains_rows(self, taken: list[str]) -> bool:
        """Tell whether a cell seems to have swallowed rows: all of its inner lines look like them.

        With two columns, many sentences have as many cells as a row: only ids can tell.
        """
        inner = taken[1:-1]
        if self._n_cells is None or self._n_cells < 2 or not inner:
            return False
        has_ids = self.id_cell is not None and self._ids.is_known
        if self._n_cells == 2 and not has_ids:
            return False
        if len(inner) < 3 and not (has_ids and self._ids.is_distinctive):
            return False
        return all(map(self._looks_like_row, inner))


def _unescape(line: str) -> str:
    """Double the quotes that are escaped by backslashes; unescape backslashes."""
    return _ESCAPED.sub(lambda match: '""' if match[1] == '"' else "\\", line)


def _broken(detail: str, n_lines: int = 1) -> RecordError:
    if n_lines > 1:
        detail = f"{detail}; the row spans {n_lines} lines"
    return RecordError(RejectReason.BROKEN_ROW, detail, n_lines)
