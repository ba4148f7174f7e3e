"""Read videos and comments of YouTube's Data API (v3).

The title and the description of a video are its caption, its preview image is its image.
"""

from __future__ import annotations

from typing import Any

from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.json_exports import JsonSource, Node, as_list, as_node
from postbias.posts.importers.raw_posts import RawPost, join_texts
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

YOUTUBE = "youtube"

# Tuples: foreign values can be lists, which a set cannot be asked for.
_VIDEO_KINDS = ("youtube#video", "youtube#searchResult", "youtube#playlistItem", "youtube#activity")
_COMMENT_KINDS = ("youtube#commentThread", "youtube#comment")
_OTHER_KINDS = ("youtube#channel", "youtube#playlist")

# From the largest on.
_PREVIEWS = ("maxres", "standard", "high", "medium", "default")
_PREVIEW_ENDS = tuple(
    f"{separator}{size}default" for size in ("maxres", "sd", "hq", "mq", "") for separator in "_-"
)

# What the API writes instead of the title of a video that is gone.
_GONE = ("Deleted video", "Private video")


def unwrap_youtube(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """List the videos, comments and replies of a response, or of one resource.

    Channels and playlists among the results of a search are left out, as they are no posts.
    """
    if not isinstance(page, dict):
        return None
    kind = page.get("kind")
    if kind in _VIDEO_KINDS or kind in _COMMENT_KINDS:
        return _with_replies([page])
    items = page.get("items")
    if not isinstance(items, list) or not (isinstance(kind, str) and kind.endswith("Response")):
        return None
    return _with_replies([item for item in items if not _is_other_result(item)])


def _is_other_result(item: object) -> bool:
    return get_nested(item, "id", "kind") in _OTHER_KINDS


def _with_replies(items: list[Any]) -> list[Any]:
    nodes: list[Any] = []
    for item in items:
        nodes.append(item)
        nodes += as_list(get_nested(item, "replies", "comments"))
    return nodes


def read_youtube_video(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a video.

    Raises:
        RecordError: If it is a comment, deleted, or no video.
    """
    node = as_node(node)
    if node.get("kind") in _COMMENT_KINDS:
        raise RecordError(RejectReason.COMMENT, "a comment of a video, not a post")
    snippet = node.get("snippet")
    if not isinstance(snippet, dict) or not {"title", "description"} & set(snippet):
        raise RecordError(
            RejectReason.BROKEN_FILE, "a media node without a title: request part=snippet"
        )
    if snippet.get("title") in _GONE and not snippet.get("thumbnails"):
        raise RecordError(RejectReason.DELETED, str(snippet["title"]))
    statistics, preview = node.get("statistics"), _preview(snippet)
    return RawPost(
        post_id=_video_id(node, snippet),
        caption=join_texts(snippet.get("title"), snippet.get("description")),
        platform=YOUTUBE,
        # In a playlist, `channelId` is the channel of the playlist.
        author=snippet.get("videoOwnerChannelId") or snippet.get("channelId"),
        posted_at=get_nested(node, "contentDetails", "videoPublishedAt")
        or snippet.get("publishedAt"),
        likes=get_nested(statistics, "likeCount"),
        comments=get_nested(statistics, "commentCount"),
        media_type="video",
        duration_s=get_nested(node, "contentDetails", "duration"),
        sponsored=get_nested(node, "paidProductPlacementDetails", "hasPaidProductPlacement"),
        images=[preview] if preview else [],
        file_ends=_PREVIEW_ENDS,
        # The previews of all videos have the same names.
        has_own_names=False,
    )


def _video_id(node: Node, snippet: Node) -> object:
    for value in (
        get_nested(snippet, "resourceId", "videoId"),
        get_nested(node, "id", "videoId"),
        get_nested(node, "contentDetails", "upload", "videoId"),
        node.get("id"),
    ):
        if isinstance(value, str) and value:
            return value
    return None


def _preview(snippet: Node) -> object:
    previews = snippet.get("thumbnails")
    for size in _PREVIEWS:
        if address := get_nested(previews, size, "url"):
            return address
    return None


def read_youtube_comment(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a comment or a reply as a post.

    Raises:
        RecordError: If it is none.
    """
    node = as_node(node)
    comment = get_nested(node, "snippet", "topLevelComment") or node
    snippet = get_nested(comment, "snippet")
    if not isinstance(snippet, dict) or not {"textOriginal", "textDisplay"} & set(snippet):
        raise RecordError(RejectReason.BROKEN_FILE, "a media node that is no comment")
    text = snippet.get("textOriginal")
    return RawPost(
        post_id=get_nested(comment, "id"),
        caption=text if text is not None else snippet.get("textDisplay"),
        platform=YOUTUBE,
        author=get_nested(snippet, "authorChannelId", "value") or snippet.get("authorDisplayName"),
        posted_at=snippet.get("publishedAt"),
        likes=snippet.get("likeCount"),
        comments=get_nested(node, "snippet", "totalReplyCount"),
    )


YOUTUBE_VIDEOS = JsonSource(unwrap_youtube, read_youtube_video)
YOUTUBE_COMMENTS = JsonSource(unwrap_youtube, read_youtube_comment)
