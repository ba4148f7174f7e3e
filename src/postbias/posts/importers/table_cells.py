"""Parse the cells of a table: text, flags, counts and times."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, TypeGuard

from postbias.errors import InputError
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.text_repair import decode_text, repair_text
from postbias.posts.reasons import RejectReason

#: Times outside of these years are damaged or in another unit.
VALID_YEARS = range(2005, 2101)

_VALID_TIMES_S = tuple(
    datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (VALID_YEARS.start, VALID_YEARS.stop)
)
_EPOCH_UTC = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH = _EPOCH_UTC.replace(tzinfo=None)  # of times without an offset, which are UTC
_SECONDS_DIGITS = 10
# Spreadsheets count days from here; the serial numbers of the valid years are 38,353 to 73,415.
_SPREADSHEET_EPOCH = datetime(1899, 12, 30, tzinfo=UTC)
_COMPACT_TIMES = {8: "%Y%m%d", 14: "%Y%m%d%H%M%S"}
_WORDED_TIMES = (
    "%a %b %d %H:%M:%S %z %Y",  # Twitter
    *(f"{day}{clock}" for day in ("%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y")
      for clock in ("", " %H:%M", " %H:%M:%S")),
)  # fmt: skip
_NUMERIC_DATE = re.compile(
    r"(?P<first>\d{1,2})(?P<mark>[./-])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4})"
    r"(?:,? +(?P<clock>\d{1,2}:\d{2}(?::\d{2})?))?"
)

# Integers up to here are exact in a float.
_MAX_EXACT_FLOAT = 2**53
_MAX_EXACT_DIGITS = 15
_ROUNDED_ID = re.compile(r"\d([.,]\d+)?[eE]\+?\d+|\d{17,}\.0+")
_FLOAT_ID = re.compile(r"(\d+)\.0")

_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
# As pandas writes a column with gaps.
_FLOAT_FLAGS = {"1.0": True, "0.0": False}
_EMPTY = frozenset({"", "nan", "none", "null", "<na>", "nat"})


def _is_digits(value: object) -> TypeGuard[str]:
    """Tell whether a cell has ASCII digits alone, which need neither repair nor further checks."""
    return isinstance(value, str) and value.isdecimal() and value.isascii()


def is_empty(value: object) -> bool:
    """Tell whether a cell is empty, or a word that stands for an empty cell."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return True
    return isinstance(value, str) and value.strip().lower() in _EMPTY


def parse_text(value: object, column: str) -> str:
    """Parse and repair a text; a number is an id or name that was read as a number.

    Args:
        column: Name of the column, for the error message.

    Returns:
        The text; "" if the cell is empty.

    Raises:
        RecordError: If the cell is neither text nor a number.
    """
    if isinstance(value, str):
        return repair_text(value)
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        return repair_text(decode_text(value))
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RecordError(
            RejectReason.BROKEN_ROW, f"{column} is no text but {type(value).__name__}"
        )
    return str(value)


def parse_id(value: object) -> str:
    """Parse the id of a post.

    Returns:
        The id; "" if the cell is empty.

    Raises:
        RecordError: If the cell is neither text nor a number.
        InputError: If the id was rounded, which makes different ids equal.
    """
    if _is_digits(value):
        return value
    is_rounded = (
        math.isfinite(value) and abs(value) > _MAX_EXACT_FLOAT
        if isinstance(value, float)
        else isinstance(value, str) and _ROUNDED_ID.fullmatch(value.strip()) is not None
    )
    if is_rounded:
        raise InputError(
            "the post ids are rounded numbers: different ids can have become equal",
            seen=str(value),
            do="export the ids again as text: format the column as text before opening or saving "
            "the file in a spreadsheet; in pandas read them with dtype=str",
        )
    text = parse_text(value, "post_id").strip()
    # The same id whether pandas wrote it from a column with or without gaps.
    return match[1] if (match := _FLOAT_ID.fullmatch(text)) else text


def parse_flag(value: object) -> bool | None:
    """Parse whether a post is sponsored.

    Returns:
        The flag; None if the cell is empty.

    Raises:
        RecordError: If the cell is neither yes nor no.
    """
    if is_empty(value):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().lower()
    flag = _FLAGS.get(text, _FLOAT_FLAGS.get(text))
    if flag is None:
        raise RecordError(
            RejectReason.BROKEN_ROW,
            f"sponsored is {str(value)[:40]!r}, allowed: {', '.join(_FLAGS)}",
        )
    return flag


def parse_count(value: object, column: str) -> int | None:
    """Parse a number of likes or comments.

    Args:
        column: Name of the column, for the error message.

    Returns:
        The number; None if the cell is empty.

    Raises:
        RecordError: If the cell is not a whole number of at least 0.
    """
    if type(value) is int and 0 <= value < _MAX_EXACT_FLOAT:
        return value
    if _is_digits(value) and len(value) <= _MAX_EXACT_DIGITS:
        return int(value)
    if is_empty(value):
        return None
    try:
        # Python also reads 1_000 as a number.
        number = -1.0 if "_" in (text := str(value)) else float(text)
    except ValueError:
        number = -1.0
    if not (number.is_integer() and 0 <= number < 2**53):
        raise RecordError(
            RejectReason.BROKEN_ROW, f"{column} is {str(value)[:40]!r}, no whole number"
        )
    return int(number)


def parse_time_us(value: object) -> int | None:
    """Parse the time of publication.

    Args:
        value: A time, a date, ISO 8601 text, `20240301`, `31.12.2023`, `12/31/2023`, `March 5,
            2024`, seconds (milli-, micro-, nanoseconds) since 1970, or the serial number of a
            spreadsheet.

    Returns:
        Microseconds since 1970 (UTC); None if the cell is empty.

    Raises:
        RecordError: If the cell is none of these, or outside `VALID_YEARS`.
    """
    if isinstance(value, str) and value[4:5] == "-":
        # By far the most frequent form of text.
        with suppress(ValueError):
            time_us = _to_us(datetime.fromisoformat(value))
            if _is_valid(time_us / 1_000_000):
                return time_us
    if (seconds := _read_seconds(value)) is not None:
        return seconds * 1_000_000
    if type(value) is int and not value % 1_000_000 and _read_seconds(value // 1_000_000):
        return value
    if is_empty(value):
        return None
    try:
        time_us = _to_us(_parse_datetime(value))
        if not _is_valid(time_us / 1_000_000):
            raise ValueError("outside the valid years")
    except (ValueError, OverflowError, OSError, TypeError) as error:
        raise RecordError(
            RejectReason.BROKEN_ROW,
            f"posted_at is {str(value)[:40]!r}, allowed: ISO 8601 or seconds since 1970, "
            f"in the years {VALID_YEARS.start} to {VALID_YEARS.stop - 1}",
        ) from error
    return time_us


def _is_valid(time_s: float) -> bool:
    return _VALID_TIMES_S[0] <= time_s < _VALID_TIMES_S[1]


def _to_us(moment: datetime) -> int:
    since_1970 = moment - (_EPOCH if moment.tzinfo is None else _EPOCH_UTC)
    seconds = since_1970.days * 86_400 + since_1970.seconds
    return seconds * 1_000_000 + since_1970.microseconds


def _read_seconds(value: object) -> int | None:
    """Return whole seconds since 1970 in the valid years, as most interfaces write times."""
    if isinstance(value, str):
        # All valid seconds have ten digits.
        if len(value) != _SECONDS_DIGITS or not _is_digits(value):
            return None
        value = int(value)
    if type(value) is int and _is_valid(value):
        return value
    return None


def _parse_datetime(value: Any) -> datetime:  # noqa: ANN401 - a cell
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    text = str(value).strip()
    if text[4:5] == "-":
        with suppress(ValueError):
            return datetime.fromisoformat(text)
    try:
        number = float(text.replace("_", "-"))
    except ValueError:
        if text.endswith((" UTC", " GMT")):
            text = f"{text[:-4]}+00:00"
        if match := _NUMERIC_DATE.fullmatch(text):
            return _parse_numeric_date(match)
        with suppress(ValueError):
            return datetime.fromisoformat(text)
        for form in _WORDED_TIMES if any(map(str.isalpha, text)) else ():
            with suppress(ValueError):
                return datetime.strptime(text, form)
        raise
    return _parse_numeric_time(number, text)


def _parse_numeric_date(match: re.Match[str]) -> datetime:
    """Read day, month and year, if their order is certain.

    Dates with dots start with the day in all countries that write them. With slashes or hyphens,
    only a number above 12 says which is the day.
    """
    first, second, year = (int(match[name]) for name in ("first", "second", "year"))
    if match["mark"] != "." and max(first, second) <= 12 and first != second:
        raise ValueError("day or month first")
    month_first = match["mark"] != "." and second > 12
    day, month = (second, first) if month_first else (first, second)
    clock = match["clock"] or "00:00"
    clock = f"0{clock}" if clock[1] == ":" else clock
    return datetime.combine(date(year, month, day), time.fromisoformat(clock))


def _parse_numeric_time(number: float, text: str) -> datetime:
    """Read a number as the only unit that puts it into the valid years."""
    # pandas writes whole numbers in a column with gaps as 20240301.0.
    digits = text.removesuffix(".0")
    if len(digits) in _COMPACT_TIMES and digits.isdecimal():
        return datetime.strptime(digits, _COMPACT_TIMES[len(digits)]).replace(tzinfo=UTC)
    for unit_s in (1.0, 1e-3, 1e-6, 1e-9):
        if _is_valid(number * unit_s):
            return datetime.fromtimestamp(number * unit_s, UTC)
    return _SPREADSHEET_EPOCH + timedelta(days=number)
