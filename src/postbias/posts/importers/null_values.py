"""Words that stand for empty cells, as data-frame tools write them."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from postbias.posts.importers.records import TextReading
from postbias.posts.importers.table_rows import Row

# A caption that is one of these is probably none.
_SUSPECTS = frozenset({"nan", "none", "null", "na", "n/a", "<na>", "nat"})
# If so many captions are, a remark names the option.
_MIN_SHARE, _MIN_ROWS = 0.01, 5


class NullValues:
    """Empties the cells that are given words, or counts captions that look like such words."""

    def __init__(self, words: tuple[str, ...]) -> None:
        """Remember the words; they match exactly, without the spaces around them."""
        self._words = frozenset(words)

    def apply(self, rows: Iterator[Row], reading: TextReading) -> Iterator[Row]:
        """Empty the cells of rows; note at the end which captions look empty.

        Args:
            rows: The rows of the table.
            reading: Receives the remark.

        Yields:
            The rows.
        """
        suspects: Counter[str] = Counter()
        n_rows = 0
        for row in rows:
            if not isinstance(row, Mapping):
                yield row
                continue
            cells = (
                {field: self._empty(cell) for field, cell in row.items()} if self._words else row
            )
            n_rows += 1
            caption = cells.get("caption")
            if isinstance(caption, str) and len(caption) < 8:
                word = caption.strip()
                if word.lower() in _SUSPECTS:
                    suspects[word] += 1
            yield cells
        if suspects.total() >= _MIN_ROWS and suspects.total() > _MIN_SHARE * n_rows:
            words = sorted(suspects)
            options = " ".join(f"--null-values {shlex.quote(word)}" for word in words)
            note = (
                f"{suspects.total()} captions are {' or '.join(map(repr, words))}: if these stand "
                f"for missing captions, add {options}"
            )
            if note not in reading.notes:
                reading.notes.append(note)

    def _empty(self, cell: Any) -> Any:  # noqa: ANN401 - a cell
        return None if isinstance(cell, str) and cell.strip() in self._words else cell
