"""Media nodes of Instagram's JSON, told by their shape: GraphQL (list and detail view) or API v1.

Knows no files and no wrappers; see `postbias.posts.importers.instagram_pages` for those.
"""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import urlsplit

from postbias.posts.importers.records import FaultError
from postbias.posts.importers.text_repair import clean
from postbias.posts.reasons import RejectReason

PLATFORM = "instagram"

_TYPES: dict[int, str] = {1: "image", 2: "video", 8: "carousel"}
_TYPENAMES = {"Image": "image", "Video": "video", "Sidecar": "carousel"}

# A post's time beyond these is a damaged field: 2005 to 2100.
_EPOCH_S = range(1_104_537_600, 4_102_444_800)


class Media(NamedTuple):
    """What a media node says. A tuple, because a frozen dataclass takes ten times as long to make.

    Attributes:
        post_id: The number of the post, None if the node has none.
        author: The owner's name, `id:<number>` where only that is given, None if neither.
        caption: Its text, repaired.
        sponsored: Whether it is paid for, if the node says.
        posted_at_us: Microseconds since 1970 (UTC).
        likes: Number of likes.
        comments: Number of comments.
        media_type: `image`, `video` or `carousel`.
        shortcode: The id in its URL.
    """

    post_id: str | None
    author: str | None
    caption: str
    sponsored: bool | None
    posted_at_us: int | None
    likes: int | None
    comments: int | None
    media_type: str | None
    shortcode: str | None


def is_media(node: object) -> bool:
    """Tell whether an object is a media node of either shape.

    Args:
        node: Anything out of JSON.

    Returns:
        Whether it is one.
    """
    return isinstance(node, dict) and (_is_graphql(node) or _is_api_v1(node))


def _is_graphql(node: dict[str, Any]) -> bool:
    return "id" in node and any(
        key in node
        for key in ("edge_media_to_caption", "taken_at_timestamp", "edge_media_preview_like")
    )


def _is_api_v1(node: dict[str, Any]) -> bool:
    return "media_type" in node and ("pk" in node or "id" in node)


def read_media(node: dict[str, Any]) -> Media:
    """Read a media node.

    Args:
        node: A node for which `is_media` holds.

    Returns:
        What it says.

    Raises:
        FaultError: If its caption is no text.
    """
    return _read_api_v1(node) if _is_api_v1(node) else _read_graphql(node)


def _read_graphql(node: dict[str, Any]) -> Media:
    sponsors = dig(node, "edge_media_to_sponsor_user", "edges")
    paid = [node[key] for key in ("is_paid_partnership", "is_ad") if key in node]
    is_known = isinstance(sponsors, list) or paid
    likes = dig(node, "edge_media_preview_like", "count")
    comments = dig(node, "edge_media_to_comment", "count")
    if comments is None:
        comments = dig(node, "edge_media_to_parent_comment", "count")
    return Media(
        post_id=_number(node.get("id")),
        author=_author(node.get("owner")),
        caption=_caption(dig(node, "edge_media_to_caption", "edges", 0, "node", "text")),
        sponsored=bool(sponsors) or any(paid) if is_known else None,
        posted_at_us=_time(node.get("taken_at_timestamp")),
        likes=_count(likes if likes is not None else dig(node, "edge_liked_by", "count")),
        comments=_count(comments),
        media_type=_graphql_type(node),
        shortcode=_text(node.get("shortcode")),
    )


def _graphql_type(node: dict[str, Any]) -> str | None:
    name = node.get("__typename")
    if isinstance(name, str):
        return _TYPENAMES.get(name.removeprefix("XDT").removeprefix("Graph"))
    is_video = node.get("is_video")
    # Without a type name a carousel looks like an image: only a video is certain.
    return "video" if is_video is True else None


def _read_api_v1(node: dict[str, Any]) -> Media:
    paid = [node[key] for key in ("is_paid_partnership", "is_ad") if key in node]
    kind = node.get("media_type")
    is_ad = bool(node.get("ad_id") or node.get("dr_ad_type"))
    identity = node.get("pk", node.get("id"))
    return Media(
        # "<post>_<owner>" in `id`, the post alone in `pk`.
        post_id=_number(str(identity).partition("_")[0] if identity is not None else None),
        author=_author(node.get("user") or node.get("owner")),
        caption=_caption(dig(node, "caption", "text")),
        sponsored=(is_ad or any(paid)) if is_ad or paid else None,
        posted_at_us=_time(node.get("taken_at")),
        likes=_count(node.get("like_count")),
        comments=_count(node.get("comment_count")),
        media_type=_TYPES.get(kind) if isinstance(kind, int) else None,
        shortcode=_text(node.get("code")),
    )


def dig(value: Any, *path: str | int) -> Any:  # noqa: ANN401 - foreign JSON
    """Follow keys and positions into JSON.

    Args:
        value: Where to begin.
        *path: Keys of objects and positions of arrays.

    Returns:
        What is there; None if the way ends before.
    """
    try:
        for step in path:
            value = value[step]
    except (LookupError, TypeError):
        return None
    return value


def _caption(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise FaultError(
            RejectReason.BROKEN_FILE, f"its caption is no text but {type(value).__name__}"
        )
    return clean(value)


def _author(owner: object) -> str | None:
    name = _text(dig(owner, "username"))
    if name:
        return name
    number = _number(dig(owner, "id")) or _number(dig(owner, "pk"))
    return f"id:{number}" if number else None


def _text(value: object) -> str | None:
    return clean(value).strip() or None if isinstance(value, str) else None


def _number(value: object) -> str | None:
    """Return an id that JSON gives as text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return clean(str(value)).strip() or None


def _count(value: object) -> int | None:
    # -1 is what some views say for "hidden".
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63:
        return value
    return None


def _time(value: object) -> int | None:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and not isinstance(value, bool) and value in _EPOCH_S:
        return value * 1_000_000
    return None


def picture_names(node: dict[str, Any]) -> list[str]:
    """Find out under which names the images of a node were once kept.

    Args:
        node: A node for which `is_media` holds.

    Returns:
        The file names at the end of its image addresses, in order.
    """
    if _is_api_v1(node):
        slides = node.get("carousel_media")
        urls = [
            dig(slide, "image_versions2", "candidates", 0, "url")
            for slide in (slides if isinstance(slides, list) and slides else [node])
        ]
    else:
        children = dig(node, "edge_sidecar_to_children", "edges")
        edges = children if isinstance(children, list) and children else [{"node": node}]
        urls = [dig(edge, "node", "display_url") for edge in edges]
    names = (_name(url) for url in urls if isinstance(url, str))
    return [name for name in names if name]


def _name(url: str) -> str | None:
    try:
        return clean(urlsplit(url).path.rpartition("/")[2]) or None
    except ValueError:  # urlsplit on a damaged host
        return None
