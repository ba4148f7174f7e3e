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

    def __init__(self) -> None:
        """Start without invalid cells."""
        self.emptied: list[str] = []

    def parse(
        self, field: str, value: object, parse: Callable[..., T], *arguments: object
    ) -> T | None:
        """Parse the cell of a field.

        Args:
            field: Name of the field.
            value: Its cell; a `RecordError` if it could not be read.
            parse: Parses it.
            arguments: Further arguments of `parse`.

        Returns:
            What `parse` returns; None if the cell is None or invalid.
        """
        if value is None:
            return None
        try:
            if isinstance(value, RecordError):
                raise value
            return parse(value, *arguments)
        except RecordError:
            self.emptied.append(field)
            return None
