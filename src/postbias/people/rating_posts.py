"""The posts to rate as they are shown: captions, and images as JPEG files in a temporary folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from postbias.errors import CorpusError, UnreadableImageError
from postbias.posts.images import decode_upright
from postbias.posts.shards import iter_selected_posts, list_shards

_MAX_SIDE_PX = 1280
_JPEG_QUALITY = 88
_COLUMNS = ("post_id", "caption", "images")


@dataclass(frozen=True, slots=True)
class RatingPost:
    """A post as raters see it.

    Attributes:
        caption: Its caption; may be empty.
        images: JPEG files of its images; None for an image that cannot be decoded.
    """

    caption: str
    images: tuple[Path | None, ...]


def load_rating_posts(posts: Path, post_ids: Sequence[str], scratch: Path) -> dict[str, RatingPost]:
    """Read posts and decode their images; images are never served as the bytes that were published.

    Args:
        posts: Folder of post shards.
        post_ids: Distinct ids.
        scratch: Folder for the JPEG files, which the caller deletes.

    Returns:
        The posts by id.

    Raises:
        CorpusError: If a post is missing.
        SchemaError: If a shard is damaged.
    """
    loaded: dict[str, RatingPost] = {}
    with tqdm(total=len(post_ids), desc="reading posts", unit="post", disable=None) as progress:
        for batch in iter_selected_posts(
            list_shards(posts), post_ids, ["post_id", "caption", "images"]
        ):
            for row in batch.to_pylist():
                files = tuple(
                    _save_jpeg(image["bytes"] or b"", scratch / f"{len(loaded)}-{i}.jpg")
                    for i, image in enumerate(row["images"])
                )
                loaded[row["post_id"]] = RatingPost(row["caption"], files)
                progress.update()
    if missing := [post_id for post_id in post_ids if post_id not in loaded]:
        raise CorpusError(
            f"{len(missing)} posts to rate are not in {posts}",
            seen=missing[0],
            do="restore these posts with `dvc checkout data`, or rate from another folder",
        )
    return loaded


def _save_jpeg(data: bytes, path: Path) -> Path | None:
    try:
        image = decode_upright(data, max_side_px=_MAX_SIDE_PX)
    except UnreadableImageError:
        return None
    image.save(path, "JPEG", quality=_JPEG_QUALITY)
    return path
