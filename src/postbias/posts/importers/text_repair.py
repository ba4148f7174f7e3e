"""Decode and repair text: byte order marks, UTF-16, mojibake, lone surrogates, NUL, CRLF.

Valid text is left unchanged: quotes are not straightened, letters are not normalised.
"""

from __future__ import annotations

import codecs
import json
import re

import ftfy
from ftfy.badness import is_bad

from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason
from postbias.posts.text_cleaning import clean_text

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

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
    """Detect the encoding of a file.

    Args:
        head: The first four bytes, or all bytes if the file has fewer.

    Returns:
        A codec that drops the byte order mark.
    """
    for mark, codec in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return codec
    # RFC 4627: the positions of zero bytes identify UTF-16 and UTF-32 if the file starts in ASCII.
    return json.detect_encoding(head) if b"\0" in head[:4] else "utf-8"


def decode_text(data: bytes) -> str:
    """Decode a file or a line of unknown encoding.

    Windows-1252 and mixtures of it with UTF-8 are repaired where possible.

    Args:
        data: The bytes, with or without a byte order mark.

    Returns:
        The text without the byte order mark.

    Raises:
        RecordError: If the bytes are valid in no known encoding.
    """
    try:
        return data.decode(detect_encoding(data))
    except UnicodeDecodeError as error:
        if detect_encoding(data) != "utf-8":
            raise RecordError(
                RejectReason.BAD_ENCODING, f"neither UTF-8 nor {error.encoding}"
            ) from error
        text = ftfy.fix_encoding(data.decode("sloppy-windows-1252"))
        if is_bad(text):
            raise RecordError(
                RejectReason.BAD_ENCODING, f"not UTF-8 at byte {error.start}, nor Windows-1252"
            ) from error
        return text


def repair_text(text: str) -> str:
    """Repair decoded text.

    Args:
        text: A caption or name from JSON, CSV or a text file.

    Returns:
        The text without NUL, lone surrogates, mojibake and carriage returns; valid in UTF-8.
    """
    text = clean_text(text)
    if not text.isascii():
        if _C1_CONTROL.search(text):
            text = _LATIN1_UTF8.sub(_decode_sequence, text)
        if _MOJIBAKE.search(text) and is_bad(text):
            text = ftfy.fix_encoding(text)
    return text


def _decode_sequence(match: re.Match[str]) -> str:
    try:
        return match[0].encode("latin-1").decode()
    except UnicodeDecodeError:  # an overlong form or a surrogate
        return match[0]


def decode_escaped(line: str) -> str:
    """Decode the invalid bytes of a line that was read with `errors="surrogateescape"`.

    Args:
        line: The line; each invalid byte is a lone surrogate.

    Returns:
        The decoded line; the same line if all bytes were valid.

    Raises:
        RecordError: If the bytes of the line are valid in no known encoding.
    """
    try:
        line.encode()
    except UnicodeEncodeError:
        try:
            return decode_text(line.encode("utf-8", "surrogateescape"))
        except UnicodeEncodeError:  # a surrogate that does not stand for a byte, from JSON
            return line
    return line
