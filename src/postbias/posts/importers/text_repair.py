"""Decode and repair text: byte order marks, UTF-16, mojibake, lone surrogates, NUL, CRLF.

Valid text is left unchanged: quotes are not straightened, letters are not normalised.
"""

from __future__ import annotations

import codecs
import json
import re
from contextlib import suppress

import ftfy
from ftfy.badness import is_bad

from postbias.posts.importers.legacy_encodings import (
    MIN_CONFIDENCE,
    WINDOWS_1252,
    detect_legacy,
)
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason
from postbias.posts.text_cleaning import clean_text

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# Bytes that are looked at to tell UTF-16 from UTF-8, with at least this many pairs.
_HEAD_BYTES, _MIN_PAIRS = 4096, 8
_LEGACY_SAMPLE_BYTES = 2**17

# Bytes of UTF-8 without which a text has no C1 control character, or no letter from U+00C0 to
# U+00FF. Searching for a byte is 25 times as fast as the patterns below.
_C1_LEAD, _LATIN_LEAD = b"\xc2", b"\xc3"

# UTF-8 decoded as Windows-1252: a lead byte, then a continuation byte, as letters. ftfy's own test
# takes longer than all other work on a post, so it only runs on text that matches this.
_LEADS = bytes(range(0xC2, 0xF5)).decode("sloppy-windows-1252")
_CONTINUATIONS = bytes(range(0x80, 0xC0)).decode("sloppy-windows-1252") + " "
_MOJIBAKE = re.compile(f"[{re.escape(_LEADS)}][{re.escape(_CONTINUATIONS)}]")

# UTF-8 decoded as Latin-1, as in Instagram's own data downloads: continuation bytes become C1
# control characters, which no real text contains, and ftfy leaves some of these sequences as is.
_C1_CONTROL = re.compile("[\x80-\x9f]")
_LATIN1_UTF8 = re.compile(
    "[\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3}"
)


def detect_encoding(head: bytes) -> str:
    """Detect the Unicode encoding of a file.

    Args:
        head: The first bytes, at least four if the file has them; more tell UTF-16 from stray NULs.

    Returns:
        A codec that drops the byte order mark; `utf-8` if nothing indicates another one.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return codec
    even, odd = head[:_HEAD_BYTES:2].count(0), head[1:_HEAD_BYTES:2].count(0)
    n_pairs = min(len(head), _HEAD_BYTES) // 2
    if n_pairs >= _MIN_PAIRS:
        # In UTF-16, one byte of most common characters is zero, always the same of the two.
        if max(even, odd) >= 0.1 * n_pairs and min(even, odd) <= 0.02 * n_pairs:
            return "utf-16-le" if odd > even else "utf-16-be"
        return json.detect_encoding(head) if head[:4].count(0) > 1 else "utf-8"
    # RFC 4627: the positions of zero bytes identify UTF-16 and UTF-32 if the file starts in ASCII.
    return json.detect_encoding(head) if b"\0" in head[:4] else "utf-8"


def decode_text(data: bytes, encoding: str | None = None) -> str:
    """Decode a file or a line of unknown encoding.

    Windows-1252 and mixtures of it with UTF-8 are repaired where possible; other legacy encodings
    are decoded if the text is long enough to detect them.

    Args:
        data: The bytes, with or without a byte order mark.
        encoding: The encoding, if it is known.

    Returns:
        The text without the byte order mark.

    Raises:
        RecordError: If the bytes are not valid in the encoding, or in no known one.
    """
    return decode_named(data, encoding)[0]


def decode_named(data: bytes, encoding: str | None = None) -> tuple[str, str]:
    """Decode as `decode_text`; also return what the summary says of the encoding.

    Returns:
        The text, and its encoding; "" for UTF-8.

    Raises:
        RecordError: If the bytes are not valid in the encoding, or in no known one.
    """
    codec = encoding or detect_encoding(data)
    try:
        text = data.decode("utf-8-sig" if codec == "utf-8" else codec)
        return text, "" if codec.startswith("utf-8") else f"{codec}{' (given)' if encoding else ''}"
    except UnicodeError as error:
        if codec not in {"utf-8", "utf-8-sig"} or encoding is not None:
            detail = f"not valid in {codec}" if encoding else f"neither UTF-8 nor {codec}"
            raise RecordError(RejectReason.BAD_ENCODING, detail) from error
        return _decode_legacy(data, error)


def _decode_legacy(data: bytes, error: UnicodeError) -> tuple[str, str]:
    guess = detect_legacy(data[:_LEGACY_SAMPLE_BYTES])
    is_certain = guess.codec != WINDOWS_1252 and guess.confidence >= MIN_CONFIDENCE
    if is_certain and not _is_mostly_utf8(data):
        with suppress(UnicodeDecodeError):
            return data.decode(guess.codec), f"{guess.codec} (confidence {guess.confidence:.0%})"
    text: str = ftfy.fix_encoding(data.decode("sloppy-windows-1252"))
    if is_bad(text):
        at = getattr(error, "start", 0)
        raise RecordError(
            RejectReason.BAD_ENCODING,
            f"not UTF-8 at byte {at}, nor Windows-1252 (perhaps {guess.codec}); name the encoding: "
            "--encoding NAME",
        ) from error
    return text, WINDOWS_1252


def _is_mostly_utf8(data: bytes) -> bool:
    valid = data.decode("utf-8", "ignore").encode()
    return 2 * sum(byte > 127 for byte in valid) > sum(byte > 127 for byte in data)


def repair_text(text: str) -> str:
    """Repair decoded text.

    Args:
        text: A caption or name from JSON, CSV or a text file.

    Returns:
        The text without NUL, lone surrogates, mojibake and carriage returns; valid in UTF-8.
    """
    if text.isascii() and "\r" not in text and "\0" not in text:
        return text
    try:
        data = text.encode()
    except UnicodeEncodeError:
        data = b"\0"  # it has a surrogate
    # Searching for a byte is faster than for a character.
    if b"\0" in data or b"\r" in data:
        text = clean_text(text)
        data = text.encode()
    if _C1_LEAD in data and _C1_CONTROL.search(text):
        text = _LATIN1_UTF8.sub(_decode_sequence, text)
        data = text.encode()
    if _LATIN_LEAD in data and _MOJIBAKE.search(text) and is_bad(text):
        text = ftfy.fix_encoding(text)
    return text


def _decode_sequence(match: re.Match[str]) -> str:
    try:
        return match[0].encode("latin-1").decode()
    except UnicodeDecodeError:  # an overlong form or a surrogate
        return match[0]


def decode_latin1(text: str) -> str:
    """Decode text whose UTF-8 was decoded as Latin-1; other text stays as it is."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text
