"""Posts as the readers of platforms and tables find them, and their conversion to imported posts.

A reader only says where each value is; here the values are parsed, repaired and counted, and the
images are found, in the same way for all layouts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from postbias.posts.authorship import make_own_author
from postbias.posts.importers.durations import parse_duration_s
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.optional_cells import OptionalCells
from postbias.posts.importers.records import (
    ImageFault,
    ImageFile,
    ImportedPost,
    RecordError,
    split_images,
)
from postbias.posts.importers.table_cells import (
    parse_count,
    parse_flag,
    parse_id,
    parse_text,
    parse_time_us,
)
from postbias.posts.importers.text_repair import repair_text
from postbias.posts.reasons import RejectReason

_MEDIA_TYPES = {
    "image": "image", "photo": "image", "picture": "image", "photos": "image",
    "video": "video", "videos": "video", "reel": "video", "reels": "video", "clip": "video",
    "clips": "video", "igtv": "video", "youtube": "video", "native video": "video",
    "live video": "video", "live video complete": "video", "live video scheduled": "video",
    "animated_gif": "video", "gif": "image",
    "carousel": "carousel", "album": "carousel", "mixed": "carousel", "photo album": "carousel",
}  # fmt: skip

_THOUSANDS = re.compile(r"\d{1,3}(,\d{3})+")


@dataclass(slots=True)
class RawPost:
    """Values of a post, not parsed.

    Attributes:
        post_id: Unique id.
        caption: Text; None if there is none.
        platform: Where it was published.
        author: Name or id of who published it.
        posted_at: Time of publication, as `parse_time_us` accepts it.
        likes: Number of likes.
        comments: Number of comments.
        media_type: Word of the platform for the kind of post.
        sponsored: Whether it is paid for.
        images: For each image, its address or path, or several under which it may be stored.
        file_stems: Further ids after which files of the post may be named.
        file_ends: What may follow the id of the post in the name of a file.
        has_own_names: Whether the file names in the addresses belong to this post alone.
        duration_s: Duration of its video, as `parse_duration_s` accepts it.
        transcript: What is said in its video.
        subtitles: Paths of its subtitle files.
    """

    post_id: object
    caption: object
    platform: str
    author: object = None
    posted_at: object = None
    likes: object = None
    comments: object = None
    media_type: object = None
    sponsored: object = None
    images: Sequence[object] = ()
    file_stems: Sequence[object] = ()
    file_ends: Sequence[str] = ()
    has_own_names: bool = True
    duration_s: object = None
    transcript: object = None
    subtitles: Sequence[str] = ()


def read_post_id(raw: RawPost) -> str:
    """Parse the id of a post.

    Raises:
        RecordError: If it has none.
        InputError: If it was rounded.
    """
    post_id = parse_id(raw.post_id)
    if not post_id:
        raise RecordError(RejectReason.MISSING_ID, "a post without an id")
    return post_id


def build_post(raw: RawPost, source: str, folder: MediaFolder) -> ImportedPost:
    """Convert a raw post: parse its values and find its images.

    Args:
        raw: The values.
        source: File or row, relative to the export.
        folder: The folder that has the images.

    Returns:
        The post. Values that a post can do without and that are invalid are counted and left out.

    Raises:
        RecordError: If it has no id, or its caption is not text.
        InputError: If its id was rounded.
    """
    post_id = read_post_id(raw)
    cells = OptionalCells()
    files, faults = split_images(_find_images(raw, post_id, folder))
    author = (cells.parse("author", raw.author, parse_text, "author") or "").strip()
    return ImportedPost(
        post_id=post_id,
        author=author or make_own_author(post_id),
        caption=parse_text(raw.caption, "its caption"),
        source=source,
        platform=raw.platform,
        images=files,
        image_faults=faults,
        sponsored=cells.parse("sponsored", raw.sponsored, parse_flag),
        posted_at_us=cells.parse("posted_at", raw.posted_at, parse_time_us),
        likes=cells.parse("likes", raw.likes, _parse_count, "likes"),
        comments=cells.parse("comments", raw.comments, _parse_count, "comments"),
        media_type=cells.parse("media_type", raw.media_type, _parse_media_type),
        duration_s=cells.parse("duration_s", raw.duration_s, parse_duration_s),
        transcript=_read_transcript(raw, cells, folder),
        emptied_cells=tuple(cells.emptied),
    )


def _read_transcript(raw: RawPost, cells: OptionalCells, folder: MediaFolder) -> str:
    text = cells.parse("transcript", raw.transcript, parse_text, "transcript")
    if text and (text := text.strip()):
        return text
    if not raw.subtitles:
        return ""
    return cells.parse("subtitles", raw.subtitles, _read_subtitles, folder) or ""


def _read_subtitles(names: Sequence[str], folder: MediaFolder) -> str:
    return " ".join(filter(None, map(folder.read_subtitles, names)))


def _parse_count(value: object, column: str) -> int | None:
    if isinstance(value, str) and "," in value and _THOUSANDS.fullmatch(value.strip()):
        value = value.replace(",", "")
    return parse_count(value, column)


def _parse_media_type(value: object) -> str | None:
    """Translate the word of a platform; words for posts of text or links have no translation."""
    if isinstance(value, str) and (known := _MEDIA_TYPES.get(value)):
        return known
    return _MEDIA_TYPES.get(parse_text(value, "media_type").strip().lower())


def join_texts(*parts: object) -> object:
    """Join a title and a text with an empty line; a part that is no text is returned as it is."""
    texts: list[str] = []
    for part in parts:
        if part is None:
            continue
        if not isinstance(part, str):
            return part
        if part.strip() and part not in texts:
            texts.append(part)
    return "\n\n".join(texts)


def _find_images(raw: RawPost, post_id: str, folder: MediaFolder) -> list[ImageFile | ImageFault]:
    """Find images by the names in their addresses, else by the ids of the post."""
    images: list[ImageFile | ImageFault] = []
    has_file = False
    for image in raw.images:
        if not isinstance(image, str | tuple):
            images.append(ImageFault(RejectReason.BROKEN_ROW, f"no address but {image!r}"[:120]))
        elif raw.has_own_names:
            if (found := folder.read(image)) is not None:
                images.append(found)
                has_file = has_file or isinstance(found, ImageFile)
        else:
            detail = f"{repair_text(str(image))[:120]}: no file is named after the post"
            images.append(ImageFault(RejectReason.NOT_DOWNLOADED, detail))
    if has_file:
        return images
    stems = [repair_text(str(stem)) for stem in raw.file_stems if isinstance(stem, str | int)]
    if raw.file_ends and folder.may_have_files_of(post_id):
        stems += [f"{post_id}{end}" for end in raw.file_ends]
    by_id = folder.read_ids([post_id, *stems])
    return [*by_id, *images[len(by_id) :]]
