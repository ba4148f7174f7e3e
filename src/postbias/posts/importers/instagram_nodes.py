"""Read media nodes of Instagram's JSON: GraphQL (list and detail view) and API v1.

The structure of a node decides which of them it is.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from postbias.posts.importers.durations import parse_duration_s
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.table_cells import parse_count, parse_time_us
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.reasons import RejectReason

PLATFORM = "instagram"

_MEDIA_TYPES: dict[int, str] = {1: "image", 2: "video", 8: "carousel"}
_GRAPHQL_KEYS = frozenset(
    {"edge_media_to_caption", "taken_at_timestamp", "edge_media_preview_like"}
)
_TYPENAMES = {"Image": "image", "Video": "video", "Sidecar": "carousel"}


class MediaNode(NamedTuple):
    """Content of a media node. A frozen dataclass would take ten times as long to create.

    Attributes:
        post_id: Numeric id of the post, if there is one.
        author: Name of the owner, or `id:<number>` if only that is known.
        caption: Repaired text; "" if there is none.
        sponsored: Whether it is paid for, if known.
        posted_at_us: Microseconds since 1970 (UTC), if known.
        likes: Number of likes, if known.
        comments: Number of comments, if known.
        media_type: `image`, `video` or `carousel`, if known.
        shortcode: Id in the URL of the post.
        emptied_cells: Fields with a value that is invalid and left out.
        duration_s: Duration of its video in seconds, if known.
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
    emptied_cells: tuple[str, ...] = ()
    duration_s: float | None = None


def is_media_node(node: object) -> bool:
    """Tell whether a JSON value is a media node of either API."""
    return isinstance(node, dict) and (_is_graphql(node) or _is_api_v1(node))


def _is_graphql(node: dict[str, Any]) -> bool:
    return "id" in node and not _GRAPHQL_KEYS.isdisjoint(node)


def _is_api_v1(node: dict[str, Any]) -> bool:
    return "media_type" in node and ("pk" in node or "id" in node)


def read_media_node(node: dict[str, Any]) -> MediaNode:
    """Read a media node.

    Args:
        node: A value for which `is_media_node` holds.

    Returns:
        Its content; fields that are missing or invalid are None.

    Raises:
        RecordError: If its caption is not text.
    """
    return _read_api_v1(node) if _is_api_v1(node) else _read_graphql(node)


def _read_graphql(node: dict[str, Any]) -> MediaNode:
    sponsors = get_nested(node, "edge_media_to_sponsor_user", "edges")
    paid = [node[key] for key in ("is_paid_partnership", "is_ad") if key in node]
    is_known = isinstance(sponsors, list) or paid
    likes = get_nested(node, "edge_media_preview_like", "count")
    if likes is None:
        likes = get_nested(node, "edge_liked_by", "count")
    comments = get_nested(node, "edge_media_to_comment", "count")
    if comments is None:
        comments = get_nested(node, "edge_media_to_parent_comment", "count")
    emptied: list[str] = []
    return MediaNode(
        post_id=_read_id(node.get("id")),
        author=_read_author(node.get("owner")),
        caption=_read_caption(
            get_nested(node, "edge_media_to_caption", "edges", 0, "node", "text")
        ),
        sponsored=bool(sponsors) or any(paid) if is_known else None,
        posted_at_us=_read_time(node.get("taken_at_timestamp"), emptied),
        likes=_read_count(likes, "likes", emptied),
        comments=_read_count(comments, "comments", emptied),
        media_type=_read_graphql_type(node),
        shortcode=_read_text(node.get("shortcode")),
        duration_s=_read_duration_s(node.get("video_duration"), emptied),
        emptied_cells=tuple(emptied),
    )


def _read_graphql_type(node: dict[str, Any]) -> str | None:
    name = node.get("__typename")
    if isinstance(name, str):
        return _TYPENAMES.get(name.removeprefix("XDT").removeprefix("Graph"))
    is_video = node.get("is_video")
    # Without a type name, a carousel looks like an image: only a video is certain.
    return "video" if is_video is True else None


def _read_api_v1(node: dict[str, Any]) -> MediaNode:
    paid = [node[key] for key in ("is_paid_partnership", "is_ad") if key in node]
    media_type = node.get("media_type")
    is_ad = bool(node.get("ad_id") or node.get("dr_ad_type"))
    identity = node.get("pk", node.get("id"))
    emptied: list[str] = []
    return MediaNode(
        # `id` is "<post>_<owner>", `pk` is the post alone.
        post_id=_read_id(str(identity).partition("_")[0] if identity is not None else None),
        author=_read_author(node.get("user") or node.get("owner")),
        caption=_read_caption(get_nested(node, "caption", "text")),
        sponsored=(is_ad or any(paid)) if is_ad or paid else None,
        posted_at_us=_read_time(node.get("taken_at"), emptied),
        likes=_read_count(node.get("like_count"), "likes", emptied),
        comments=_read_count(node.get("comment_count"), "comments", emptied),
        media_type=_MEDIA_TYPES.get(media_type) if isinstance(media_type, int) else None,
        shortcode=_read_text(node.get("code")),
        duration_s=_read_duration_s(node.get("video_duration"), emptied),
        emptied_cells=tuple(emptied),
    )


def get_nested(value: Any, *path: str | int) -> Any:  # noqa: ANN401 - foreign JSON
    """Return the value at a path of object keys and array indices; None if there is none."""
    for step in path:
        if type(value) is dict:
            # Keys are often missing, and an exception takes ten times as long.
            value = value.get(step)
        elif value is None:
            return None
        else:
            try:
                value = value[step]
            except (LookupError, TypeError):
                return None
    return value


def _read_caption(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise RecordError(
            RejectReason.BROKEN_FILE, f"its caption is no text but {type(value).__name__}"
        )
    return repair_text(value)


def _read_author(owner: object) -> str | None:
    name = _read_text(get_nested(owner, "username"))
    if name:
        return name
    number = _read_id(get_nested(owner, "id")) or _read_id(get_nested(owner, "pk"))
    return f"id:{number}" if number else None


def _read_text(value: object) -> str | None:
    return repair_text(value).strip() or None if isinstance(value, str) else None


def _read_id(value: object) -> str | None:
    """Return an id that is text or a number in JSON."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return repair_text(str(value)).strip() or None


def _read_count(value: object, field: str, emptied: list[str]) -> int | None:
    # Some views write -1 for hidden counts.
    if value is None or value == -1:
        return None
    try:
        if not isinstance(value, bool):
            return parse_count(value, field)
    except RecordError:
        pass
    emptied.append(field)
    return None


def _read_time(value: object, emptied: list[str]) -> int | None:
    # The APIs write 0 for an unknown time.
    if value is None or value == 0:
        return None
    try:
        if isinstance(value, int | float | str) and not isinstance(value, bool):
            return parse_time_us(value)
    except RecordError:
        pass
    emptied.append("posted_at")
    return None


def _read_duration_s(value: object, emptied: list[str]) -> float | None:
    if value is None:
        return None
    try:
        return parse_duration_s(value)
    except RecordError:
        emptied.append("duration_s")
        return None


def image_addresses(node: dict[str, Any]) -> list[str]:
    """List the image URLs of a media node, in order."""
    return [repair_text(url) for slide in _slides(node) if (url := _image_address(slide))]


def video_addresses(node: dict[str, Any]) -> list[str]:
    """List the video URLs of a media node, in order."""
    paths: tuple[tuple[str | int, ...], ...] = (("video_versions", 0, "url"), ("video_url",))
    urls = [get_nested(slide, *path) for slide in _slides(node) for path in paths]
    return [repair_text(url) for url in urls if isinstance(url, str) and url]


def photo_numbers(node: dict[str, Any]) -> list[int]:
    """List the positions of the photos in a carousel, from 1; [0] for a post of one photo.

    Slides without an image URL and videos, whose URL is that of a preview, are left out.
    """
    slides = _slides(node)
    return [
        0 if slide is node else number
        for number, slide in enumerate(slides, start=1)
        if _image_address(slide)
        and get_nested(slide, "is_video") is not True
        and get_nested(slide, "media_type") != 2
    ]


def _slides(node: dict[str, Any]) -> list[Any]:
    """Return the slides of a carousel; of another post, the node itself."""
    children = node.get("carousel_media")
    if not _is_api_v1(node):
        edges = get_nested(node, "edge_sidecar_to_children", "edges")
        is_list = isinstance(edges, list)
        children = [get_nested(edge, "node") for edge in edges] if is_list else None
    return children if isinstance(children, list) and children else [node]


def _image_address(slide: object) -> str | None:
    for path in (("image_versions2", "candidates", 0, "url"), ("display_url",)):
        url = get_nested(slide, *path)
        if isinstance(url, str) and url:
            return url
    return None
