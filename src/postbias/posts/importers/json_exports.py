"""Open exports in JSON: NDJSON is read line by line, other files one at a time.

A `JsonSource` says how the posts of one kind of export are found and read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from postbias.errors import InputError
from postbias.posts.importers.export_files import read_json_named
from postbias.posts.importers.limited_json import parse_limited_json
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.raw_posts import RawPost, build_post
from postbias.posts.importers.records import (
    ImportReject,
    ReadUnit,
    Record,
    RecordError,
    note_encoding,
    read_noted,
)
from postbias.posts.importers.text_lines import (
    FileEncoding,
    describe_undecoded,
    detect_file_encoding,
    is_decoded,
    read_lines,
)
from postbias.posts.importers.text_repair import decode_text, detect_encoding, repair_text
from postbias.posts.importers.unknown_json import to_unknown_error
from postbias.posts.reasons import RejectReason

#: A longer line is no post.
MAX_LINE_BYTES = 64 * 2**20

# Lines with a post are as long as the default buffer.
_BUFFER_BYTES = 2**20

LINE_SUFFIXES = (".ndjson", ".jsonl")
JSON_FILES = (".json", *LINE_SUFFIXES)

# How the files of an X archive begin.
_ASSIGNMENT = re.compile(r"\s*(?:window\.)?[\w.]+\s*=\s*(?=[\[{])")

Node = dict[str, Any]


@dataclass(frozen=True, slots=True)
class JsonSource:
    """How the posts of one kind of JSON export are read.

    Attributes:
        unwrap: Lists the nodes of a page or line; None if its structure is unknown.
        read: Reads a node; raises `RecordError` if it is no post.
        id_keys: Keys of a node that may have its id, for the table of rejects.
    """

    unwrap: Callable[[Any], Iterable[Any] | None]
    read: Callable[[Any], RawPost]
    id_keys: tuple[str, ...] = ("id",)


def json_units(
    path: Path, name: str, source: JsonSource, folder: MediaFolder, encoding: str | None = None
) -> Iterator[ReadUnit]:
    """Iterate over the units of a JSON file: its lines if it is NDJSON, else the file.

    Args:
        path: The file.
        name: Its path relative to the export.
        source: How its posts are read.
        folder: The folder that has the images.
        encoding: The encoding of the file, if the user named it.

    Yields:
        Functions that read one unit.
    """
    if not is_ndjson(path):
        yield partial(_load_file, partial(_read_value, path, encoding), name, source, folder)
        return
    detected = detect_file_encoding(path, encoding)
    for number, line in enumerate(read_json_lines(path, detected), start=1):
        load = partial(_load, partial(_parse_line, line), f"{name}:{number}", source, folder)
        yield load if detected.is_utf8 else partial(read_noted, load, detected.name)


def is_ndjson(path: Path) -> bool:
    """Tell whether a file has a JSON value on each line: by its suffix, else its first two."""
    if path.name.lower().endswith(LINE_SUFFIXES):
        return not _is_one_value(path)
    lines = _first_lines(path)
    return len(lines) > 1 and all(_is_object(line) for line in lines)


def _is_one_value(path: Path) -> bool:
    """Tell whether a file named as NDJSON is one array or an indented object instead."""
    lines = _first_lines(path)
    if not lines or _is_object(lines[0]):
        return False
    is_indented = lines[0] == b"{" and len(lines) > 1
    return lines[0].startswith(b"[") or (is_indented and not _is_object(lines[1]))


def _first_lines(path: Path) -> list[bytes]:
    lines: list[bytes] = []
    with suppress(OSError):
        for line in read_json_lines(path):
            lines.append(line if isinstance(line, bytes) else b"")
            if len(lines) == 2:
                break
    return lines


def _is_object(line: bytes) -> bool:
    with suppress(RecordError):
        return isinstance(parse_json(line), dict)
    return False


def read_json_lines(
    path: Path, encoding: FileEncoding | None = None
) -> Iterator[bytes | RecordError]:
    """Iterate over the lines of a file that are not blank, without their ends.

    Args:
        path: The file.
        encoding: Its encoding; None if only the structure of the lines matters.

    Yields:
        A line in UTF-8, or why it could not be read. Without an encoding, lines in a legacy one
        are as in the file.
    """
    with path.open("rb", buffering=_BUFFER_BYTES) as file:
        encoding = encoding or FileEncoding(detect_encoding(file.read(4)))
        file.seek(0)
        if not encoding.is_utf8:
            yield from _decoded_lines(path, encoding)
            return
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                while line and not line.endswith(b"\n"):
                    line = file.readline(MAX_LINE_BYTES)
                yield RecordError(RejectReason.TOO_LARGE, f"a line of over {MAX_LINE_BYTES} bytes")
            elif line := line.removeprefix(b"\xef\xbb\xbf").strip(b" \t\r\n\0"):
                yield line


def _decoded_lines(path: Path, encoding: FileEncoding) -> Iterator[bytes | RecordError]:
    for line in read_lines(path, encoding, "\n"):
        if not is_decoded(line):
            yield RecordError(RejectReason.BAD_ENCODING, describe_undecoded(line, encoding))
        elif text := line.lstrip("\ufeff").strip(" \t\r\n\0"):
            yield text.encode(errors="replace")


def parse_json(data: bytes) -> Any:  # noqa: ANN401 - foreign JSON has any shape
    """Parse JSON in any known encoding.

    Raises:
        RecordError: If it is not JSON.
    """
    try:
        # Faster than json.loads, but accepts only valid UTF-8.
        return from_json(data)
    except ValueError:
        return parse_json_text(decode_text(data))


def parse_json_text(text: str) -> Any:  # noqa: ANN401 - foreign JSON has any shape
    """Parse JSON text, which may be assigned to a variable as in the archive of X.

    Raises:
        RecordError: If it is not JSON.
    """
    if match := _ASSIGNMENT.match(text):
        text = text[match.end() :].rstrip().removesuffix(";")
    try:
        return parse_limited_json(text)
    except ValueError as error:
        message = " ".join(str(error).split())
        raise RecordError(RejectReason.BROKEN_FILE, f"not JSON: {message}"[:200]) from error


def read_json_value(path: Path, encoding: str | None = None) -> Any:  # noqa: ANN401 - foreign JSON
    """Read a JSON file, or a JavaScript file that assigns JSON to a variable.

    Raises:
        RecordError: If it is missing, unreadable, too large, or not JSON.
    """
    return _read_value(path, encoding)[0]


def _read_value(path: Path, encoding: str | None) -> tuple[Any, str]:
    """Read a JSON file; also return its encoding."""
    return read_json_named(str(path), encoding, parse_json_text)


def _load_file(
    read: Callable[[], tuple[Any, str]], name: str, source: JsonSource, folder: MediaFolder
) -> Iterator[Record]:
    try:
        page, encoding = read()
    except RecordError as error:
        yield ImportReject.from_error(error, name)
        return
    yield from note_encoding(read_page(page, name, source, folder), encoding)


def _load(
    read: Callable[[], Any], name: str, source: JsonSource, folder: MediaFolder
) -> Iterable[Record]:
    try:
        page = read()
    except RecordError as error:
        return (ImportReject.from_error(error, name),)
    return read_page(page, name, source, folder)


def _parse_line(line: bytes | RecordError) -> Any:  # noqa: ANN401 - foreign JSON
    if isinstance(line, RecordError):
        raise line
    return parse_json(line)


def read_page(
    page: Any,  # noqa: ANN401 - foreign JSON
    name: str,
    source: JsonSource,
    folder: MediaFolder,
) -> Iterator[Record]:
    """Read the posts of a page, or of a list of pages or posts.

    Args:
        page: The JSON value.
        name: Where it was read from.
        source: How its posts are read.
        folder: The folder that has the images.

    Yields:
        Posts and rejects.
    """
    for part in page if isinstance(page, list) else (page,):
        nodes = source.unwrap(part)
        if nodes is None:
            yield ImportReject.from_error(to_unknown_error(part), name)
            continue
        for node in nodes:
            yield _read_node(node, name, source, folder)


def _read_node(node: object, name: str, source: JsonSource, folder: MediaFolder) -> Record:
    try:
        if isinstance(node, RecordError):
            raise node
        return build_post(source.read(node), name, folder)
    except RecordError as error:
        return ImportReject.from_error(error, name, _id_of(node, source))
    except InputError as error:
        detail = " ".join(str(error).split())[:200]
        return ImportReject(name, _id_of(node, source), RejectReason.MISSING_ID, detail)


def _id_of(node: object, source: JsonSource) -> str | None:
    if isinstance(node, dict):
        for key in source.id_keys:
            value = node.get(key)
            if isinstance(value, str | int) and not isinstance(value, bool) and value != "":
                return repair_text(str(value))[:200]
    return None


def as_node(value: object, what: str = "post") -> Node:
    """Return a JSON object.

    Raises:
        RecordError: If it is something else.
    """
    if not isinstance(value, dict):
        raise RecordError(
            RejectReason.BROKEN_FILE, f"a {what} is no object but {type(value).__name__}"
        )
    return value


def as_list(value: object) -> list[Any]:
    """Return a JSON array; an empty one for anything else."""
    return value if isinstance(value, list) else []
