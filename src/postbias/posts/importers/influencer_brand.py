"""The influencer-brand data set (Kim et al., WSDM 2021) as its authors give it out.

Reads `post_info.txt`, `json/<post id>.json` and images in any number of other folders.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from postbias.errors import LayoutError
from postbias.posts.importers.export_files import (
    ImageIndex,
    digest_file,
    is_plain_name,
    read_json,
)
from postbias.posts.importers.instagram_nodes import PLATFORM, MediaNode, is_media_node, read_media_node
from postbias.posts.importers.records import (
    RecordError,
    ImageFile,
    ImageFault,
    ImportedPost,
    Record,
    ImportReject,
    Export,
    ReadUnit,
    UnknownWrapperError,
)
from postbias.posts.importers.text_repair import repair_text, detect_encoding, decode_escaped
from postbias.posts.reasons import RejectReason

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
    picture_names: tuple[str, ...]


def open_influencer_brand(src: Path) -> Export:
    """Open the data set.

    Args:
        src: The folder of `post_info.txt`.

    Returns:
        One unit per line.

    Raises:
        LayoutError: If the folder has no `post_info.txt` or no `json` folder.
    """
    table = src / POST_TABLE
    for needed, has in ((POST_TABLE, table.is_file()), (f"{JSON}/", (src / JSON_FOLDER).is_dir())):
        if not has:
            raise LayoutError(
                f"no influencer-brand data set: {needed} is missing",
                seen=str(src),
                do="name the folder that holds post_info.txt, json/ and the image folders",
            )
    index = ImageIndex(src, leave_out=frozenset({JSON_FOLDER}))
    load = partial(_load, str(src), index)
    return Export(
        digest=f"{digest_file(table)} {index.digest}",
        n_units=_count_lines(table),
        units=lambda: _units(table, load),
    )


def _count_lines(table: Path) -> int:
    with table.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(partial(file.read, 2**20), b""))


def _units(table: Path, load: Callable[[int, str], list[Record]]) -> Iterator[ReadUnit]:
    with table.open("rb") as file:
        encoding = detect_encoding(file.read(4))
    with table.open(encoding=encoding, errors="surrogateescape", newline="\n") as lines:
        for number, line in enumerate(lines, start=1):
            if line.strip():
                yield partial(load, number, line)


def _load(root: str, index: ImageIndex, number: int, line: str) -> list[Record]:
    source, post_id = f"{TABLE}:{number}", None
    try:
        row = _parse(line)
        post_id = row.json_name.removesuffix(".json")
        source = f"{JSON}/{row.json_name}"
        return [_post(row, post_id, source, _media(f"{root}/{source}"), index)]
    except RecordError as fault:
        return [ImportReject.of(fault, source, post_id)]


def _parse(line: str) -> _Row:
    line = repair_text(decode_escaped(line)).strip("\n")
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
    pictures = _picture_names(names)
    for name in (json_name, *pictures):
        if not is_plain_name(name):
            raise RecordError(RejectReason.BROKEN_ROW, f"{name[:80]!r} is no plain file name")
    return _Row(author, sponsored == "1", json_name, pictures)


def _unquote(cell: str) -> str:
    """Undo the quotes that a spreadsheet puts around a field."""
    cell = cell.strip()
    if len(cell) > 1 and cell[0] == cell[-1] == '"':
        return cell[1:-1].replace('""', '"').strip()
    return cell


def _picture_names(literal: str) -> tuple[str, ...]:
    """Read the list literal; a pattern, because nothing from a file is evaluated."""
    if not _LIST.fullmatch(literal):
        raise RecordError(RejectReason.BROKEN_ROW, f"images are no list: {literal[:80]!r}")
    return tuple(one or other for one, other in _ITEMS.findall(literal) if one or other)


def _media(path: str) -> MediaNode:
    node: Any = read_json(path)
    if not is_media_node(node):
        keys = sorted(node)[:5] if isinstance(node, dict) else type(node).__name__
        raise UnknownWrapperError(f"no media node at its root, but {keys}")
    return read_media_node(node)


def _post(row: _Row, post_id: str, source: str, media: MediaNode, index: ImageIndex) -> ImportedPost:
    found = [index.read(name) for name in row.picture_names]
    return ImportedPost(
        post_id=post_id,
        author=row.author,
        caption=media.caption,
        source=source,
        platform=PLATFORM,
        pictures=tuple(one for one in found if isinstance(one, ImageFile)),
        faults=tuple(one for one in found if isinstance(one, ImageFault)),
        sponsored=row.is_sponsored,
        posted_at_us=media.posted_at_us,
        likes=media.likes,
        comments=media.comments,
        media_type=media.media_type or ("carousel" if len(row.picture_names) > 1 else None),
    )
