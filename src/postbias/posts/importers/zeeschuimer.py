"""Read NDJSON of Zeeschuimer, and of 4CAT data sets that were imported from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.json_exports import JsonSource, as_node
from postbias.posts.importers.raw_posts import RawPost
from postbias.posts.importers.records import RecordError
from postbias.posts.importers.tiktok_posts import read_tiktok
from postbias.posts.importers.web_posts import (
    read_facebook,
    read_instagram,
    read_linkedin,
    read_threads,
)
from postbias.posts.importers.x_posts import read_x
from postbias.posts.reasons import RejectReason

#: The reader of each platform, by the end of `source_platform`.
PLATFORMS: dict[str, Callable[[Any], RawPost]] = {
    "instagram.com": read_instagram,
    "tiktok.com": read_tiktok,
    "twitter.com": read_x,
    "x.com": read_x,
    "threads.net": read_threads,
    "threads.com": read_threads,
    "linkedin.com": read_linkedin,
    "facebook.com": read_facebook,
}


def unwrap_zeeschuimer(line: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """Return a line of Zeeschuimer or 4CAT as a list; None if it is neither."""
    if not isinstance(line, dict):
        return None
    is_capture = "data" in line and "source_platform" in line
    return [line] if is_capture or isinstance(line.get("__import_meta"), dict) else None


def read_zeeschuimer(line: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read the post of a line.

    Raises:
        RecordError: If its platform is unknown, or it is no post of it.
    """
    line = as_node(line)
    is_capture = "source_platform" in line
    meta = line if is_capture else line["__import_meta"]
    platform = str(meta.get("source_platform") or "")
    if "comments" in platform:
        raise RecordError(RejectReason.COMMENT, f"a comment of {platform[:60]}, not a post")
    host = platform.lower().removeprefix("www.")
    read = PLATFORMS.get(host)
    if read is None:
        raise RecordError(
            RejectReason.BROKEN_FILE,
            f"platform {platform[:60]!r} is not supported, but {', '.join(PLATFORMS)}",
        )
    post = read(line["data"] if is_capture else line)
    if not post.post_id:
        post.post_id = meta.get("item_id") or get_nested(line, "item_id")
    return post


ZEESCHUIMER = JsonSource(unwrap_zeeschuimer, read_zeeschuimer, ("item_id", "id"))
