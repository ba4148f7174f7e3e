"""Read the lines of a text file whose encoding is given, or detected for the whole file."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from postbias.posts.importers.legacy_encodings import (
    MIN_CONFIDENCE,
    MULTIBYTE,
    WINDOWS_1252,
    check_codec,
    detect_legacy,
)
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.text_repair import decode_text, detect_encoding

# If a larger share of the lines beyond ASCII is valid UTF-8, the file is a mixture: the lines are
# UTF-8 where they can be. In a multi-byte encoding, short lines can be valid UTF-8 by chance.
_MIXTURE_SHARE, _MULTIBYTE_MIXTURE_SHARE = 0.05, 0.5

_CHUNK_BYTES, _SAMPLE_BYTES = 2**20, 2**17
_BATCH_CHARS = 2**17

# Undecodable bytes become these code points, also those that are ASCII, which `surrogateescape`
# refuses (the end of a truncated file in UTF-16).
_ESCAPE_ERRORS = "postbias.escape"
_ESCAPED = re.compile("[\udc00-\udcff]")


def _escape(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    data = error.object[error.start : error.end]
    return "".join(chr(0xDC00 + byte) for byte in data), error.end


codecs.register_error(_ESCAPE_ERRORS, _escape)


@dataclass(frozen=True, slots=True)
class FileEncoding:
    """Encoding of a text file.

    Attributes:
        codec: The codec of the file.
        confidence: 1 if the bytes prove it, or it was given.
        fallback: The codec of lines that are not valid in `codec`; None rejects them.
        is_given: Whether the user gave it.
        is_mixture: Whether the file has lines in both encodings.
    """

    codec: str
    confidence: float = 1.0
    fallback: str | None = None
    is_given: bool = False
    is_mixture: bool = False

    def __str__(self) -> str:
        """Describe for the summary of an import."""
        codec = "utf-8" if self.codec == "utf-8-sig" else self.codec
        if self.is_given:
            return f"{codec} (given)"
        if not self.is_mixture:
            return f"{self.fallback or codec} (confidence {self.confidence:.0%})"
        return f"{codec}, other lines {self.fallback} (confidence {self.confidence:.0%})"

    @property
    def is_utf8(self) -> bool:
        """Whether all of its lines are UTF-8."""
        return self.codec in {"utf-8", "utf-8-sig"} and self.fallback is None

    @property
    def name(self) -> str:
        """The description for the summary of layouts other than tables; "" for UTF-8."""
        return "" if self.is_utf8 else str(self)

    @property
    def notes(self) -> list[str]:
        """A remark if the encoding is uncertain."""
        if self.confidence >= MIN_CONFIDENCE:
            return []
        return [
            f"the encoding is uncertain: {self}; if letters beyond ASCII are wrong, name it, e.g. "
            "--encoding windows-1251, and add --replace"
        ]


def detect_file_encoding(path: Path, given: str | None = None) -> FileEncoding:
    """Detect the encoding of a text file from all of its bytes.

    Args:
        path: The file.
        given: The encoding, if the user named it.

    Returns:
        The encoding.

    Raises:
        InputError: If the given encoding is unknown.
    """
    with path.open("rb") as file:
        head = file.read(4096)
    marked = detect_encoding(head)
    if given is not None:
        codec = check_codec(given)
        # Drops a byte order mark.
        codec = "utf-8-sig" if codec == "utf-8" else codec
        if marked.startswith("utf-16") and codec.startswith("utf-16") and "-" in codec[4:]:
            codec = marked if head[:2] in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE} else codec
        return FileEncoding(codec, is_given=True)
    if not marked.startswith("utf-8"):
        return FileEncoding(marked)
    if _is_valid_utf8(path):
        return FileEncoding(marked)
    n_valid, n_invalid, sample = _count_lines(path)
    guess = detect_legacy(sample)
    share = n_valid / (n_valid + n_invalid)
    is_multibyte = guess.codec in MULTIBYTE
    if share > (_MULTIBYTE_MIXTURE_SHARE if is_multibyte else _MIXTURE_SHARE):
        # A few damaged lines say little about their encoding.
        is_sure = guess.confidence >= MIN_CONFIDENCE
        fallback = guess.codec if is_sure else WINDOWS_1252
        return FileEncoding(marked, max(guess.confidence, share), fallback, is_mixture=True)
    if guess.codec == WINDOWS_1252:
        # Lines with UTF-8 and bytes that are undefined in Windows-1252 can be repaired.
        return FileEncoding(marked, guess.confidence, WINDOWS_1252)
    return FileEncoding(guess.codec, guess.confidence)


def _is_valid_utf8(path: Path) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with path.open("rb") as file:
        try:
            while chunk := file.read(_CHUNK_BYTES):
                # A letter may be cut at the end of the chunk before.
                if decoder.getstate()[0] or not chunk.isascii():
                    decoder.decode(chunk)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return False
    return True


def _count_lines(path: Path) -> tuple[int, int, bytes]:
    """Count lines beyond ASCII that are valid UTF-8, and others, with a sample of those."""
    n_valid = n_invalid = 0
    sample: list[bytes] = []
    n_bytes, stride = 0, 1
    with path.open("rb") as file:
        while block := file.readline(_CHUNK_BYTES):
            for line in block.splitlines(keepends=True):
                if line.isascii():
                    continue
                try:
                    line.decode()
                except UnicodeDecodeError:
                    n_invalid += 1
                else:
                    n_valid += 1
                    continue
                if n_invalid % stride == 0:
                    sample.append(line)
                    n_bytes += len(line)
                if n_bytes > _SAMPLE_BYTES and len(sample) > 1:
                    # Samples evenly however long the file is.
                    sample, stride = sample[1::2], stride * 2
                    n_bytes = sum(map(len, sample))
    return n_valid, n_invalid, b"".join(sample)[: 2 * _SAMPLE_BYTES]


def read_lines(path: Path, encoding: FileEncoding, newline: str) -> Iterator[str]:
    """Iterate over the decoded lines of a file.

    Args:
        path: The file.
        encoding: Its encoding.
        newline: As for `open`.

    Returns:
        The lines with their ends. Bytes that cannot be decoded are escaped: see `is_decoded`.
    """
    return chain.from_iterable(_batches(path, encoding, newline))


def read_table_lines(path: Path, encoding: FileEncoding) -> Iterator[str]:
    """Iterate over the lines of a table, as `read_lines`, without NUL and with their line ends."""
    for lines in _batches(path, encoding, ""):
        if "\0" in "".join(lines):
            yield from (line.replace("\0", "") for line in lines)
        else:
            yield from lines


def _batches(path: Path, encoding: FileEncoding, newline: str) -> Iterator[list[str]]:
    # What is cheap for a line is cheaper for many at once.
    with path.open(encoding=encoding.codec, errors=_ESCAPE_ERRORS, newline=newline) as file:
        while lines := file.readlines(_BATCH_CHARS):
            if not is_decoded("".join(lines)):
                lines = [
                    line if is_decoded(line) else _decode_again(line, encoding) for line in lines
                ]
            yield lines


def _decode_again(line: str, encoding: FileEncoding) -> str:
    if encoding.fallback is None:
        return line
    try:
        data = line.encode("utf-8", "surrogateescape")
        if encoding.fallback != WINDOWS_1252:
            return data.decode(encoding.fallback)
        return decode_text(data)
    except (UnicodeError, RecordError):
        return line


def is_decoded(text: str) -> bool:
    """Tell whether all bytes of a text from `read_lines` could be decoded."""
    if text.isascii():
        return True
    try:
        # Escaped bytes are surrogates, which UTF-8 does not have. Faster than the pattern.
        text.encode()
    except UnicodeEncodeError:
        return _ESCAPED.search(text) is None
    return True


def describe_undecoded(text: str, encoding: FileEncoding) -> str:
    """Describe the first byte that could not be decoded in one line, with what to do."""
    match = _ESCAPED.search(text)
    byte = 0 if match is None else ord(match[0]) - 0xDC00
    known = encoding.codec if encoding.fallback is None else f"{encoding.codec} or a known encoding"
    return f"byte 0x{byte:02x} is not valid in {known}; name the file's encoding: --encoding NAME"
