"""Import the data that Instagram and Facebook give to an account ("Download your information").

Only the lists of own posts, reels and stories are read. Their text is UTF-8 that was decoded as
Latin-1, and is decoded again here.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from postbias.posts.importers.export_files import VIDEO_SUFFIXES
from postbias.posts.importers.instagram_nodes import get_nested
from postbias.posts.importers.json_exports import JsonSource, Node, as_list, as_node, json_units
from postbias.posts.importers.media_folder import MediaFolder
from postbias.posts.importers.meta_profile import find_owner
from postbias.posts.importers.raw_posts import RawPost, join_texts
from postbias.posts.importers.records import ReadUnit, RecordError
from postbias.posts.importers.subtitles import SUBTITLE_SUFFIXES
from postbias.posts.importers.text_repair import decode_latin1, repair_text
from postbias.posts.reasons import RejectReason

#: Names of the files that have posts; all others of a download are not read.
POST_FILES = re.compile(
    r"(posts|archived_posts|reels|stories|igtv_videos|your_posts|your_uncategorized_photos"
    r"|your_posts__check_ins__photos_and_videos|your_videos|other_photos)"
    r"(_\d+)?\.json"
)

_INSTAGRAM_KEYS = (
    "ig_reels_media", "ig_stories", "ig_archived_post_media", "ig_igtv_media", "ig_other_media",
)  # fmt: skip
_FACEBOOK_KEYS = ("other_photos_v2", "videos_v2", "status_updates", "archived_stories_v2")

# The folder of a download is the one that has these.
_FOLDERS = re.compile(
    r"(your_.*|.*activity.*|content|media|posts|photos_and_videos|stories|reels)", re.IGNORECASE
)
# The subtitles of a video in a list of media.
_SUBTITLES = ("media_metadata", "video_metadata", "subtitles", "uri")


def is_post_file(name: str) -> bool:
    """Tell by its name whether a file of a download has posts."""
    return POST_FILES.fullmatch(name.rpartition("/")[2].lower()) is not None


def is_post_list(value: object) -> bool:
    """Tell by its content whether JSON is a list of posts of a download, or one entry of it."""
    if isinstance(value, list):
        return any(map(_is_entry, value)) if value else True
    return isinstance(value, dict) and (unwrap_meta(value) is not None or _is_entry(value))


def _is_entry(entry: object) -> bool:
    # The layout rejects entries with `label_values`, and says so.
    return (
        _is_instagram(entry)
        or _is_facebook(entry)
        or (isinstance(entry, dict) and ("label_values" in entry or "creation_timestamp" in entry))
    )


def meta_units(
    path: Path, name: str, folder: MediaFolder, encoding: str | None = None
) -> Iterator[ReadUnit]:
    """Iterate over the units of one file of a download.

    Args:
        path: The file.
        name: Its path relative to the export.
        folder: The folder that has the images.
        encoding: The encoding of the file, if the user named it.
    """
    root = find_download_root(name)
    author = find_owner(*_locate_download(path, name, root))
    keys = ("timestamp", "creation_timestamp")
    source = JsonSource(unwrap_meta, partial(_read, root, author), keys)
    return json_units(path, name, source, folder, encoding)


def _locate_download(path: Path, name: str, root: str) -> tuple[Path, str]:
    """Return the folder of a download and the folder that it is named after.

    If SRC is a part of the download, such as the folder of its posts, it is a parent of SRC.
    """
    src = path.resolve().parents[name.count("/")]
    download = src / root
    while not root and _FOLDERS.fullmatch(download.name):
        download = download.parent
    return download, download.name


def find_download_root(name: str) -> str:
    """Return the folder of the download that has a file, relative to the export.

    Args:
        name: The path of the file.

    Returns:
        "" or a path that ends in a slash.
    """
    folders = name.split("/")[:-1]
    for position, folder in enumerate(folders):
        if _FOLDERS.fullmatch(folder):
            folders = folders[:position]
            break
    return "".join(f"{folder}/" for folder in folders)


def unwrap_meta(page: Any) -> list[Any] | None:  # noqa: ANN401 - foreign JSON
    """List the entries of a list of a download, or a single one; None for other JSON."""
    if not isinstance(page, dict):
        return None
    for key in (*_INSTAGRAM_KEYS, *_FACEBOOK_KEYS):
        if isinstance(items := page.get(key), list):
            return items
    return [page] if _is_instagram(page) or _is_facebook(page) else None


def _is_instagram(entry: object) -> bool:
    if not isinstance(entry, dict) or "label_values" in entry or "attachments" in entry:
        return False
    return isinstance(entry.get("media"), list) or "uri" in entry


def _is_facebook(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and "timestamp" in entry
        and (isinstance(entry.get("data"), list) or isinstance(entry.get("attachments"), list))
    )


def _read(root: str, author: str, entry: Any) -> RawPost:  # noqa: ANN401 - foreign JSON
    entry = as_node(entry)
    if _is_instagram(entry):
        return _read_instagram(root, author, entry)
    if _is_facebook(entry):
        return _read_facebook(root, author, entry)
    raise RecordError(RejectReason.BROKEN_FILE, "no known media node of Instagram or Facebook")


def _get(value: object, key: str) -> Any:  # noqa: ANN401 - foreign JSON
    """Return a value of an entry, with its text decoded again."""
    return _decode(get_nested(value, key))


def _decode(value: Any) -> Any:  # noqa: ANN401 - foreign JSON
    if isinstance(value, str):
        return decode_latin1(value)
    if isinstance(value, list):
        return [_decode(item) for item in value]
    if isinstance(value, dict):
        return {key: _decode(item) for key, item in value.items()}
    return value


def _read_instagram(root: str, author: str, entry: Node) -> RawPost:
    media = as_list(entry["media"]) if isinstance(entry.get("media"), list) else [entry]
    titles = [_get(item, "title") for item in media]
    # The caption of a carousel is that of the entry, of a single image that of the image.
    caption = _get(entry, "title") or (titles[0] if len(media) == 1 else join_texts(*titles))
    first = media[0] if media else None
    time = _get(entry, "creation_timestamp") or _get(first, "creation_timestamp")
    return _to_post(root, media, caption, time, RawPost(None, None, "instagram", author))


def _read_facebook(root: str, author: str, entry: Node) -> RawPost:
    parts = [
        item
        for attachment in as_list(entry.get("attachments"))
        for item in as_list(get_nested(attachment, "data"))
    ]
    media = [item["media"] for item in parts if isinstance(get_nested(item, "media"), dict)]
    texts = [_get(item, "post") for item in as_list(entry.get("data"))]
    caption = join_texts(*texts)
    if not caption:
        # The description of a photo repeats the text of its post.
        caption = join_texts(*(_get(item, "description") for item in media))
    if not caption and not media:
        title = repair_text(str(_get(entry, "title") or ""))[:80]
        raise RecordError(
            RejectReason.NO_CONTENT, f"an activity with neither text nor media: {title!r}"
        )
    time = _get(entry, "timestamp")
    return _to_post(root, media, caption, time, RawPost(None, None, "facebook", author))


def _to_post(root: str, media: list[Any], caption: object, time: object, post: RawPost) -> RawPost:
    uris = [_get(item, "uri") for item in media]
    names = [uri for uri in uris if isinstance(uri, str)]
    post.post_id = _digest(post.platform, time, caption, names)
    post.caption, post.posted_at = caption, time
    files = [uri for uri in uris if not _is_subtitle(uri)]
    post.images = [_stored(root, uri) if isinstance(uri, str) else uri for uri in files]
    if len(files) > 1:
        post.media_type = "carousel"
    elif names:
        is_video = names[0].lower().endswith((*VIDEO_SUFFIXES, *SUBTITLE_SUFFIXES))
        post.media_type = "video" if is_video else "image"
    named = (get_nested(item, *_SUBTITLES) for item in media)
    post.subtitles = [f"{root}{uri}" for uri in (*named, *uris) if _is_subtitle(uri)]
    return post


def _is_subtitle(uri: object) -> bool:
    return isinstance(uri, str) and uri.lower().endswith(SUBTITLE_SUFFIXES)


def _stored(root: str, uri: str) -> object:
    return uri if uri.startswith("http") else (f"{root}{uri}", uri)


def _digest(platform: str, time: object, caption: object, names: list[str]) -> str:
    """Make an id, as a download has none: the same in each download of an account."""
    files = [name.rpartition("/")[2] for name in names]
    content = "\0".join(map(str, (time, caption, *files)))
    digest = hashlib.blake2b(content.encode(errors="replace"), digest_size=8).hexdigest()
    return f"{platform}-{digest}"
