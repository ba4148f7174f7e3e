"""Cells of a foreign table: text, flags, counts, moments and lists of images.

Knows no files. A cell that cannot mean what its column says is a fault of its row.
"""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime
from typing import Any

from postbias.posts.importers.records import RecordError, ImageFile
from postbias.posts.importers.text_repair import repair_text, decode_escaped
from postbias.posts.reasons import RejectReason

_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_EMPTY = frozenset({"", "nan", "none", "null", "<na>", "nat"})


def _is_empty(value: object) -> bool:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in _EMPTY


def parse_text(value: object, column: str) -> str:
    """Read a text; numbers are ids or names that were read as such.

    Args:
        value: The cell.
        column: The column's name.

    Returns:
        The text, repaired; "" if the cell is empty.

    Raises:
        FaultError: If it is no text.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str):
        return repair_text(decode_escaped(value))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError(RejectReason.BROKEN_ROW, f"{column} is no text but {type(value).__name__}")
    return str(value)


def parse_flag(value: object) -> bool | None:
    """Read whether a post is sponsored.

    Args:
        value: The cell.

    Returns:
        The flag; None if the cell is empty.

    Raises:
        FaultError: If it is neither yes nor no.
    """
    if _is_empty(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    read = _FLAGS.get(str(value).strip().lower())
    if read is None:
        raise RecordError(
            RejectReason.BROKEN_ROW,
            f"sponsored is {str(value)[:40]!r}, allowed: {', '.join(_FLAGS)}",
        )
    return read


def parse_count(value: object, column: str) -> int | None:
    """Read a number of likes or comments.

    Args:
        value: The cell.
        column: The column's name.

    Returns:
        The number; None if the cell is empty.

    Raises:
        FaultError: If it is no whole number from 0 on.
    """
    if _is_empty(value):
        return None
    try:
        number = float(str(value))
    except ValueError:
        number = -1.0
    if not (number.is_integer() and 0 <= number < 2**53):
        raise RecordError(
            RejectReason.BROKEN_ROW, f"{column} is {str(value)[:40]!r}, no whole number"
        )
    return int(number)


def parse_time_us(value: object) -> int | None:
    """Read when a post was published.

    Args:
        value: A time, a date, ISO 8601 text or seconds since 1970.

    Returns:
        Microseconds since 1970 (UTC); None if the cell is empty.

    Raises:
        FaultError: If it is no moment.
    """
    if _is_empty(value):
        return None
    try:
        moment = _moment(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError, OSError, TypeError) as error:
        raise RecordError(
            RejectReason.BROKEN_ROW,
            f"posted_at is {str(value)[:40]!r}, allowed: ISO 8601 or seconds since 1970",
        ) from error
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _moment(value: Any) -> datetime:  # noqa: ANN401 - a cell
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    written = str(value).strip()
    try:
        seconds = float(written)
    except ValueError:
        return datetime.fromisoformat(written)
    return datetime.fromtimestamp(seconds, UTC)


def parse_images(value: Any) -> list[str | ImageFile]:  # noqa: ANN401 - a cell
    """Read the images of a row.

    Args:
        value: A path, several separated by `;` or `|`, a JSON list of paths, a list, or Hugging
            Face `Image` values (`bytes`, `path`).

    Returns:
        Paths, and pictures whose bytes are in the table.

    Raises:
        FaultError: If it is none of these.
    """
    if _is_empty(value):
        return []
    if isinstance(value, str):
        value = _split(decode_escaped(value).strip())
    if isinstance(value, dict | bytes):
        value = [value]
    if not isinstance(value, list):
        raise RecordError(RejectReason.BROKEN_ROW, f"images are no list but {type(value).__name__}")
    return [_picture_cell(one) for one in value if not _is_empty(one)]


def _split(written: str) -> list[Any]:
    if written.startswith("["):
        try:
            # Also the way Python writes a list of plain names.
            return json.loads(written if '"' in written else written.replace("'", '"'))  # type: ignore[no-any-return]
        except (ValueError, RecursionError) as error:
            raise RecordError(
                RejectReason.BROKEN_ROW, f"images are no list: {written[:80]!r}"
            ) from error
    return [part.strip() for part in written.replace("|", ";").split(";")]


def _picture_cell(value: object) -> str | ImageFile:
    if isinstance(value, str):
        return repair_text(value)
    data = value.get("bytes") if isinstance(value, dict) else value
    path = value.get("path") if isinstance(value, dict) else None
    if isinstance(data, bytes) and data:
        return ImageFile(data, repair_text(path) if isinstance(path, str) else "")
    if isinstance(path, str) and path:
        return repair_text(path)
    raise RecordError(RejectReason.BROKEN_ROW, "an image has neither bytes nor a path")
