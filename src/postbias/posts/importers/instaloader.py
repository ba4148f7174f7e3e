"""Import folders written by Instaloader, where the files of a post share a stem.

`<stem>.json` or `.json.xz` holds the media node under "node", `<stem>.txt` the caption, and
`<stem>.jpg` or `<stem>_1.jpg`, `<stem>_2.jpg` ... the images. Any of them may be missing. Profile
pictures, comments and metadata of highlights are not posts and are skipped.
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
from postbias.posts.file_kinds import looks_like_image
from postbias.posts.importers.export_files import (
    IMAGE_SUFFIXES,
    VIDEO_SUFFIXES,
    digest_tree,
    read_head,
    read_image,
    read_json_named,
    read_text_named,
    walk_folders,
)
from postbias.posts.importers.instagram_nodes import (
    PLATFORM,
    get_nested,
    is_media_node,
    photo_numbers,
    read_media_node,
)
from postbias.posts.importers.instagram_pages import (
    JSON_SUFFIXES,
    post_from_media,
)
from postbias.posts.importers.records import (
    Export,
    ImageFault,
    ImageFile,
    ImportedPost,
    ImportReject,
    ReadUnit,
    Record,
    RecordError,
    split_images,
)
from postbias.posts.importers.table_cells import parse_time_us
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.importers.unknown_json import to_unknown_error
from postbias.posts.reasons import RejectReason

# Instaloader's default name; without JSON, only this distinguishes a post from other files.
_UTC_STEM = re.compile(r"\d{4}-\d{2}-\d{2}_\d{2}-\d{2}-\d{2}_UTC")
_NUMBERED_STEM = re.compile(r"(?P<stem>.+)_(?P<number>\d+)")

# Values of "node_type" in files that are not posts. A tuple: a set cannot be asked for a list,
# which foreign values can be.
_OTHER_NODES = ("Profile", "Hashtag", "TopSearchResults", "Highlight", "FrozenNodeIterator")


@dataclass(slots=True)
class _PostFiles:
    """File names of one post; images with their number in the carousel."""

    json: str | None = None
    text: str | None = None
    images: list[tuple[int, str]] = field(default_factory=list)


def open_instaloader(src: Path, encoding: str | None = None) -> Export:
    """Open folders written by Instaloader.

    Args:
        src: The folder of a profile, or a folder that holds several.
        encoding: The encoding of its text and JSON files, if the user named it.

    Returns:
        One unit per post.

    Raises:
        InputError: If there is no such folder.
        LayoutError: If no file in it is named like those of Instaloader.
    """
    if not src.is_dir():
        raise InputError("no such folder", seen=str(src))
    n_posts = sum(len(_group_by_post(src, *folder)) for folder in walk_folders(src))
    if not n_posts:
        raise LayoutError(
            "no files of Instaloader", seen=str(src), allowed="*_UTC.json(.xz), *_UTC.txt, *.jpg"
        )
    return Export(digest=digest_tree(src), n_units=n_posts, units=lambda: _units(src, encoding))


def _units(src: Path, encoding: str | None) -> Iterator[ReadUnit]:
    load: Callable[[str, str, _PostFiles], Iterable[Record]] = partial(_load, src, encoding)
    for prefix, names in walk_folders(src):
        for stem, files in _group_by_post(src, prefix, names).items():
            yield partial(load, prefix, stem, files)


def _group_by_post(src: Path, prefix: str, names: list[str]) -> dict[str, _PostFiles]:
    """Group the file names of a folder by post, sorted by stem."""
    posts: dict[str, _PostFiles] = defaultdict(_PostFiles)
    others = []
    for name in names:
        for suffix in JSON_SUFFIXES:
            stem = name.removesuffix(suffix)
            if stem != name and not stem.endswith("_comments"):
                posts[stem].json = name
    for name in names:
        stem, dot, suffix = name.rpartition(".")
        if dot + suffix == ".txt" and (stem in posts or _UTC_STEM.fullmatch(stem)):
            posts[stem].text = name
        elif dot + suffix.lower() in IMAGE_SUFFIXES:
            _add_image(posts, stem, name)
        elif not name.endswith(JSON_SUFFIXES):
            others.append((stem if dot else name, name))
    for stem, name in others:
        # A file with another suffix or none is an image if its content is.
        is_named = _find_post(stem, posts)[0] is not None
        if is_named and looks_like_image(read_head(str(src), f"{prefix}{name}")):
            _add_image(posts, stem, name)
    return dict(sorted(posts.items()))


def _add_image(posts: dict[str, _PostFiles], stem: str, name: str) -> None:
    post, number = _find_post(stem, posts)
    if post is not None:
        posts[post].images.append((number, name))


def _find_post(stem: str, posts: dict[str, _PostFiles]) -> tuple[str | None, int]:
    """Find the post of an image and the number of the image in it."""
    if stem in posts or _UTC_STEM.fullmatch(stem):
        return stem, 0
    numbered = _NUMBERED_STEM.fullmatch(stem)
    if numbered and (numbered["stem"] in posts or _UTC_STEM.fullmatch(numbered["stem"])):
        return numbered["stem"], int(numbered["number"])
    return None, 0


def _load(
    src: Path, encoding: str | None, prefix: str, stem: str, files: _PostFiles
) -> list[Record]:
    source = f"{prefix}{files.json or stem}"
    try:
        node, name = _read_node(f"{src}/{source}", encoding) if files.json else (None, "")
        if files.json and node is None:
            return []
        text = ""
        if files.text:
            text, name_of_text = read_text_named(f"{src}/{prefix}{files.text}", encoding)
            text, name = repair_text(text).strip(), name or name_of_text
        paths = [f"{prefix}{image}" for _, image in sorted(files.images)]
        images: list[ImageFile | ImageFault] = [read_image(str(src), path) for path in paths]
        if node is None:
            return [replace(_post_without_json(src, prefix, stem, text, images), encoding=name)]
        numbers = [n for n, image in files.images if not image.lower().endswith(VIDEO_SUFFIXES)]
        images += _missing_photos(node, f"{prefix}{stem}", numbers)
        post = post_from_media(read_media_node(node), source, images)
        return [replace(post, caption=post.caption or text, encoding=name)]
    except RecordError as error:
        return [ImportReject.from_error(error, source)]


def _missing_photos(node: dict[str, Any], stem: str, numbers: list[int]) -> list[ImageFault]:
    """List the photos that the JSON of a post names and that have no file."""
    expected = photo_numbers(node)
    if len(numbers) >= len(expected):
        return []
    return [
        ImageFault(
            RejectReason.NOT_DOWNLOADED,
            f"{stem}{f'_{number}' if number else ''}: no image file with this name",
        )
        for number in expected
        if number not in numbers
    ]


def _read_node(path: str, encoding: str | None) -> tuple[dict[str, Any] | None, str]:
    """Read a media node (None if the file describes something else) and its encoding."""
    page, name = read_json_named(path, encoding)
    if get_nested(page, "instaloader", "node_type") in _OTHER_NODES:
        return None, name
    node = get_nested(page, "node")
    if not is_media_node(node):
        raise to_unknown_error(page)
    return node, name


def _post_without_json(
    src: Path, prefix: str, stem: str, text: str, images: list[ImageFile | ImageFault]
) -> ImportedPost:
    """Create a post from files written with `--no-metadata-json`; its id is their path."""
    folder = prefix.rstrip("/").rpartition("/")[2] or src.resolve().name
    files, faults = split_images(images)
    posted_at_us, emptied_cells = _time_in_stem(stem)
    return ImportedPost(
        post_id=repair_text(f"{prefix or folder + '/'}{stem}"),
        author=repair_text(folder),
        caption=text,
        source=repair_text(f"{prefix}{stem}"),
        platform=PLATFORM,
        images=files,
        image_faults=faults,
        posted_at_us=posted_at_us,
        emptied_cells=emptied_cells,
    )


def _time_in_stem(stem: str) -> tuple[int | None, tuple[str, ...]]:
    """Return the time in a file name, and `posted_at` if it is not a valid time."""
    if not _UTC_STEM.fullmatch(stem):
        return None, ()
    day, _, clock = stem.removesuffix("_UTC").partition("_")
    try:
        return parse_time_us(f"{day}T{clock.replace('-', ':')}"), ()
    except RecordError:
        return None, ("posted_at",)
