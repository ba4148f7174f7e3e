"""Read posts of Instagram, Threads, LinkedIn and Facebook as their web interfaces transfer them.

The structures are those that Zeeschuimer captures.
"""

from __future__ import annotations

import re
from typing import Any

from postbias.posts.importers.durations import to_seconds
from postbias.posts.importers.instagram_nodes import (
    get_nested,
    image_addresses,
    is_media_node,
    read_media_node,
)
from postbias.posts.importers.json_exports import Node, as_list, as_node
from postbias.posts.importers.raw_posts import RawPost
from postbias.posts.importers.records import RecordError
from postbias.posts.reasons import RejectReason

_ACTIVITY = re.compile(r"urn:li:(?:activity|ugcPost|share):(\d+)")

# How LinkedIn counts time since publication: exact dates are not transferred.
_DIGITS = re.compile(r"\d")

# Parts of a post of LinkedIn that have a video, whose preview is its image.
_LINKEDIN_VIDEOS = ("linkedInVideoComponent", "externalVideoComponent")


def read_instagram(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a media node of Instagram.

    Raises:
        RecordError: If it is none.
    """
    if not is_media_node(node):
        raise RecordError(RejectReason.BROKEN_FILE, "no known media node of Instagram")
    if "caption" not in node and "edge_media_to_caption" not in node:
        raise RecordError(
            RejectReason.BROKEN_FILE,
            "an incomplete media node without a caption: open its page to capture it",
        )
    media = read_media_node(node)
    return RawPost(
        post_id=media.post_id,
        caption=media.caption,
        platform="instagram",
        author=media.author,
        posted_at=media.posted_at_us,
        likes=media.likes,
        comments=media.comments,
        media_type=media.media_type,
        sponsored=True if node.get("product_type") == "ad" else media.sponsored,
        images=image_addresses(node),
        file_stems=(media.shortcode,),
        duration_s=media.duration_s,
    )


def read_threads(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a post of Threads.

    Raises:
        RecordError: If it is none, or a repost.
    """
    node = as_node(node)
    info = node.get("text_post_app_info")
    if not ("pk" in node or "id" in node) or not ("caption" in node or isinstance(info, dict)):
        raise RecordError(RejectReason.BROKEN_FILE, "no known media node of Threads")
    if get_nested(info, "share_info", "reposted_post"):
        raise RecordError(RejectReason.REPOST, "a repost: its text is of another author")
    slides = as_list(node.get("carousel_media")) or [node]
    addresses = [get_nested(slide, "image_versions2", "candidates", 0, "url") for slide in slides]
    caption = node.get("caption")
    identity = node.get("pk", node.get("id"))
    has_video = bool(as_list(node.get("video_versions")))
    return RawPost(
        post_id=str(identity).partition("_")[0] if isinstance(identity, str | int) else identity,
        caption=caption.get("text") if isinstance(caption, dict) else caption,
        platform="threads",
        author=get_nested(node, "user", "username"),
        posted_at=node.get("taken_at"),
        likes=node.get("like_count"),
        comments=get_nested(info, "direct_reply_count"),
        media_type="carousel" if len(slides) > 1 else "video" if has_video else None,
        sponsored=node.get("is_paid_partnership"),
        images=[url for url in addresses if url],
        file_stems=(node.get("code"),),
        duration_s=node.get("video_duration"),
    )


def read_linkedin(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a post of LinkedIn; its time is only known as "18h ago" and is left out.

    Raises:
        RecordError: If it is none.
    """
    node = as_node(node)
    urn = get_nested(node, "updateMetadata", "urn") or node.get("preDashEntityUrn")
    found = _ACTIVITY.search(urn) if isinstance(urn, str) else None
    actor = node.get("actor")
    if found is None or not isinstance(actor, dict):
        raise RecordError(RejectReason.BROKEN_FILE, "no known media node of LinkedIn")
    profile = get_nested(actor, "navigationContext", "actionTarget")
    if isinstance(profile, str):
        profile = profile.rpartition("linkedin.com/")[2].partition("?")[0].strip("/")
    social = node.get("*socialDetail")
    counts = get_nested(social, "*totalSocialActivityCounts")
    ago = get_nested(actor, "subDescription", "text")
    return RawPost(
        post_id=found[1],
        caption=get_nested(node, "commentary", "text", "text"),
        platform="linkedin",
        author=profile or get_nested(actor, "name", "text"),
        likes=_first_known(
            get_nested(counts, "numLikes"), get_nested(social, "likes", "paging", "total")
        ),
        comments=_first_known(
            get_nested(counts, "numComments"), get_nested(social, "comments", "paging", "total")
        ),
        # A promoted post says so where others have their age.
        sponsored=_DIGITS.search(ago) is None if isinstance(ago, str) and ago else None,
        images=_linkedin_images(node.get("content")),
        # All files are named by their size, such as `1700000000000?e=...`.
        has_own_names=False,
    )


def _first_known(*values: object) -> object:
    """Return the first value that is there: the structures of these sites change."""
    return next((value for value in values if value is not None), None)


def _linkedin_images(content: object) -> list[str]:
    vectors = [
        get_nested(image, "attributes", 0, "vectorImage")
        or get_nested(image, "attributes", 0, "detailData", "vectorImage")
        for image in as_list(get_nested(content, "images"))
        or as_list(get_nested(content, "imageComponent", "images"))
    ]
    large = get_nested(content, "articleComponent", "largeImage", "attributes", 0)
    vectors.append(get_nested(large, "detailData", "vectorImage"))
    if not any(vectors):
        videos = [content, *(get_nested(content, name) for name in _LINKEDIN_VIDEOS)]
        vectors = [get_nested(video, "*videoPlayMetadata", "thumbnail") for video in videos]
    addresses = []
    for vector in vectors:
        sizes = [size for size in as_list(get_nested(vector, "artifacts")) if _width(size)]
        path = get_nested(max(sizes, key=_width, default=None), "fileIdentifyingUrlPathSegment")
        if isinstance(path, str):
            addresses.append(f"{get_nested(vector, 'rootUrl') or ''}{path}")
    return addresses


def _width(artifact: object) -> int:
    width = get_nested(artifact, "width")
    return width if isinstance(width, int) else 0


def read_facebook(node: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    """Read a post of Facebook.

    Raises:
        RecordError: If it is none.
    """
    node = as_node(node)
    story = get_nested(node, "comet_sections", "content", "story")
    if not isinstance(story, dict) or not (story.get("post_id") or node.get("post_id")):
        raise RecordError(RejectReason.BROKEN_FILE, "no known media node of Facebook")
    media = [item for item in map(_facebook_media, as_list(story.get("attachments"))) if item]
    actor = get_nested(story, "actors", 0)
    feedback = get_nested(
        node, "comet_sections", "feedback", "story", "story_ufi_container", "story",
        "feedback_context", "feedback_target_with_context",
    )  # fmt: skip
    counts = get_nested(feedback, "comet_ufi_summary_and_actions_renderer", "feedback")
    total = ("comment_rendering_instance", "comments", "total_count")
    message = story.get("message")
    return RawPost(
        post_id=story.get("post_id") or node.get("post_id"),
        caption=message.get("text") if isinstance(message, dict) else message,
        platform="facebook",
        author=_facebook_name(actor),
        posted_at=_facebook_time(node),
        likes=get_nested(counts, "reaction_count", "count"),
        comments=_first_known(
            get_nested(counts, "comments_count_summary_renderer", "feedback", *total),
            get_nested(counts, *total),
            get_nested(feedback, *total),
        ),
        media_type="carousel" if len(media) > 1 else None,
        sponsored=True if get_nested(node, "sponsored_data", "ad_id") else None,
        images=media,
        file_stems=[get_nested(item, "target", "id") for item in as_list(story.get("attachments"))],
        duration_s=_facebook_duration_s(story),
    )  # fmt: skip


def _facebook_duration_s(story: Node) -> object:
    """Return the duration of a single video."""
    first, *others = [*as_list(story.get("attachments")), None]
    media = get_nested(first, "styles", "attachment", "media") or get_nested(first, "media")
    milliseconds = get_nested(media, "playable_duration_in_ms")
    if milliseconds is None:
        milliseconds = get_nested(media, "video_grid_renderer", "video", "playable_duration_in_ms")
    return to_seconds(milliseconds) if len(others) <= 1 else None


def _facebook_name(actor: object) -> object:
    url = get_nested(actor, "url")
    name = url.rstrip("/").rpartition("/")[2] if isinstance(url, str) else None
    return name or get_nested(actor, "id") or get_nested(actor, "name")


def _facebook_time(node: Node) -> object:
    metadata = get_nested(
        node, "comet_sections", "context_layout", "story", "comet_sections", "metadata"
    )
    times = [get_nested(item, "story", "creation_time") for item in as_list(metadata)]
    times.append(get_nested(node, "comet_sections", "timestamp", "story", "creation_time"))
    return next((time for time in times if time), None)


def _facebook_media(attachment: object) -> object:
    media = get_nested(attachment, "styles", "attachment", "media") or get_nested(
        attachment, "media"
    )
    for path in (("photo_image", "uri"), ("viewer_image", "uri"), ("image", "uri")):
        if address := get_nested(media, *path):
            return address
    return None
