"""Convert a JSON document with a list of objects to one object per line, in constant memory."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from postbias.errors import LayoutError

# A longer object is damaged: a quote or a bracket is missing.
MAX_OBJECT_CHARS = 4 * 2**20
_CHUNK_CHARS = 2**16
_SPACE = re.compile(r"[\s\ufeff\0]*")
_NEXT_OBJECT = re.compile(r"\}\s*,\s*(?=\{)")
_ADVICE = "a list of objects, an object with one list of objects, or one object per line"


class _Text:
    """The rest of a document, of which a part is in memory."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self.buffer = ""
        self.is_complete = False

    def fill(self, n_chars: int) -> None:
        """Read until so many characters are in memory, or all that are left."""
        while len(self.buffer) < n_chars and not self.is_complete:
            chunk = self._file.read(max(_CHUNK_CHARS, n_chars - len(self.buffer)))
            self.buffer += chunk
            self.is_complete = not chunk

    def drop(self, n_chars: int) -> str:
        """Remove and return the first characters."""
        text, self.buffer = self.buffer[:n_chars], self.buffer[n_chars:]
        return text

    def peek(self) -> str:
        """Return the next character that is no space; "" at the end."""
        while True:
            self.fill(_CHUNK_CHARS if len(self.buffer) < _CHUNK_CHARS // 2 else 1)
            space = _SPACE.match(self.buffer)
            self.drop(space.end() if space else 0)
            if self.buffer or self.is_complete:
                return self.buffer[:1]

    def take_value(self) -> str | None:
        """Remove and return the next value; None if it is damaged or too long."""
        n_chars = len(self.buffer)
        while True:
            try:
                _, end = json.JSONDecoder().raw_decode(self.buffer)
            except (ValueError, RecursionError):
                end = None
            # A number at the end of the buffer may go on.
            if end is not None and (end < len(self.buffer) or self.is_complete):
                return self.drop(end)
            if self.is_complete or len(self.buffer) >= MAX_OBJECT_CHARS:
                return self.drop(end) if end is not None else None
            n_chars = min(max(4 * n_chars, _CHUNK_CHARS), MAX_OBJECT_CHARS)
            self.fill(n_chars)

    def skip_damaged(self) -> str:
        """Remove and return a damaged object: what is left before the next object."""
        self.fill(MAX_OBJECT_CHARS)
        match = _NEXT_OBJECT.search(self.buffer)
        if match:
            text = self.drop(match.start() + 1)
            self.drop(match.end() - match.start() - 1)
            return text
        return self.drop(len(self.buffer))


def list_objects(path: Path, codec: str, errors: str) -> Iterator[str]:
    """Iterate over the elements of the list in a JSON document.

    Args:
        path: The document: a list, or an object with one list of objects.
        codec: Its encoding.
        errors: What to do with bytes that cannot be decoded.

    Yields:
        Each element as JSON in one line; what is damaged as it is.

    Raises:
        LayoutError: If there is no such list, or there are several.
    """
    with path.open(encoding=codec, errors=errors, newline="") as file:
        text = _Text(file)
        first = text.peek()
        if first == "[":
            # Lists that were written one after another are one list.
            while text.peek() == "[":
                yield from _elements(text)
                while text.peek() not in {"", "["}:
                    if (value := _take_element(text)) is not None:
                        yield value
        elif first == "{":
            yield from _elements_of_member(text, path.name)
        else:
            raise LayoutError(f"{path.name} is no JSON", seen=first, allowed=_ADVICE)


def _to_line(text: str) -> str:
    # Line feeds can only be between the parts of an object: in texts, JSON escapes them.
    return text.replace("\r", " ").replace("\n", " ")


def _elements(text: _Text) -> Iterator[str]:
    text.drop(1)
    while (start := text.peek()) not in {"]", ""}:
        if (value := _take_element(text)) is not None:
            yield value
    if not start:
        yield "the document ends before its list does"
    text.drop(1)


def _take_element(text: _Text) -> str | None:
    """Take an element, also a damaged one; return None for what is between elements."""
    if text.buffer[:1] in {",", "]"}:
        text.drop(1)
        return None
    value = text.take_value()
    return _to_line(text.skip_damaged() if value is None else value)


def _elements_of_member(text: _Text, name: str) -> Iterator[str]:
    text.drop(1)
    found: list[str] = []
    while (start := text.peek()) not in {"}", ""}:
        if start in {",", ":"}:
            text.drop(1)
            continue
        key = text.take_value()
        if key is None or text.peek() != ":":
            break
        text.drop(1)
        if text.peek() == "[" and _has_object(text):
            found.append(key.strip('"')[:60])
            if len(found) > 1:
                raise LayoutError(
                    f"{name} has several lists of objects",
                    seen=", ".join(found),
                    allowed="one",
                    do="save the list of the posts alone",
                )
            yield from _elements(text)
        elif text.take_value() is None:
            break
    if not found:
        raise LayoutError(f"{name} has no list of objects", allowed=_ADVICE)
    if text.peek() == "}":
        text.drop(1)
    while text.peek():
        # Something is left: no object of it may be lost silently.
        yield _to_line(text.skip_damaged())


def _has_object(text: _Text) -> bool:
    text.fill(_CHUNK_CHARS)
    return re.match(r"\[\s*\{", text.buffer) is not None
