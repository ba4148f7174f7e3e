"""Inputs of encoder graphs: captions one at a time, images a few at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

#: Inputs of a graph by name.
Feeds = Mapping[str, NDArray[np.generic]]

_IMAGES_PER_RUN = 8


def caption_feeds(token_ids: Sequence[Sequence[int]]) -> Iterator[Feeds]:
    """Make the inputs of a text graph from each caption that has tokens."""
    for ids in token_ids:
        if len(ids):
            row = np.array([ids], np.int64)
            yield {"input_ids": row, "attention_mask": np.ones_like(row)}


def image_feeds(pixels: NDArray[np.uint8]) -> Iterator[Feeds]:
    """Make the inputs of an image graph from images (N, S, S, 3)."""
    for start in range(0, len(pixels), _IMAGES_PER_RUN):
        yield {"pixels": pixels[start : start + _IMAGES_PER_RUN]}
