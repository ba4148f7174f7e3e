"""Read posts of X (Twitter): API v2, API v1.1, the web interface, and the archive of an account.

Reposts (retweets) are left out: their text and images are of another author. Quotes and replies are
kept with their own text.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from postbias.posts.importers.durations import to_seconds
from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.json_exports import JsonSource, Node, as_list, as_node
from postbias.posts.importers.raw_posts import RawPost
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

X = "x"

_MEDIA_TYPES = {"photo": "image", "video": "video", "animated_gif": "video"}

# A post has one of each.
_TEXT_KEYS = frozenset({"text", "full_text", "legacy", "note_tweet"})
_ID_KEYS = frozenset({"id", "id_str", "rest_id"})

# Parameters of a request that name posts.
_REQUESTED = ("ids", "id")


def unwrap_x(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """List the posts of a page of API v2, or of one post of any API.

    Args:
        page: `{"data": [...], "includes": {...}, "errors": [...]}`, a post, or `{"tweet": ...}`.

    Returns:
        The posts, with their author and media as twarc writes them, and an error for each post that
        was asked for and is gone; None if it has another structure.
    """
    if not isinstance(page, dict):
        return None
    if isinstance(page.get("tweet"), dict) and len(page) == 1:
        page = page["tweet"]
    if _is_post(page):
        return [page]
    data, errors = page.get("data"), page.get("errors")
    if isinstance(data, dict):
        data = [data]
    if isinstance(data, list) and (not data or any(map(_is_post, data))):
        return [*_with_includes(data, page.get("includes")), *_deleted(errors)]
    if data is None and isinstance(errors, list) and errors:
        return list(_deleted(errors))
    if data is None and get_nested(page, "meta", "result_count") == 0:
        return []
    return None


def _is_post(node: object) -> bool:
    if not isinstance(node, dict):
        return False
    return not (_TEXT_KEYS.isdisjoint(node) or _ID_KEYS.isdisjoint(node))


def _with_includes(posts: list[Any], includes: object) -> Iterator[Any]:
    users = _by_key(get_nested(includes, "users"), "id")
    media = _by_key(get_nested(includes, "media"), "media_key")
    for post in posts:
        if not isinstance(post, dict):
            yield post
            continue
        keys = as_list(get_nested(post, "attachments", "media_keys"))
        found = [media.get(str(key), {}) for key in keys]
        author = users.get(str(post.get("author_id")), post.get("author"))
        yield post | {"author": author} | ({"attachments": {"media": found}} if found else {})


def _by_key(items: object, key: str) -> dict[str, Node]:
    return {
        str(item[key]): item for item in as_list(items) if isinstance(item, dict) and key in item
    }


def _deleted(errors: object) -> Iterator[RecordError]:
    """List the posts that were asked for but are gone; others are only mentioned by posts."""
    for error in as_list(errors):
        if get_nested(error, "parameter") in _REQUESTED:
            post_id, title = get_nested(error, "resource_id"), get_nested(error, "title")
            yield RecordError(RejectReason.DELETED, f"{str(post_id)[:40]}: {str(title)[:80]}")


def read_x(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a post of X, in any of its structures.

    Raises:
        RecordError: If it is no post, a repost or deleted.
    """
    node = as_node(node)
    if isinstance(node.get("tweet"), dict) and not _is_post(node):
        node = node["tweet"]
    if "tombstone" in node or node.get("__typename") == "TweetTombstone":
        raise RecordError(RejectReason.DELETED, "a deleted post of which only a note is left")
    if not _is_post(node):
        raise RecordError(RejectReason.BROKEN_FILE, "no known media node of X")
    if isinstance(node.get("legacy"), dict):
        return _read_web(node)
    return _read_v1(node) if "full_text" in node or "id_str" in node else _read_v2(node)


def _read_v2(node: Node) -> RawPost:
    kinds = [get_nested(item, "type") for item in as_list(node.get("referenced_tweets"))]
    if "retweeted" in kinds:
        raise _repost()
    media = as_list(get_nested(node, "attachments", "media"))
    metrics = node.get("public_metrics")
    return RawPost(
        post_id=node.get("id"),
        # Posts of over 280 characters have their whole text here.
        caption=get_nested(node, "note_tweet", "text") or node.get("text"),
        platform=X,
        author=get_nested(node, "author", "username") or _by_id(node.get("author_id")),
        posted_at=node.get("created_at"),
        likes=get_nested(metrics, "like_count"),
        comments=get_nested(metrics, "reply_count"),
        media_type=_media_type(media),
        duration_s=_duration_s(media, "duration_ms"),
        images=[_address(item, "url", "preview_image_url") for item in media],
    )


def _read_v1(node: Node) -> RawPost:
    if node.get("retweeted_status") or _is_repost_text(node):
        raise _repost()
    media = _media_of(node)
    return RawPost(
        post_id=node.get("id_str") or node.get("id"),
        caption=node.get("full_text", node.get("text")),
        platform=X,
        author=get_nested(node, "user", "screen_name")
        or _by_id(get_nested(node, "user", "id_str")),
        posted_at=node.get("created_at"),
        likes=node.get("favorite_count"),
        comments=node.get("reply_count"),
        media_type=_media_type(media),
        duration_s=_duration_s(media, "video_info", "duration_millis"),
        images=[_stored_image(item, node.get("id_str")) for item in media],
    )


def _read_web(node: Node) -> RawPost:
    legacy = node["legacy"]
    if get_nested(legacy, "retweeted_status_result", "result") or _is_repost_text(legacy):
        raise _repost()
    user = get_nested(node, "core", "user_results", "result") or node.get("user")
    name = (
        get_nested(user, "core", "screen_name")
        or get_nested(user, "legacy", "screen_name")
        or get_nested(user, "screen_name")
    )
    media = _media_of(legacy)
    note = get_nested(node, "note_tweet", "note_tweet_results", "result", "text")
    return RawPost(
        post_id=node.get("rest_id") or legacy.get("id_str"),
        caption=note or legacy.get("full_text"),
        platform=X,
        author=name or _by_id(legacy.get("user_id_str")),
        posted_at=legacy.get("created_at"),
        likes=legacy.get("favorite_count"),
        comments=legacy.get("reply_count"),
        media_type=_media_type(media),
        duration_s=_duration_s(media, "video_info", "duration_millis"),
        sponsored=node.get("promoted"),
        images=[_stored_image(item, node.get("rest_id")) for item in media],
    )


def _is_repost_text(node: Node) -> bool:
    # The archive and shortened reposts only say so in their text.
    text = node.get("full_text", node.get("text"))
    return isinstance(text, str) and text.startswith("RT @")


def _repost() -> RecordError:
    return RecordError(RejectReason.REPOST, "a repost: its text is of another author")


def _by_id(number: object) -> str | None:
    return f"id:{number}" if isinstance(number, str | int) and number else None


def _media_of(node: Node) -> list[Any]:
    extended = as_list(get_nested(node, "extended_entities", "media"))
    return extended or as_list(get_nested(node, "entities", "media"))


def _media_type(media: list[Any]) -> str | None:
    if len(media) > 1:
        return "carousel"
    kind = get_nested(media, 0, "type")
    return _MEDIA_TYPES.get(kind) if isinstance(kind, str) else None


def _duration_s(media: list[Any], *path: str) -> object:
    """Return the duration of a single video, which is stated in milliseconds."""
    return to_seconds(get_nested(media[0], *path)) if len(media) == 1 else None


def _address(item: object, *keys: str) -> object:
    return next((url for key in keys if (url := get_nested(item, key))), None)


def _stored_image(item: object, post_id: object) -> object:
    """Return the names of an image: in an archive, the id of its post comes first."""
    address = _address(item, "media_url_https", "media_url")
    if isinstance(address, str) and isinstance(post_id, str):
        return (f"{post_id}-{address.rpartition('/')[2]}", address)
    return address


X_POSTS = JsonSource(unwrap_x, read_x, ("id_str", "rest_id", "id"))
