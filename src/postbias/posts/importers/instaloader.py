"""Folders as the Instaloader program leaves them: one stem per post.

`<stem>.json` or `.json.xz` (the media node under "node"), `<stem>.txt` (the caption) and
`<stem>.jpg` or `<stem>_1.jpg`, `<stem>_2.jpg` ... Any of them may be missing. Profile pictures,
comments and stories' highlights metadata are not posts and left alone.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from postbias.errors import InputError, LayoutError
from postbias.posts.importers.export_files import (
    IMAGE_SUFFIXES,
    digest_tree,
    read_json,
    read_image,
    read_text,
    walk_folders,
)
from postbias.posts.importers.instagram_nodes import PLATFORM, get_nested, is_media_node, read_media_node
from postbias.posts.importers.instagram_pages import JSON_ENDINGS, describe_wrapper, post_from_media
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
from postbias.posts.importers.text_repair import repair_text

# The name that Instaloader gives by itself; without JSON only this tells a post from other files.
_UTC = re.compile(r"\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}_UTC")
_NUMBERED = re.compile(r"(?P<stem>.+)_(?P<number>\d+)")

# "node_type" of files that describe no post.
_NO_POSTS = frozenset({"Profile", "Hashtag", "TopSearchResults", "Highlight", "FrozenNodeIterator"})


@dataclass(slots=True)
class _Files:
    """The files of one post, by name."""

    json: str | None = None
    text: str | None = None
    pictures: list[tuple[int, str]] = field(default_factory=list)


def open_instaloader(src: Path) -> Export:
    """Open folders of posts.

    Args:
        src: A profile's folder or one that holds several.

    Returns:
        One unit per post.

    Raises:
        InputError: If there is no such folder.
        LayoutError: If no file in it looks like Instaloader's.
    """
    if not src.is_dir():
        raise InputError("no such folder", seen=str(src))
    n_posts = sum(len(_group(names)) for _, names in walk_folders(src))
    if not n_posts:
        raise LayoutError(
            "no files of Instaloader", seen=str(src), allowed="*_UTC.json(.xz), *_UTC.txt, *.jpg"
        )
    return Export(
        digest=digest_tree(src)[0],
        n_units=n_posts,
        units=lambda: _units(src),
    )


def _units(src: Path) -> Iterator[ReadUnit]:
    load: Callable[[str, str, _Files], Iterable[Record]] = partial(_load, src)
    for prefix, names in walk_folders(src):
        for stem, files in _group(names).items():
            yield partial(load, prefix, stem, files)


def _group(names: list[str]) -> dict[str, _Files]:
    """Group the files of a folder by post, in the order of their stems."""
    groups: dict[str, _Files] = defaultdict(_Files)
    for name in names:
        for ending in JSON_ENDINGS:
            stem = name.removesuffix(ending)
            if stem != name and not stem.endswith("_comments"):
                groups[stem].json = name
    for name in names:
        stem, dot, ending = name.rpartition(".")
        if dot + ending == ".txt" and (stem in groups or _UTC.fullmatch(stem)):
            groups[stem].text = name
        elif dot + ending.lower() in IMAGE_SUFFIXES:
            owner, number = _owner(stem, groups)
            if owner is not None:
                groups[owner].pictures.append((number, name))
    return dict(sorted(groups.items()))


def _owner(stem: str, groups: dict[str, _Files]) -> tuple[str | None, int]:
    """Find the post that an image belongs to, and its place there."""
    if stem in groups or _UTC.fullmatch(stem):
        return stem, 0
    numbered = _NUMBERED.fullmatch(stem)
    if numbered and (numbered["stem"] in groups or _UTC.fullmatch(numbered["stem"])):
        return numbered["stem"], int(numbered["number"])
    return None, 0


def _load(src: Path, prefix: str, stem: str, files: _Files) -> list[Record]:
    source = f"{prefix}{files.json or stem}"
    try:
        node = _node(f"{src}/{source}") if files.json else None
        if files.json and node is None:
            return []
        text = repair_text(read_text(f"{src}/{prefix}{files.text}")).strip() if files.text else ""
        found = [read_image(str(src), f"{prefix}{name}") for _, name in sorted(files.pictures)]
        if node is None:
            return [_without_json(src, prefix, stem, text, found)]
        media = read_media_node(node)
        post = post_from_media(media, source, found)
        return [post if post.caption else replace(post, caption=text)]
    except RecordError as fault:
        return [ImportReject.of(fault, source)]


def _node(path: str) -> dict[str, Any] | None:
    """Read a post's node; None if the file describes something else than a post."""
    page = read_json(path)
    if get_nested(page, "instaloader", "node_type") in _NO_POSTS:
        return None
    node = get_nested(page, "node")
    if not is_media_node(node):
        raise UnknownWrapperError(describe_wrapper(page))
    return node  # type: ignore[no-any-return]


def _without_json(
    src: Path, prefix: str, stem: str, text: str, found: list[ImageFile | ImageFault]
) -> ImportedPost:
    """Make a post of what `--no-metadata-json` leaves: its name stands for its id."""
    folder = prefix.rstrip("/").rpartition("/")[2] or src.resolve().name
    return ImportedPost(
        post_id=repair_text(f"{prefix or folder + '/'}{stem}"),
        author=repair_text(folder),
        caption=text,
        source=repair_text(f"{prefix}{stem}"),
        platform=PLATFORM,
        pictures=tuple(one for one in found if isinstance(one, ImageFile)),
        faults=tuple(one for one in found if isinstance(one, ImageFault)),
        posted_at_us=_time_of(stem),
    )


def _time_of(stem: str) -> int | None:
    from datetime import UTC, datetime

    try:
        moment = datetime.strptime(stem, "%Y-%m-%d_%H-%M-%S_UTC").replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * 1_000_000
