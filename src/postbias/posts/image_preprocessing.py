"""How an encoder wants its images: part of `student.json`, obeyed wherever images are decoded."""

# Ships inside the registered model: standard library only.

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Fit = Literal["stretch", "crop"]
Interpolation = Literal["bilinear", "bicubic", "lanczos"]
Channels = tuple[float, float, float]

FITS: tuple[Fit, ...] = ("stretch", "crop")
INTERPOLATIONS: tuple[Interpolation, ...] = ("bilinear", "bicubic", "lanczos")


@dataclass(frozen=True, slots=True)
class ImagePreprocessing:
    """How an image of any shape becomes the square that an encoder reads.

    The defaults are what every student used before this could be chosen: an artifact that does not
    state its preprocessing has been trained with them.

    Attributes:
        fit: `stretch` resizes to a square without regard to the aspect ratio; `crop` resizes the
            shorter side. Then the centre is cut out.
        interpolation: Filter of the resizing.
        crop_share: Side of the centre that is cut out, as a share of the resized (shorter) side; 1
            after `stretch` keeps the whole image.
        mean: Mean of red, green and blue, as shares of the range, that the encoder's graph
            subtracts.
        sd: Standard deviations that it divides by.
    """

    fit: Fit = "stretch"
    interpolation: Interpolation = "bilinear"
    crop_share: float = 1.0
    mean: Channels = (0.485, 0.456, 0.406)
    sd: Channels = (0.229, 0.224, 0.225)

    @property
    def is_valid(self) -> bool:
        """Whether all values are allowed."""
        return (
            self.fit in FITS
            and self.interpolation in INTERPOLATIONS
            and 0 < self.crop_share <= 1
            and len(self.mean) == len(self.sd) == 3
            and all(math.isfinite(value) for value in (*self.mean, *self.sd))
            and min(self.sd) > 0
        )

    def resized(self, size: tuple[int, int], side: int) -> tuple[int, int]:
        """Compute the size that an image is resized to before the centre is cut out.

        Rounds as timm and torchvision do, so that students see what their encoders were trained on.

        Args:
            size: Width and height of the image.
            side: Side of the square that the encoder reads.

        Returns:
            Width and height, neither below `side`.
        """
        shorter = max(side, math.floor(side / self.crop_share))
        if self.fit == "stretch":
            return shorter, shorter
        width, height = size
        longer = int(shorter * max(size) / min(size))
        return (shorter, longer) if width <= height else (longer, shorter)


DEFAULT_PREPROCESSING = ImagePreprocessing()
