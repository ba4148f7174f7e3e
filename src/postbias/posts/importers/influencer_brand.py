"""Import the influencer-brand data set (Kim et al., WSDM 2021) as its authors distribute it.

Reads `post_info.txt`, `json/<post id>.json` and images in any number of other folders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from postbias.errors import LayoutError
from postbias.posts.importers.export_files import is_plain_name, read_json
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.instagram_nodes import (
    PLATFORM,
    MediaNode,
    is_media_node,
    read_media_node,
)
from postbias.posts.importers.records import (
    Export,
    ImportedPost,
    ImportReject,
    ReadUnit,
    Record,
    RecordError,
    TextReading,
    UnknownWrapperError,
    split_images,
)
from postbias.posts.importers.text_lines import (
    FileEncoding,
    describe_undecoded,
    detect_file_encoding,
    is_decoded,
    read_lines,
)
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.reasons import RejectReason
from postbias.posts.remote_files import content_digest

POST_TABLE = "post_info.txt"
JSON_FOLDER = "json"

_ITEM = r"""\s*(?:'([^'\\]*)'|"([^"\\]*)")\s*"""
_LIST = re.compile(rf"\s*\[(?:{_ITEM}(?:,{_ITEM})*,?)?\s*\]\s*", re.VERBOSE)
_ITEMS = re.compile(_ITEM, re.VERBOSE)


@dataclass(frozen=True, slots=True)
class _Row:
    """One line of `post_info.txt`."""

    author: str
    is_sponsored: bool
    json_name: str
    image_names: tuple[str, ...]


class _JsonFiles(NamedTuple):
    """Where the JSON files are, and their encoding if the user named it."""

    root: str
    encoding: str | None


def open_influencer_brand(src: Path, encoding: str | None = None) -> Export:
    """Open the influencer-brand data set.

    Args:
        src: The folder that holds `post_info.txt`.
        encoding: The encoding of its text and JSON files, if the user named it.

    Returns:
        One unit per line of `post_info.txt`.

    Raises:
        LayoutError: If the folder has no `post_info.txt` or no `json` folder.
    """
    table = src / POST_TABLE
    for name, exists in (
        (POST_TABLE, table.is_file()),
        (f"{JSON_FOLDER}/", (src / JSON_FOLDER).is_dir()),
    ):
        if not exists:
            raise LayoutError(
                f"not an influencer-brand data set: {name} is missing",
                seen=str(src),
                do="pass the folder that holds post_info.txt, json/ and the image folders",
            )
    folder = ImageFolder(src, exclude=frozenset({JSON_FOLDER}))
    table_encoding = detect_file_encoding(table, encoding)
    load = partial(_load, _JsonFiles(str(src), encoding), folder)
    is_plain = table_encoding == FileEncoding("utf-8")
    return Export(
        digest=f"{content_digest(table)} {folder.index.image_digest}",
        n_units=_count_lines(table),
        units=lambda: _units(table, table_encoding, load),
        reading=None if is_plain else TextReading(str(table_encoding), table_encoding.notes),
    )


def _count_lines(table: Path) -> int:
    with table.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(partial(file.read, 2**20), b""))


def _units(
    table: Path, encoding: FileEncoding, load: Callable[[int, str, str | None], list[Record]]
) -> Iterator[ReadUnit]:
    for number, line in enumerate(read_lines(table, encoding, "\n"), start=1):
        if line.strip():
            fault = None if is_decoded(line) else describe_undecoded(line, encoding)
            yield partial(load, number, line, fault)


def _load(
    files: _JsonFiles, folder: ImageFolder, number: int, line: str, fault: str | None
) -> list[Record]:
    source, post_id = f"{POST_TABLE}:{number}", None
    try:
        if fault is not None:
            raise RecordError(RejectReason.BAD_ENCODING, fault)
        row = _parse_line(line)
        post_id = row.json_name.removesuffix(".json")
        source = f"{JSON_FOLDER}/{row.json_name}"
        return [_to_post(row, post_id, source, _read_media(files, source), folder)]
    except RecordError as error:
        return [ImportReject.from_error(error, source, post_id)]


def _parse_line(line: str) -> _Row:
    line = repair_text(line).strip("\n")
    cells = line.split("\t")
    if '"' in line:
        cells = [_unquote(cell) for cell in cells]
    if len(cells) != 5:
        raise RecordError(RejectReason.BROKEN_ROW, f"{len(cells)} fields between tabs, expected 5")
    _, author, sponsored, json_name, names = (cell.strip() for cell in cells)
    if sponsored not in {"0", "1"}:
        raise RecordError(
            RejectReason.BROKEN_ROW, f"sponsored is {sponsored[:40]!r}, expected 0 or 1"
        )
    if not json_name.removesuffix(".json"):
        raise RecordError(RejectReason.MISSING_ID, "no JSON file named")
    if not author:
        raise RecordError(RejectReason.BROKEN_ROW, "no username")
    image_names = _parse_image_names(names)
    if not is_plain_name(json_name):
        raise RecordError(RejectReason.BROKEN_ROW, f"{json_name[:80]!r} is no plain file name")
    return _Row(author, sponsored == "1", json_name, image_names)


def _unquote(cell: str) -> str:
    """Remove the quotes that spreadsheet programs put around a field."""
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"').strip()
    return cell


def _parse_image_names(literal: str) -> tuple[str, ...]:
    """Parse a Python list of names with a pattern: content of a file is never evaluated."""
    if not _LIST.fullmatch(literal):
        raise RecordError(RejectReason.BROKEN_ROW, f"images are no list: {literal[:80]!r}")
    return tuple(single or double for single, double in _ITEMS.findall(literal) if single or double)


def _read_media(files: _JsonFiles, source: str) -> MediaNode:
    node: Any = read_json(f"{files.root}/{source}", files.encoding)
    if not is_media_node(node):
        keys = sorted(node)[:5] if isinstance(node, dict) else type(node).__name__
        raise UnknownWrapperError(f"no media node at its root, but {keys}")
    return read_media_node(node)


def _to_post(
    row: _Row, post_id: str, source: str, media: MediaNode, folder: ImageFolder
) -> ImportedPost:
    files, faults = split_images(folder.read_name(name) for name in row.image_names)
    return ImportedPost(
        post_id=post_id,
        author=row.author,
        caption=media.caption,
        source=source,
        platform=PLATFORM,
        images=files,
        image_faults=faults,
        sponsored=row.is_sponsored,
        posted_at_us=media.posted_at_us,
        likes=media.likes,
        comments=media.comments,
        media_type=media.media_type or ("carousel" if len(row.image_names) > 1 else None),
        duration_s=media.duration_s,
        emptied_cells=media.emptied_cells,
    )
