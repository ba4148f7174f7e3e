"""Parse durations of videos, as exports and tables state them."""

from __future__ import annotations

import re

from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_cells import is_empty
from postbias.posts.reasons import RejectReason

#: A longer video is damaged metadata; live videos may take days.
MAX_DURATION_S = 30 * 86_400
_ISO_DURATION = re.compile(
    r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_DURATION_UNITS_S = (7 * 86_400, 86_400, 3_600, 60, 1)
_CLOCK_DURATION = re.compile(r"(?:\d{1,3}:)?\d{1,3}:\d{2}(?:\.\d+)?")


def parse_duration_s(value: object) -> float | None:
    """Parse the duration of a video.

    Args:
        value: Seconds, `1:02:03`, or ISO 8601 without months (`PT1H2M3S`), as YouTube writes it.

    Returns:
        Seconds; None if the cell is empty or 0, as for a live video that has not ended.

    Raises:
        RecordError: If the cell is none of these, or over `MAX_DURATION_S`.
    """
    if is_empty(value):
        return None
    text = str(value).strip()
    try:
        if match := _ISO_DURATION.fullmatch(text):
            parts = [float(part or 0) for part in match.groups()]
            seconds = sum(n * unit for n, unit in zip(parts, _DURATION_UNITS_S, strict=True))
        elif _CLOCK_DURATION.fullmatch(text):
            parts = [float(part) for part in reversed(text.split(":"))]
            seconds = sum(n * 60**power for power, n in enumerate(parts))
        else:
            # Python also reads 1_000 as a number.
            seconds = -1.0 if "_" in text or isinstance(value, bool) else float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= MAX_DURATION_S:
        detail = f"duration_s is {text[:40]!r}, allowed: seconds, 1:02:03 or PT1H2M3S"
        raise RecordError(RejectReason.BROKEN_ROW, detail)
    return seconds or None


def to_seconds(milliseconds: object) -> object:
    """Convert a duration in milliseconds; what is no number stays as it is."""
    if isinstance(milliseconds, bool) or not isinstance(milliseconds, int | float):
        return milliseconds
    return milliseconds / 1000
