"""Contents of posts as the report shows them: caption, image and the teacher's reason.

Captions are cut to a maximum length, and images are decoded and encoded again, so that only their
pixels reach the page.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from postbias.errors import UnreadableImageError
from postbias.paths import Paths
from postbias.population.scored_corpus import ScoredCorpus
from postbias.posts.images import decode_upright
from postbias.posts.shards import read_selected_posts, read_table
from postbias.report.explained_examples import CaptionPart

_MAX_SIDE_PX = 320
_JPEG_QUALITY = 72
_MAX_CAPTION_CHARACTERS = 420


@dataclass(frozen=True, slots=True)
class ShownImage:
    """An image on the page.

    Attributes:
        position: Its position among the images of the post.
        url: The image as a `data:` URL.
        size: Its width and height in pixels.
        box: Left, top, width and height of the region that moved the score most, in pixels; None
            if no region moved it.
        contribution: Points that this region adds; 0 without one.
    """

    position: int
    url: str
    size: tuple[int, int]
    box: tuple[int, int, int, int] | None = None
    contribution: float = 0.0


@dataclass(frozen=True, slots=True)
class PostContent:
    """What the report reads of a post.

    Attributes:
        post_id: Its id.
        caption: Its caption; may be empty.
        files: Its image files; empty bytes for a missing file.
        image: Its first readable image, if there is one.
        reason: The teacher's reason; may be empty.
    """

    post_id: str
    caption: str
    files: tuple[bytes, ...]
    image: ShownImage | None
    reason: str


def read_contents(
    corpus: ScoredCorpus, paths: Paths, rows: npt.NDArray[np.intp]
) -> list[PostContent]:
    """Read the contents of posts.

    Args:
        corpus: All scored posts.
        paths: The repository, for images and the teacher's reasons.
        rows: Rows of the corpus.

    Returns:
        One content per row, in the order of the rows.
    """
    if not len(rows):
        return []
    ids = corpus.table["post_id"].take(pa.array(rows)).to_pylist()
    posts = read_selected_posts(paths.posts, ids, ["caption", "images"])
    columns = posts["images"].to_pylist()
    files = [tuple(_bytes_of(image["bytes"]) for image in images) for images in columns]
    labels = read_table(paths.labels, columns=["post_id", "reason"])
    reasons = dict(zip(labels["post_id"].to_pylist(), labels["reason"].to_pylist(), strict=True))
    captions = posts["caption"].to_pylist()
    return [
        PostContent(post_id, caption, own, _show_image(own), reasons.get(post_id) or "")
        for post_id, caption, own in zip(ids, captions, files, strict=True)
    ]


def shorten_caption(caption: Sequence[CaptionPart]) -> tuple[CaptionPart, ...]:
    """Cut a caption to the maximum length."""
    left = _MAX_CAPTION_CHARACTERS
    parts = []
    for part in caption:
        if len(part.text) > left:
            parts.append(replace(part, text=part.text[: max(left - 1, 0)] + "…"))
            break
        parts.append(part)
        left -= len(part.text)
    return tuple(part for part in parts if part.text)


def _bytes_of(data: object) -> bytes:
    return bytes(data) if isinstance(data, bytes) else b""


def _show_image(contents: Sequence[bytes]) -> ShownImage | None:
    """Encode the first readable image as a `data:` URL."""
    for position, data in enumerate(contents):
        try:
            decoded = decode_upright(data, max_side_px=_MAX_SIDE_PX)
        except UnreadableImageError:
            continue
        file = io.BytesIO()
        decoded.save(file, "JPEG", quality=_JPEG_QUALITY, optimize=True)
        url = "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
        return ShownImage(position, url, decoded.size)
    return None
