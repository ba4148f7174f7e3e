"""Detect the legacy encoding of bytes that are not UTF-8, with a confidence."""

from __future__ import annotations

import codecs
import re
from itertools import pairwise
from typing import NamedTuple

from ftfy.badness import is_bad

from postbias.errors import InputError

#: A lower confidence is reported with a warning.
MIN_CONFIDENCE = 0.5

WINDOWS_1252 = "cp1252"

_WORDS = re.compile(rb"[A-Za-z\x80-\xff]+")
_C1_CONTROLS = re.compile("[\x80-\x9f]")

# In use for posts. More candidates (EBCDIC, rare DOS and Macintosh code pages) would make short
# texts ambiguous; any codec can be given.
_LATIN = (WINDOWS_1252, "cp1250", "cp1254", "cp1257", "cp1258", "iso8859-2", "iso8859-9",
          "iso8859-15", "mac-roman", "cp850", "cp852")  # fmt: skip
_OTHER_ALPHABETS = (
    *("cp1251", "cp1253", "cp1255", "cp1256", "cp874", "iso8859-5", "iso8859-7"),
    *("koi8-r", "koi8-u", "cp866", "mac-cyrillic"),
)
#: Encodings with more than one byte per letter, where a part of a letter can look like ASCII.
MULTIBYTE = ("cp932", "shift_jis_2004", "euc_jis_2004", "gb18030", "big5hkscs", "cp949")

# A sample is judged as a whole and in parts of this many letters beyond ASCII.
_PART_LETTERS, _MAX_PARTS = 40, 20
# Fewer letters cannot tell the Latin alphabets apart: then Windows-1252 is assumed.
_FEW_LETTERS = 12
# With this many letters beyond ASCII, the confidence is half of what it is with many.
_HALF_CONFIDENCE_LETTERS = 8


class LegacyGuess(NamedTuple):
    """The most probable encoding of some bytes.

    Attributes:
        codec: Name of Python's codec.
        confidence: Share of the parts of the text for which this encoding is the most probable,
            reduced if there are few letters beyond ASCII; 0 to 1.
    """

    codec: str
    confidence: float


def detect_legacy(sample: bytes) -> LegacyGuess:
    """Detect the encoding of bytes that are not valid UTF-8.

    Args:
        sample: Lines of the text; those in ASCII may be left out.

    Returns:
        The most probable encoding.
    """
    codec = _detect(sample)
    # A word that is repeated is evidence only once.
    n_letters = sum(byte > 127 for word in set(_WORDS.findall(sample)) for byte in word)
    if n_letters < _FEW_LETTERS and codec in _LATIN and _is_plain_latin(sample):
        codec = WINDOWS_1252
    parts = _split(sample, min(_MAX_PARTS, n_letters // _PART_LETTERS))
    n_agreeing = sum(_decodes_equally(part, codec, _detect(part)) for part in parts)
    evidence = n_letters / (n_letters + _HALF_CONFIDENCE_LETTERS)
    return LegacyGuess(codec, n_agreeing / len(parts) * evidence)


def _detect(sample: bytes) -> str:
    import chardet

    found = chardet.detect_all(
        sample,
        ignore_threshold=True,
        # A remapped ISO 8859-2 would become Windows-1250, which decodes other letters.
        prefer_superset=False,
        compat_names=False,
        include_encodings=(*_LATIN, *_OTHER_ALPHABETS, *MULTIBYTE),
        no_match_encoding=WINDOWS_1252,
    )
    for candidate in found:
        codec = str(candidate["encoding"] or WINDOWS_1252)
        if _has_controls(sample, codec):
            continue
        return WINDOWS_1252 if _decodes_equally(sample, codec, WINDOWS_1252) else codec
    return WINDOWS_1252


def _has_controls(sample: bytes, codec: str) -> bool:
    """Tell whether C1 control characters appear, which no text has, in ISO 8859 for other bytes."""
    return _C1_CONTROLS.search(sample.decode(codec, "replace")) is not None


def _is_plain_latin(sample: bytes) -> bool:
    return not is_bad(sample.decode("sloppy-windows-1252"))


def _split(sample: bytes, n_parts: int) -> list[bytes]:
    lines = sample.splitlines(keepends=True)
    n_parts = max(1, min(n_parts, len(lines)))
    edges = [len(lines) * number // n_parts for number in range(n_parts + 1)]
    return [b"".join(lines[start:stop]) for start, stop in pairwise(edges)]


def _decodes_equally(part: bytes, codec: str, other: str) -> bool:
    return part.decode(codec, "replace") == part.decode(other, "replace")


def check_codec(name: str) -> str:
    """Check the name of an encoding that was given by the user.

    Args:
        name: Any name or alias that Python knows, e.g. `windows-1251`.

    Returns:
        The name of Python's codec.

    Raises:
        InputError: If there is no such text encoding.
    """
    try:
        codec = codecs.lookup(name).name
        is_text = isinstance(codecs.decode(b"", codec), str)
    except (LookupError, UnicodeError, ValueError, TypeError):
        codec, is_text = name, False
    if not is_text or "escape" in codec or codec in {"idna", "punycode", "utf-7"}:
        raise InputError(
            "unknown encoding",
            seen=name,
            allowed="a name such as utf-8, utf-16, windows-1251, koi8-r, shift_jis, gb18030",
        )
    return codec
