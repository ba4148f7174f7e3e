"""Columns of the tables that research tools write."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from postbias.errors import SchemaError

#: Platforms on which answers to a post are comments, not posts of their own.
COMMENT_PLATFORMS = frozenset({"facebook", "instagram", "reddit", "tiktok", "youtube"})


@dataclass(frozen=True, slots=True)
class TableSource:
    """Columns of one kind of table; names are compared without case and outer spaces.

    Attributes:
        name: What writes it.
        platform: Where the posts were published; "" if the addresses of the posts tell.
        required: Columns that such a table has.
        any_of: Columns of which it has at least one.
        post_id: The first of these that is not empty is the id.
        caption: All of these make the caption.
        author: The first that is not empty.
        posted_at: The first that is not empty.
        likes: The first that is not empty.
        comments: The first that is not empty.
        media_type: The first that is not empty.
        sponsored: Paid for if one says yes, or has the name or id of a sponsor.
        images: All images of these.
        address: The address of the post; also its id if `post_id` is empty.
        repost: A repost if one says yes, or has the id of another post.
        shared: The id of another post; without text of its own, a post with it is a repost.
        thread: The id of the post that a comment is on.
        file_stems: Further ids after which files of the post may be named.
        duration: The first that is not empty.
    """

    name: str
    platform: str
    required: tuple[str, ...]
    any_of: tuple[str, ...] = ()
    post_id: tuple[str, ...] = ("id",)
    caption: tuple[str, ...] = ()
    author: tuple[str, ...] = ()
    posted_at: tuple[str, ...] = ()
    likes: tuple[str, ...] = ()
    comments: tuple[str, ...] = ()
    media_type: tuple[str, ...] = ()
    sponsored: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    address: tuple[str, ...] = ()
    repost: tuple[str, ...] = ()
    shared: tuple[str, ...] = ()
    thread: tuple[str, ...] = ()
    file_stems: tuple[str, ...] = ()
    duration: tuple[str, ...] = ()

    def matches(self, names: Collection[str]) -> bool:
        """Tell whether a table with these columns, in lower case, is of this kind."""
        has_any = not self.any_of or any(name in names for name in self.any_of)
        return has_any and all(name in names for name in self.required)

    def limited_to(self, names: Collection[str]) -> TableSource:
        """Return the source with only those columns that a table has."""
        columns: dict[str, Any] = {
            each.name: tuple(name for name in getattr(self, each.name) if name in names)
            for each in fields(self)
            if isinstance(getattr(self, each.name), tuple)
        }
        return replace(self, **columns)


FOURCAT = TableSource(
    "4CAT",
    "",
    required=("id", "thread_id", "body", "timestamp"),
    caption=("subject", "title", "body"),
    author=("author", "author_id", "author_name", "author_fullname"),
    posted_at=("unix_timestamp", "timestamp"),
    likes=("num_likes", "likes", "like_count", "reactions", "score"),
    comments=("num_comments", "comments", "reply_count", "replies", "comment_count"),
    media_type=("type", "media_type"),
    sponsored=("is_paid_partnership", "is_sponsored", "is_ad", "is_promoted"),
    images=(
        "image_url", "image_urls", "media_url", "media_urls", "images", "thumbnail_url",
        "video_thumb_url", "photo_url",
    ),
    address=("url", "post_url", "link", "tiktok_url", "permalink"),
    repost=("is_retweet", "is_repost", "is_reblog"),
    thread=("thread_id",),
)  # fmt: skip

CROWDTANGLE_FACEBOOK = TableSource(
    "CrowdTangle, Facebook",
    "facebook",
    required=("url", "message"),
    any_of=("page name", "group name", "facebook id"),
    post_id=(),
    caption=("message",),
    author=("facebook id", "user name", "page name", "group name"),
    posted_at=("post created", "created"),
    likes=("likes",),
    comments=("comments",),
    media_type=("type",),
    sponsored=("sponsor id", "sponsor name"),
    address=("url",),
    duration=("video length",),
)

CROWDTANGLE_INSTAGRAM = TableSource(
    "CrowdTangle, Instagram",
    "instagram",
    required=("account", "url", "description"),
    any_of=("followers at posting", "post created", "photo"),
    post_id=(),
    caption=("description",),
    author=("user name", "account"),
    posted_at=("post created", "created"),
    likes=("likes",),
    comments=("comments",),
    media_type=("type",),
    sponsored=("sponsor id", "sponsor name"),
    images=("photo",),
    address=("url",),
)

META_CONTENT_LIBRARY = TableSource(
    "Meta Content Library",
    "",
    required=("id", "text", "creation_time"),
    any_of=("mcl_url", "post_owner.id", "post_owner.name", "statistics.like_count"),
    caption=("text",),
    author=("post_owner.id", "post_owner.username", "post_owner.name"),
    posted_at=("creation_time",),
    likes=("statistics.reaction_count", "statistics.like_count"),
    comments=("statistics.comment_count",),
    media_type=("content_type", "media_type"),
    sponsored=("is_branded_content", "branded_content_tags", "branded_content_partners"),
    address=("mcl_url",),
    shared=("shared_post_id",),
)

TWARC = TableSource(
    "twarc-csv",
    "x",
    required=("id", "text"),
    any_of=("conversation_id", "author_id", "public_metrics.like_count"),
    caption=("text",),
    author=("author.username", "author_id", "author.id"),
    posted_at=("created_at",),
    likes=("public_metrics.like_count",),
    comments=("public_metrics.reply_count",),
    images=("attachments.media",),
    repost=("referenced_tweets.retweeted.id", "retweeted_user_id"),
)

TWARC_1 = TableSource(
    "twarc json2csv",
    "x",
    required=("id", "tweet_url", "user_screen_name", "text"),
    caption=("text",),
    author=("user_screen_name",),
    posted_at=("parsed_created_at", "created_at"),
    likes=("favorite_count",),
    images=("media",),
    repost=("is_retweet",),
)

#: The kinds of tables of each layout.
TABLE_SOURCES: Mapping[str, tuple[TableSource, ...]] = {
    "4cat": (FOURCAT,),
    "crowdtangle": (CROWDTANGLE_FACEBOOK, CROWDTANGLE_INSTAGRAM),
    "meta-content-library": (META_CONTENT_LIBRARY,),
    "x": (TWARC_1, TWARC),
}


def find_source(names: Collection[str]) -> tuple[str, TableSource] | None:
    """Find the layout whose tables have these columns.

    Args:
        names: Columns of a table, in lower case.

    Returns:
        The layout and the kind of table; None for other tables, and for those with the columns
        `post_id` and `caption` or `images` of the layout `table`, which no tool writes.
    """
    if "post_id" in names and {"caption", "images"} & set(names):
        return None
    return next(
        (
            (layout, source)
            for layout, sources in TABLE_SOURCES.items()
            for source in sources
            if source.matches(names)
        ),
        None,
    )


def choose_source(layout: str, names: Collection[str], file: str) -> TableSource:
    """Choose the kind of a table of a layout.

    Args:
        layout: A key of `TABLE_SOURCES`.
        names: Columns of the table, in lower case.
        file: Name of the table, for the error message.

    Returns:
        The first kind that has these columns.

    Raises:
        SchemaError: If there is none.
    """
    for source in TABLE_SOURCES[layout]:
        if source.matches(names):
            return source
    missing = "; ".join(
        f"{source.name} has {', '.join(source.required)}"
        + (f" and one of {', '.join(source.any_of)}" if source.any_of else "")
        for source in TABLE_SOURCES[layout]
    )
    raise SchemaError(
        f"{file} is no table of layout {layout}",
        seen=f"columns {sorted(names)[:20]}",
        allowed=missing,
        do="run `postbias import auto` to see its layout, or import it as `table` with --column",
    )
