"""Collect what the text encoder of a student sees of each post."""

# Ships inside the registered model.

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import NamedTuple

from postbias.errors import UnreadableImageError
from postbias.posts.image_text import ImageTextReader, append_image_text
from postbias.posts.text_cleaning import clean_text
from postbias.scoring.manifest import Manifest
from postbias.scoring.post_scores import PostInput

logger = logging.getLogger(__name__)


class TextInputs(NamedTuple):
    """The text of each post, and by row the faults of images whose text could not be read."""

    texts: list[str]
    faults: Mapping[int, list[str]]


def open_text_reader(manifest: Manifest, store: Path | None) -> ImageTextReader | None:
    """Open a reader for the text inside images if the student was trained with it.

    Args:
        manifest: The student.
        store: SQLite file that keeps the texts; None to keep none.

    Returns:
        The reader; None if the student sees captions only.

    Raises:
        MissingExtraError: If the student needs the extra `ocr`, which is not installed.
        StorageError: If the store cannot be opened.
    """
    if manifest.ocr is None:
        return None
    reader = ImageTextReader(store)
    if reader.engine_name != manifest.ocr:
        logger.warning(
            "the student was trained with text read by %s, but %s is installed: scores may differ",
            manifest.ocr,
            reader.engine_name,
        )
    return reader


def read_caption(post: PostInput) -> str:
    """Return the cleaned caption without white space at its ends."""
    return clean_text(post.caption).strip()


def collect_texts(
    posts: Sequence[PostInput], reader: ImageTextReader | None, max_images: int, pool: Executor
) -> TextInputs:
    """Collect the captions of posts, and the text inside their images.

    Args:
        posts: The posts.
        reader: Reads the text inside images; None for captions only.
        max_images: Maximum number of images per post, the first ones.
        pool: Threads that read.

    Returns:
        The texts; empty for a post without caption and text.
    """
    texts = [read_caption(post) for post in posts]
    faults: dict[int, list[str]] = defaultdict(list)
    if reader is None:
        return TextInputs(texts, faults)
    runs = [[pool.submit(reader.read, data) for data in post.images[:max_images]] for post in posts]
    for row, images in enumerate(runs):
        found = []
        for image in images:
            try:
                found.append(image.result())
            except UnreadableImageError as error:
                faults[row].append(f"{error.reason}: {error.detail}")
        texts[row] = append_image_text(texts[row], found)
    return TextInputs(texts, faults)


def describe_missing(post: PostInput, manifest: Manifest) -> str:
    """Say which inputs that the student reads a post lacks."""
    parts = (
        ("caption", manifest.has_text, bool(read_caption(post))),
        ("image", manifest.has_image, bool(post.images)),
        ("text in an image", manifest.ocr is not None and not manifest.has_image, False),
    )
    missing = [name for name, is_read, is_present in parts if is_read and not is_present]
    return f"no {' and no '.join(missing)}"
