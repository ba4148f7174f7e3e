"""Read the text of subtitles in the formats SubRip (`.srt`) and WebVTT (`.vtt`)."""

from __future__ import annotations

import html
import re
from pathlib import Path

from postbias.posts.importers.export_files import is_inside, read_text
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.reasons import RejectReason

SUBTITLE_SUFFIXES = (".vtt", ".srt")

#: Subtitles of ten hours of speech take 1 MiB.
MAX_SUBTITLE_BYTES = 8 * 2**20

# 00:01:02,500 --> 00:01:04,000; WebVTT has a point, may omit the hours, and adds settings.
_TIMING = re.compile(r"\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}\s*-->\s*(?:\d+:)?\d{1,2}:\d{2}[.,]\d")
# Tags of WebVTT and HTML, and positions of SubRip such as {\an8}.
_TAG = re.compile(r"</?[A-Za-z\d][^<>\n]{0,200}>|\{\\[^{}\n]{0,200}\}")


def read_subtitles(root: Path, name: str) -> str:
    """Read the text of a subtitle file.

    Args:
        root: The folder of the export.
        name: Path of the file, relative to `root`.

    Returns:
        The text; "" if it has no cue.

    Raises:
        RecordError: If the file is missing, too large, leads out of `root`, or cannot be decoded.
    """
    path = root / name
    try:
        if not is_inside(str(path), str(root)):
            raise RecordError(RejectReason.OUTSIDE_FOLDER, f"{name}: a link out of the folder")
        if path.stat().st_size > MAX_SUBTITLE_BYTES:
            raise RecordError(RejectReason.TOO_LARGE, f"{name}: over {MAX_SUBTITLE_BYTES} bytes")
    except (OSError, ValueError) as error:
        raise RecordError(RejectReason.BROKEN_FILE, f"{name}: {error}"[:200]) from error
    return parse_subtitles(repair_text(read_text(str(path))))


def parse_subtitles(text: str) -> str:
    """Extract what is said, without numbers, times, styles and tags.

    Automatic subtitles scroll: each cue repeats lines of the last one. Such lines are kept once.

    Args:
        text: Content of a file.

    Returns:
        The text of all cues in one line; "" if there is no cue.
    """
    spoken: list[str] = []
    for lines in _list_cues(text):
        n_repeated = next(
            (n for n in range(min(len(lines), len(spoken)), 0, -1) if spoken[-n:] == lines[:n]), 0
        )
        spoken += lines[n_repeated:]
    return " ".join(spoken)


def _list_cues(text: str) -> list[list[str]]:
    """List the lines of text of each cue."""
    cues: list[list[str]] = []
    is_inside = False
    for line in text.splitlines():
        if _TIMING.match(line):
            if is_inside and cues[-1] and cues[-1][-1].isdecimal():
                cues[-1].pop()  # the number of this cue: the blank line before it is missing
            cues.append([])
            is_inside = True
        elif not line.strip():
            is_inside = False
        elif is_inside and (words := html.unescape(_TAG.sub("", line)).split()):
            cues[-1].append(" ".join(words))
    return cues
