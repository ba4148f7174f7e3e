"""What the addresses in a table tell: the platform and the id of a post, and its images."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

from postbias.posts.importers.image_addresses import split_plain_address
from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.limited_json import parse_limited_json

#: The platform of each host in the address of a post.
_HOSTS = {
    "instagram.com": "instagram", "facebook.com": "facebook", "fb.com": "facebook",
    "threads.net": "threads", "threads.com": "threads", "twitter.com": "x", "x.com": "x",
    "tiktok.com": "tiktok", "douyin.com": "douyin", "youtube.com": "youtube", "youtu.be": "youtube",
    "linkedin.com": "linkedin", "reddit.com": "reddit", "pinterest.com": "pinterest",
    "bsky.app": "bluesky", "t.me": "telegram", "tumblr.com": "tumblr", "gab.com": "gab",
    "truthsocial.com": "truthsocial", "9gag.com": "9gag", "imgur.com": "imgur", "vk.com": "vk",
    "4chan.org": "4chan", "xiaohongshu.com": "xiaohongshu",
}  # fmt: skip

_HOST = re.compile(r"\s*https?://(?:www\.)?([^/:?#\s]+)", re.IGNORECASE)
_SEPARATOR = re.compile(r"[\s,|;]+(?=https?://)")
_EMPTY = frozenset({"", "none", "null", "nan", "[]"})


def platform_in_address(address: str) -> str | None:
    """Return the platform of the address of a post, if it is known."""
    host = _HOST.match(address)
    return _platform_of_host(host[1].lower()) if host else None


@lru_cache
def _platform_of_host(host: str) -> str | None:
    for known, platform in _HOSTS.items():
        if host == known or host.endswith(f".{known}"):
            return platform
    return None


def id_in_address(address: str) -> str:
    """Return the id of a post in its address: in the query, else the last part of the path."""
    if (plain := split_plain_address(address)) is None:
        try:
            parts = urlsplit(address)
        except ValueError:
            return ""
        plain = parts.path, parts.query
    path, query_text = plain
    query = parse_qs(query_text) if query_text else {}
    for key in ("story_fbid", "fbid", "v", "id"):
        if query.get(key):
            return query[key][0]
    return path.rstrip("/").rpartition("/")[2]


def split_addresses(cell: str) -> list[Any]:
    """Split a cell with the images of a post.

    Args:
        cell: An address or a path, several addresses, or a list in JSON, of addresses or of media
            objects of API v2 of X.

    Returns:
        The addresses and paths.
    """
    text = cell.strip()
    if text.lower() in _EMPTY:
        return []
    if text.startswith("["):
        try:
            items = parse_limited_json(text)
        except ValueError:
            items = None
        if isinstance(items, list):
            return [
                get_nested(item, "url") or get_nested(item, "preview_image_url")
                if isinstance(item, dict)
                else item
                for item in items
            ]
    return _SEPARATOR.split(text) if text.startswith("http") else text.split(",")
