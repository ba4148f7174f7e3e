"""What goes into a scorer and what comes out of it, one post each.

Shipped inside the registered model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

#: Status of a post that was scored.
OK = "ok"

#: Posts to score at a time where nobody says otherwise: enough to fill runs of captions of one
#: length, few enough to hold their images. Changes no score.
BATCH_SIZE = 256


@dataclass(frozen=True, slots=True)
class PostInput:
    """What a student can see of a post.

    Attributes:
        caption: Its text; empty or blank if there is none.
        images: Its image files, in order; those beyond the student's `max_images` are not read.
    """

    caption: str
    images: tuple[bytes, ...] = ()


class AxisScore(NamedTuple):
    """A score with its interval, all within the axis' range.

    The ends are None where the student has no interval for the post's group of modalities.
    """

    value: float
    lo: float | None
    hi: float | None


@dataclass(frozen=True, slots=True)
class PostScore:
    """What a student makes of a post.

    Attributes:
        status: `ok`, or the `Reason` why there is no score.
        scores: By axis; empty unless `ok`.
        band: `low`, `moderate` or `high` on the main axis; None unless `ok`.
        modalities: What was used: `image+text`, `text` or `image`; None unless `ok`.
        n_images: How many images were read.
        detail: Why there is no score, or which images could not be read; else empty.
    """

    status: str
    scores: Mapping[str, AxisScore]
    band: str | None
    modalities: str | None
    n_images: int
    detail: str
