"""Regions of an image: grids, the filling of occluded regions, and positions in the upright image.

A region is a box in the square that the student reads; people see the upright image, of which a
student that crops does not read the margins.
"""

# Ships inside the registered model.

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from postbias.posts.image_preprocessing import ImagePreprocessing
from postbias.posts.images import decode_upright

Pixels = NDArray[np.uint8]

#: Cells per side of the coarse grid; the most important cells are divided into four.
GRID = 4

# Gaussian blur that leaves light and colour but no shapes, as a share of the side.
_BLUR = 0.12

# Enough for the aspect ratio.
_ASPECT_SIDE_PX = 512


class Region(NamedTuple):
    """A box of pixels in the square: from `left` up to `right` and from `top` up to `bottom`."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return (self.right - self.left) * (self.bottom - self.top)

    def divide(self, n: int) -> list[Region]:
        """Divide into n x n regions of nearly equal size, row by row; fewer if it is too small."""
        xs, ys = _edges(self.left, self.right, n), _edges(self.top, self.bottom, n)
        return [
            Region(left, top, right, bottom)
            for top, bottom in pairwise(ys)
            for left, right in pairwise(xs)
        ]


class RelativeBox(NamedTuple):
    """A box in the upright image, as shares of its width and height, 0 to 1."""

    left: float
    top: float
    right: float
    bottom: float


def fill_regions(pixels: Pixels, filling: Pixels, regions: Iterable[Region]) -> Pixels:
    """Replace regions of an image.

    Args:
        pixels: The image, (S, S, 3).
        filling: What replaces them, (S, S, 3).

    Returns:
        A changed copy, (S, S, 3).
    """
    filled = pixels.copy()
    for left, top, right, bottom in regions:
        filled[top:bottom, left:right] = filling[top:bottom, left:right]
    return filled


def blur_image(pixels: Pixels) -> Pixels:
    """Blur an image until its shapes are gone; fills occluded regions.

    Args:
        pixels: The image, (S, S, 3).

    Returns:
        The blurred image, (S, S, 3).
    """
    blur = ImageFilter.GaussianBlur(max(1.0, _BLUR * len(pixels)))
    return np.asarray(Image.fromarray(pixels).filter(blur))


def mean_colour(pixels: Pixels) -> Pixels:
    """Return an image of the mean colour; fills occluded regions.

    Args:
        pixels: The image, (S, S, 3).

    Returns:
        The mean colour everywhere, (S, S, 3).
    """
    mean = np.rint(pixels.reshape(-1, 3).mean(axis=0)).astype(np.uint8)
    return np.broadcast_to(mean, pixels.shape)


def locate_square(data: bytes, side: int, preprocessing: ImagePreprocessing) -> RelativeBox:
    """Find the part of an upright image that a student reads.

    Args:
        data: The bytes of an image that can be decoded.
        side: Side of the square in pixels.

    Returns:
        The part; the whole image unless the student crops.
    """
    if preprocessing.fit == "stretch" and preprocessing.crop_share == 1:
        return RelativeBox(0.0, 0.0, 1.0, 1.0)
    size = decode_upright(data, max_side_px=_ASPECT_SIDE_PX).size
    width, height = (min(1.0, side / length) for length in preprocessing.resized(size, side))
    return RelativeBox((1 - width) / 2, (1 - height) / 2, (1 + width) / 2, (1 + height) / 2)


def to_relative(region: Region, square: RelativeBox, side: int) -> RelativeBox:
    """Convert a region to a position in the upright image.

    Args:
        square: The part of the image that the student reads.
        side: Side of the square in pixels.
    """
    width, height = square.right - square.left, square.bottom - square.top
    return RelativeBox(
        square.left + width * region.left / side,
        square.top + height * region.top / side,
        square.left + width * region.right / side,
        square.top + height * region.bottom / side,
    )


def _edges(start: int, end: int, n: int) -> list[int]:
    n = max(1, min(n, end - start))
    return [start + (end - start) * i // n for i in range(n + 1)]
