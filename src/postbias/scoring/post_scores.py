"""The input and output of a scorer: one record per post."""

# Ships inside the registered model: standard library only.

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

#: Status of a post that was scored.
OK = "ok"

#: Default posts per batch: enough to group captions by length, few enough to hold the images in
#: memory. Does not affect scores.
BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class PostInput:
    """The parts of a post that a student reads.

    Attributes:
        caption: Text; empty or blank if the post has none.
        images: Contents of the image files, in order; images beyond `max_images` are not read.
    """

    caption: str
    images: tuple[bytes, ...] = ()


class AxisScore(NamedTuple):
    """A score with its interval, clipped to the range of the axis.

    The bounds are None if the student has no interval for the post's modalities.
    """

    value: float
    lo: float | None
    hi: float | None


@dataclass(frozen=True, slots=True)
class PostScore:
    """A student's result for one post.

    Attributes:
        status: `ok`, or the `RejectReason` why there is no score.
        scores: By axis; empty unless `ok`.
        band: `low`, `moderate` or `high` on the main axis; None unless `ok`.
        modalities: Modalities used: `image+text`, `text` or `image`; None unless `ok`.
        n_images: Number of images read.
        detail: Why there is no score, or which images could not be read; else empty.
    """

    status: str
    scores: Mapping[str, AxisScore]
    band: str | None
    modalities: str | None
    n_images: int
    detail: str
