"""Repair of damaged text: byte order marks, UTF-16, mojibake, lone surrogates, NUL, CRLF.

What is sound stays as it is: no quotes are straightened and no letters normalised.
"""

from __future__ import annotations

import codecs
import json
import re

import ftfy
from ftfy.badness import is_bad

from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

# UTF-8 read as Windows-1252: a lead byte, then a continuation byte, as letters. ftfy's own test
# takes longer than all else that is done to a post, so it is asked only where this finds something.
_LEADS = bytes(range(0xC2, 0xF5)).decode("sloppy-windows-1252")
_CONTINUATIONS = bytes(range(0x80, 0xC0)).decode("sloppy-windows-1252") + " "
_MOJIBAKE = re.compile(f"[{re.escape(_LEADS)}][{re.escape(_CONTINUATIONS)}]")


def detect_encoding(head: bytes) -> str:
    """Tell the encoding from the first bytes of a file.

    Args:
        head: At least four bytes, if the file has them.

    Returns:
        A codec that drops the byte order mark.
    """
    for mark, codec in _MARKS:
        if head.startswith(mark):
            return codec
    # RFC 4627: where the zero bytes are tells UTF-16 and UTF-32 apart, for any ASCII beginning.
    return json.detect_encoding(head) if b"\0" in head[:4] else "utf-8"


def decode_text(data: bytes) -> str:
    """Decode a file or a line of unknown encoding.

    Args:
        data: The bytes.

    Returns:
        The text; single-byte and mixed encodings are repaired where they can be.

    Raises:
        FaultError: If no encoding makes sense of it.
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
    """Repair one decoded text.

    Args:
        text: A caption or name, as it came out of JSON, CSV or a text file.

    Returns:
        The same text without NUL, lone surrogates, mojibake and carriage returns; it can always be
        encoded.
    """
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            # Joins the halves of a pair; a half alone becomes U+FFFD.
            text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        if _MOJIBAKE.search(text) and is_bad(text):
            text = ftfy.fix_encoding(text)
    if "\0" in text:
        text = text.replace("\0", "")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def decode_escaped(line: str) -> str:
    """Repair a line that was read with `errors="surrogateescape"`.

    Args:
        line: The line; its undecodable bytes are lone surrogates.

    Returns:
        The line, decoded anew if it had any.

    Raises:
        FaultError: If no encoding makes sense of it.
    """
    try:
        line.encode()
    except UnicodeEncodeError:
        return decode_text(line.encode("utf-8", "surrogateescape"))
    return line
