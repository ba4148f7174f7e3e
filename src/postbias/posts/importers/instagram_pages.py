"""Pages and single posts as Instagram's own interfaces answer: GraphQL and mobile API v1.

Reads a JSON file or a folder of them (also `.json.xz`). Image addresses are never fetched; images
that lie in the folder are found by the file name at the end of their address, or by the post's id
or shortcode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from postbias.errors import InputError, LayoutError
from postbias.posts.importers.export_files import (
    PictureIndex,
    digest_tree,
    is_plain_name,
    read_json,
    walk,
)
from postbias.posts.importers.instagram_nodes import (
    PLATFORM,
    Media,
    dig,
    is_media,
    picture_names,
    read_media,
)
from postbias.posts.importers.records import (
    FaultError,
    Picture,
    PictureFault,
    Post,
    Record,
    Reject,
    Source,
    Unit,
    WrapperError,
)
from postbias.posts.reasons import RejectReason

JSON_ENDINGS = (".json", ".json.xz")

_SINGLE = ("shortcode_media", "xdt_shortcode_media")

Unwrap = Callable[[Any], "list[Any] | None"]


def read_graphql(src: Path) -> Source:
    """Open GraphQL pages and single posts.

    Args:
        src: A JSON file or a folder of them.

    Returns:
        One unit per file.
    """
    return _read(src, unwrap_graphql)


def read_api_v1(src: Path) -> Source:
    """Open mobile-API pages and single posts.

    Args:
        src: A JSON file or a folder of them.

    Returns:
        One unit per file.
    """
    return _read(src, unwrap_api_v1)


def unwrap_graphql(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """Find the media nodes of a GraphQL answer.

    Args:
        page: The answer: `{"data" or "graphql": {"user" or "hashtag" or ...: {"edge_...": ...}}}`,
            `{"data" or "graphql": {"shortcode_media": ...}}`, or a bare media node.

    Returns:
        Its nodes; None if it is no GraphQL answer with posts.
    """
    if is_media(page) and "media_type" not in page:
        return [page]
    root = dig(page, "data") or dig(page, "graphql")
    if not isinstance(root, dict):
        return None
    for name in _SINGLE:
        if is_media(root.get(name)):
            return [root[name]]
    entities = [value for value in root.values() if isinstance(value, dict)]
    below = [value for entity in entities for value in entity.values()]
    pages = [nodes for nodes in map(_connection, [*entities, *below]) if nodes is not None]
    # A list of followers or related profiles is a connection too, but not of posts.
    posts = [nodes for nodes in pages if not nodes or any(map(is_media, nodes))]
    if not posts or (any(pages) and not any(posts)):
        return None
    return [node for nodes in posts for node in nodes]


def _connection(value: object) -> list[Any] | None:
    edges = dig(value, "edges")
    if not isinstance(edges, list):
        return None
    return [edge.get("node") if isinstance(edge, dict) else None for edge in edges]


def unwrap_api_v1(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """Find the media nodes of a mobile-API answer.

    Args:
        page: The answer: `items`, `feed_items` or `sections`, or a bare media node.

    Returns:
        Its nodes; None if it is no such answer. Entries that are no posts (suggested users, the
        end of the feed) are left out.
    """
    if is_media(page) and "media_type" in page:
        return [page]
    if isinstance(items := dig(page, "items"), list):
        # Saved and tagged posts come as {"media": {...}}.
        return [dig(item, "media") or item for item in items]
    if isinstance(items := dig(page, "feed_items"), list):
        return [item["media_or_ad"] for item in items if dig(item, "media_or_ad") is not None]
    if isinstance(sections := dig(page, "sections"), list):
        medias = [dig(section, "layout_content", "medias") for section in sections]
        return [dig(one, "media") for group in medias for one in group or []]
    return None


_LAYOUTS: dict[str, Unwrap] = {"graphql": unwrap_graphql, "api-v1": unwrap_api_v1}


def describe_wrapper(page: Any) -> str:  # noqa: ANN401 - foreign JSON
    """Say what an unknown wrapper looks like and which layout would take it.

    Args:
        page: The JSON that was not understood.

    Returns:
        One line.
    """
    other = [name for name, unwrap in _LAYOUTS.items() if unwrap(page) is not None]
    if other:
        return f"its wrapper is of layout {other[0]}"
    if dig(page, "node") is not None:
        return "its wrapper is of layout instaloader"
    if isinstance(page, dict):
        return f"no known wrapper: its keys are {sorted(map(str, page))[:5]}"
    return f"no known wrapper: a JSON {type(page).__name__}"


def _read(src: Path, unwrap: Unwrap) -> Source:
    if not src.exists():
        raise InputError("no such file or folder", seen=str(src))
    root = src if src.is_dir() else src.parent
    names = _json_names(src)
    if not names:
        raise LayoutError("no .json or .json.xz file", seen=str(src))
    index = PictureIndex(src) if src.is_dir() else None
    load = partial(_load, str(root), index, unwrap)
    return Source(
        digest=digest_tree(src)[0],
        n_units=len(names),
        units=lambda: _units(names, load),
    )


def _units(names: list[str], load: Callable[[str], Iterator[Record]]) -> Iterator[Unit]:
    for name in names:
        yield partial(load, name)


def _json_names(src: Path) -> list[str]:
    if not src.is_dir():
        return [src.name] if src.name.endswith(JSON_ENDINGS) else []
    return [
        f"{prefix}{name}"
        for prefix, names in walk(src)
        for name in names
        if name.endswith(JSON_ENDINGS)
    ]


def _load(root: str, index: PictureIndex | None, unwrap: Unwrap, name: str) -> Iterator[Record]:
    try:
        page = read_json(f"{root}/{name}")
        nodes = unwrap(page)
        if nodes is None:
            raise WrapperError(describe_wrapper(page))
    except FaultError as fault:
        yield Reject.of(fault, name)
        return
    for node in nodes:
        post_id = None
        try:
            if not is_media(node):
                raise FaultError(RejectReason.BROKEN_FILE, "one of its entries is no media node")
            media = read_media(node)
            post_id = media.post_id
            yield to_post(media, name, _pictures(node, media, index))
        except FaultError as fault:
            yield Reject.of(fault, name, post_id)


def to_post(media: Media, source: str, found: list[Picture | PictureFault]) -> Post:
    """Make a post of a media node and its images.

    Args:
        media: What the node says.
        source: The file it came from.
        found: Its images.

    Returns:
        The post.

    Raises:
        FaultError: If the node has no id.
    """
    if media.post_id is None:
        raise FaultError(RejectReason.MISSING_ID, "a media node without an id")
    return Post(
        post_id=media.post_id,
        # Nobody knows who: such a post is its own author, lest strangers become one person.
        author=media.author or f"post:{media.post_id}",
        caption=media.caption,
        source=source,
        platform=PLATFORM,
        pictures=tuple(one for one in found if isinstance(one, Picture)),
        faults=tuple(one for one in found if isinstance(one, PictureFault)),
        sponsored=media.sponsored,
        posted_at_us=media.posted_at_us,
        likes=media.likes,
        comments=media.comments,
        media_type=media.media_type,
    )


def _pictures(
    node: dict[str, Any], media: Media, index: PictureIndex | None
) -> list[Picture | PictureFault]:
    """Look for images beside the JSON: these exports need have none, so none is a fault."""
    if not index:
        return []
    names = [name for name in picture_names(node) if is_plain_name(name) and index.find(name)]
    if not names:
        stems = [stem for stem in (media.post_id, media.shortcode) if stem and is_plain_name(stem)]
        names = [f"{stem}.jpg" for stem in stems if index.find(f"{stem}.jpg")][:1]
    return [index.read(name) for name in names]
