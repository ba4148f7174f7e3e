"""Read the rows of a CSV file so that a damaged quote costs one row, not the rest of the file."""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator
from itertools import chain

from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

#: A quoted cell that is longer, or spans more lines, was never closed.
MAX_CELL_CHARS, MAX_CELL_LINES = 131_072, 2_000

_ADVICE = "close every quote and double quotes inside cells"
_ESCAPED = re.compile(r'\\(["\\])')


class IdShape:
    """The form of the ids seen so far, to recognise rows inside a cell that was not closed."""

    # With fewer ids, their form is unknown; longer ids are hardly ever words of a caption.
    _MIN_IDS, _LONG = 5, 5

    def __init__(self) -> None:
        """Start without ids."""
        self._n_ids = 0
        self._kinds: set[str] = set()
        self._min_length, self._max_length = 10**9, 0
        self._has_digits = True

    @property
    def is_known(self) -> bool:
        """Whether enough ids were seen."""
        return self._n_ids >= self._MIN_IDS

    @property
    def is_distinctive(self) -> bool:
        """Whether text is unlikely to have this form by chance."""
        return self.is_known and self._has_digits and self._min_length >= self._LONG

    def add(self, post_id: str) -> None:
        """Learn from an id."""
        self._n_ids += 1
        if self._n_ids <= 1_000:
            self._kinds |= _kinds(post_id)
            self._has_digits &= any(map(str.isdecimal, post_id))
        self._min_length = min(self._min_length, len(post_id))
        self._max_length = max(self._max_length, len(post_id))

    def matches(self, text: str) -> bool:
        """Tell whether a text looks like an id; True while the form is unknown."""
        if not self.is_known:
            return True
        return (
            self._min_length <= len(text) <= self._max_length + 1
            and _kinds(text) <= self._kinds
            and (not self._has_digits or any(map(str.isdecimal, text)))
        )


def _kinds(text: str) -> set[str]:
    return {"0" if c.isdecimal() else "a" if c.isalpha() else c for c in text}


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

        All rows must have as many cells as the first.
        """
        while (line := self._next_line()) is not None:
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
            if self._ids.is_known:
                self.n_row_like += sum(map(self._looks_like_row, taken[1:-1]))
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
