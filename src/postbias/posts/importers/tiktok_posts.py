"""Read posts of TikTok: the Research API, the web interface, and an account's own download."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.json_exports import JsonSource, Node, as_list, as_node
from postbias.posts.importers.raw_posts import RawPost, join_texts
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

TIKTOK = "tiktok"

# What a download says for a title or a cover that a post does not have.
_NONE = "N/A"

_VIDEO_ID = re.compile(r"/video/(\d+)|[?&]item_id=(\d+)")


def _is_research(node: object) -> bool:
    return (
        isinstance(node, dict)
        and "id" in node
        and ("video_description" in node or ("create_time" in node and "username" in node))
    )


def _is_comment(node: object) -> bool:
    return isinstance(node, dict) and "video_id" in node and "text" in node


def _is_web(node: object) -> bool:
    return isinstance(node, dict) and "id" in node and ("desc" in node or "createTime" in node)


def unwrap_tiktok(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """List the videos and comments of a page of the Research API, or a single one."""
    if _is_research(page) or _is_comment(page) or _is_web(page):
        return [page]
    data = get_nested(page, "data")
    if data is None:
        data = page
    for key in ("videos", "comments", "user_pinned_videos", "user_liked_videos"):
        if isinstance(items := get_nested(data, key), list):
            return items
    if isinstance(data, list):
        return data if all(_is_research(item) or _is_comment(item) for item in data) else None
    return None


def read_tiktok(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a video of the Research API or of the web interface.

    Raises:
        RecordError: If it is a comment, or no video.
    """
    node = as_node(node)
    if _is_comment(node):
        raise RecordError(RejectReason.COMMENT, "a comment, not a post")
    if _is_research(node):
        return RawPost(
            post_id=node.get("id"),
            caption=node.get("video_description"),
            platform=TIKTOK,
            author=node.get("username"),
            posted_at=node.get("create_time"),
            likes=node.get("like_count"),
            comments=node.get("comment_count"),
            media_type="video",
            duration_s=node.get("video_duration"),
            transcript=node.get("voice_to_text"),
        )
    if _is_web(node):
        return _read_web(node)
    raise RecordError(RejectReason.BROKEN_FILE, "no known media node of TikTok")


def _read_web(node: Node) -> RawPost:
    author = node.get("author")
    if isinstance(author, dict):
        author = author.get("uniqueId") or author.get("id")
    stats = node.get("stats") or node.get("statsV2")
    photos = as_list(get_nested(node, "imagePost", "images"))
    addresses = [get_nested(photo, "imageURL", "urlList", 0) for photo in photos]
    cover = get_nested(node, "video", "cover") or get_nested(node, "video", "originCover")
    if node.get("isDeleted") or get_nested(node, "takeDown") == 1:
        raise RecordError(RejectReason.DELETED, "a deleted post")
    return RawPost(
        post_id=node.get("id"),
        caption=node.get("desc"),
        platform=TIKTOK,
        author=author,
        posted_at=node.get("createTime"),
        likes=get_nested(stats, "diggCount"),
        comments=get_nested(stats, "commentCount"),
        media_type=("carousel" if len(photos) > 1 else "image") if photos else "video",
        sponsored=bool(node.get("isAd") or node.get("adAuthorization")),
        images=[url for url in addresses if url] or ([cover] if cover else []),
        # A post of photos states that of its music, or 0.
        duration_s=None if photos else get_nested(node, "video", "duration"),
    )


TIKTOK_POSTS = JsonSource(unwrap_tiktok, read_tiktok)


def unwrap_tiktok_download(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """List the account's own posts in `user_data_tiktok.json`; None if it has no such list."""
    if not isinstance(page, dict):
        return None
    has_list = False
    posts: list[Any] = []
    for part in (get_nested(page, "Video", "Videos"), get_nested(page, "Post", "Posts")):
        # An account without posts has null.
        if isinstance(part, dict) and isinstance(part.get("VideoList", 0), list | None):
            has_list = True
            posts += as_list(part["VideoList"])
    author = _account_name(page)
    return [_with_author(post, author) for post in posts] if has_list else None


def _account_name(page: Node) -> object:
    for path in (
        ("Profile", "Profile Information", "ProfileMap", "userName"),
        ("Profile And Settings", "Profile Info", "ProfileMap", "userName"),
    ):
        if name := get_nested(page, *path):
            return name
    return "account owner"


def _with_author(post: object, author: object) -> object:
    # The keys are written "Date" or "date", depending on the year.
    if not isinstance(post, dict):
        return post
    return {key.lower(): value for key, value in post.items()} | {"author": author}


def read_tiktok_download(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a post of an account's own download.

    Raises:
        RecordError: If it is no post.
    """
    node = as_node(node)
    link, time = node.get("link"), node.get("date")
    if not isinstance(link, str) and not isinstance(time, str):
        raise RecordError(RejectReason.BROKEN_FILE, "no known media node: neither Date nor Link")
    link = link if isinstance(link, str) else ""
    found = _VIDEO_ID.search(link)
    cover = node.get("coverimage")
    return RawPost(
        post_id=found[1] or found[2] if found else _digest(time, link),
        caption=None if (title := node.get("title")) == _NONE else join_texts(title),
        platform=TIKTOK,
        author=node["author"],
        posted_at=time,
        likes=node.get("likes"),
        images=list(_images(cover, link)),
        media_type="video" if link else None,
    )


def _images(cover: object, link: str) -> Iterator[object]:
    if isinstance(cover, str) and cover not in {"", _NONE}:
        yield cover
    elif link:
        yield link


def _digest(time: object, link: str) -> str:
    # The address of a file expires; its path stays the same.
    content = f"{time}\0{link.partition('?')[0]}"
    return f"tiktok-{hashlib.blake2b(content.encode(errors='replace'), digest_size=8).hexdigest()}"


TIKTOK_DOWNLOAD = JsonSource(unwrap_tiktok_download, read_tiktok_download, ("link", "date"))
