"""Import pages and single posts of Instagram's GraphQL and mobile (v1) APIs.

Reads a JSON file or a folder of them (also `.json.xz`). Image URLs are never fetched: images are
found in the folder by the file name at the end of their URL, or by the post's id or shortcode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from postbias.errors import InputError, LayoutError
from postbias.posts.authorship import make_own_author
from postbias.posts.importers.export_files import (
    digest_tree,
    read_json_named,
    walk_folders,
)
from postbias.posts.importers.image_folder import ImageFolder
from postbias.posts.importers.instagram_nodes import (
    PLATFORM,
    MediaNode,
    get_nested,
    image_addresses,
    is_media_node,
    read_media_node,
    video_addresses,
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
    note_encoding,
    split_images,
)
from postbias.posts.importers.unknown_json import to_unknown_error
from postbias.posts.reasons import RejectReason

JSON_SUFFIXES = (".json", ".json.xz")

_SINGLE_POST_KEYS = ("shortcode_media", "xdt_shortcode_media")

Unwrap = Callable[[Any], "list[Any] | None"]


def open_graphql(src: Path, encoding: str | None = None) -> Export:
    """Open GraphQL pages and single posts, a JSON file or a folder of them: one unit per file."""
    return _open_pages(src, encoding, unwrap_graphql)


def open_api_v1(src: Path, encoding: str | None = None) -> Export:
    """Open mobile-API pages and single posts, a JSON file or a folder: one unit per file."""
    return _open_pages(src, encoding, unwrap_api_v1)


def unwrap_graphql(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """Extract the media nodes of a GraphQL response.

    Args:
        page: `{"data" or "graphql": {"user" or "hashtag" or ...: {"edge_...": ...}}}`,
            `{"data" or "graphql": {"shortcode_media": ...}}`, or a bare media node.

    Returns:
        Its nodes; None if it is not a GraphQL response with posts.
    """
    if is_media_node(page) and "media_type" not in page:
        return [page]
    root = get_nested(page, "data") or get_nested(page, "graphql")
    if not isinstance(root, dict):
        return None
    for name in _SINGLE_POST_KEYS:
        if is_media_node(root.get(name)):
            return [root[name]]
    entities = [value for value in root.values() if isinstance(value, dict)]
    children = [value for entity in entities for value in entity.values()]
    connections = [
        nodes for nodes in map(_connection_nodes, [*entities, *children]) if nodes is not None
    ]
    # A list of followers or related profiles is a connection too, but not of posts.
    of_posts = [nodes for nodes in connections if not nodes or any(map(is_media_node, nodes))]
    if not of_posts or (any(connections) and not any(of_posts)):
        return None
    return [node for nodes in of_posts for node in nodes]


def _connection_nodes(value: object) -> list[Any] | None:
    edges = get_nested(value, "edges")
    if not isinstance(edges, list):
        return None
    return [edge.get("node") if isinstance(edge, dict) else None for edge in edges]


def unwrap_api_v1(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """Extract the media nodes of a mobile-API response.

    Args:
        page: A response with `items`, `feed_items` or `sections`, or a bare media node.

    Returns:
        Its nodes, without entries that are not posts (suggested users, the end of the feed); None
        if it is not such a response.
    """
    if is_media_node(page) and "media_type" in page:
        return [page]
    if isinstance(items := get_nested(page, "items"), list):
        # Saved and tagged posts come as {"media": {...}}.
        return [get_nested(item, "media") or item for item in items]
    if isinstance(items := get_nested(page, "feed_items"), list):
        return [
            item["media_or_ad"] for item in items if get_nested(item, "media_or_ad") is not None
        ]
    if isinstance(sections := get_nested(page, "sections"), list):
        medias = [get_nested(section, "layout_content", "medias") for section in sections]
        return [get_nested(item, "media") for group in medias for item in group or []]
    return None


def _open_pages(src: Path, encoding: str | None, unwrap: Unwrap) -> Export:
    if not src.exists():
        raise InputError("no such file or folder", seen=str(src))
    root = src if src.is_dir() else src.parent
    names = _json_names(src)
    if not names:
        raise LayoutError("no .json or .json.xz file in SRC", seen=str(src))
    load = partial(_load, ImageFolder(root), (unwrap, encoding))
    return Export(
        digest=digest_tree(src),
        n_units=len(names),
        units=lambda: _units(names, load),
    )


def _units(names: list[str], load: Callable[[str], Iterator[Record]]) -> Iterator[ReadUnit]:
    for name in names:
        yield partial(load, name)


def _json_names(src: Path) -> list[str]:
    if not src.is_dir():
        return [src.name] if src.name.endswith(JSON_SUFFIXES) else []
    return [
        f"{prefix}{name}"
        for prefix, names in walk_folders(src)
        for name in names
        if name.endswith(JSON_SUFFIXES)
    ]


def _load(folder: ImageFolder, reading: tuple[Unwrap, str | None], name: str) -> Iterator[Record]:
    unwrap, encoding = reading
    try:
        page, file_encoding = read_json_named(folder.path_of(name), encoding)
        nodes = unwrap(page)
        if nodes is None:
            raise to_unknown_error(page)
    except RecordError as error:
        yield ImportReject.from_error(error, name)
        return
    for node in nodes:
        post_id = None
        try:
            if not is_media_node(node):
                raise RecordError(RejectReason.BROKEN_FILE, "one of its entries is no media node")
            media = read_media_node(node)
            post_id = media.post_id
            post = post_from_media(media, name, _find_images(node, media, folder))
            yield from note_encoding([post], file_encoding)
        except RecordError as error:
            yield ImportReject.from_error(error, name, post_id)


def post_from_media(
    media: MediaNode, source: str, images: list[ImageFile | ImageFault]
) -> ImportedPost:
    """Convert a media node and its images to a post.

    Args:
        media: Content of the node.
        source: The file it was read from.
        images: Its images, in order.

    Returns:
        The post; without a known author, it is its own author.

    Raises:
        RecordError: If the node has no id.
    """
    if media.post_id is None:
        raise RecordError(RejectReason.MISSING_ID, "a media node without an id")
    files, faults = split_images(images)
    return ImportedPost(
        post_id=media.post_id,
        # A post without a known author is its own author; strangers must not share one.
        author=media.author or make_own_author(media.post_id),
        caption=media.caption,
        source=source,
        platform=PLATFORM,
        images=files,
        image_faults=faults,
        sponsored=media.sponsored,
        posted_at_us=media.posted_at_us,
        likes=media.likes,
        comments=media.comments,
        media_type=media.media_type,
        duration_s=media.duration_s,
        emptied_cells=media.emptied_cells,
    )


def _find_images(
    node: dict[str, Any], media: MediaNode, folder: ImageFolder
) -> list[ImageFile | ImageFault]:
    """Find the images of a post by the names in their addresses, else by its id or shortcode.

    Videos are optional: their cover is an image of the post.
    """
    images = [folder.read(address) for address in image_addresses(node)]
    videos = [folder.read(address) for address in video_addresses(node)]
    videos = [video for video in videos if isinstance(video, ImageFile)]
    if videos or any(isinstance(image, ImageFile) for image in images):
        return [*images, *videos]
    found = folder.read_ids([media.post_id, media.shortcode])
    return [*found, *images[len(found) :]]
