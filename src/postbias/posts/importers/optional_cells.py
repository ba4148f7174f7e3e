"""Parse the cells that a post can do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from postbias.posts.importers.records import RecordError

T = TypeVar("T")


class OptionalCells:
    """Parses the cells that a post can do without: an invalid one is left empty and counted.

    Attributes:
        emptied: The fields whose cells were invalid.
    """

    def __init__(self, read: Callable[[str], object]) -> None:
        """Start without invalid cells.

        Args:
            read: Returns the cell of a field; raises `RecordError` if it could not be read.
        """
        self._read = read
        self.emptied: list[str] = []

    def parse(self, field: str, parse: Callable[..., T], *arguments: object) -> T | None:
        """Parse the cell of a field, with further arguments of the parser; None if it is None."""
        try:
            value = self._read(field)
            return None if value is None else parse(value, *arguments)
        except RecordError:
            self.emptied.append(field)
            return None
