"""Draw distinct JPEG files with the sizes and the bit rate of photographs on Instagram.

Natural images have a power spectrum that falls with frequency. These are cut out of fields of noise
with such a spectrum, so that decoding takes as long as for photographs of as many bytes, and no two
files are the same, which scoring would notice.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

#: Width and height in pixels: square, portrait and landscape.
SIZES = ((1080, 1080), (1080, 1350), (1080, 1350), (640, 640), (640, 800), (750, 750), (1080, 608))

_FIELD_PX = 2400
_N_FIELDS = 2
# Amplitude at frequency f is f ** -1.3; with this quality a pixel takes 1.4 bits on average.
_SLOPE, _QUALITY = 1.3, 78


def draw_photographs(
    count: int, *, sizes: tuple[tuple[int, int], ...] = SIZES, progressive: bool = False
) -> list[bytes]:
    """Draw JPEG files.

    Args:
        count: Number of files.
        sizes: Width and height, in turn; at most 2,000 pixels.
        progressive: Write progressive files instead of baseline ones.

    Returns:
        Contents of the files, 156 KB on average with the default sizes; always the same.
    """
    rng = np.random.default_rng(0)
    fields = [_draw_field(rng) for _ in range(_N_FIELDS)]
    files = []
    for number in range(count):
        width, height = sizes[number % len(sizes)]
        left, top = rng.integers(_FIELD_PX - width), rng.integers(_FIELD_PX - height)
        cut = fields[number % _N_FIELDS][top : top + height, left : left + width]
        file = io.BytesIO()
        Image.fromarray(cut).save(file, "JPEG", quality=_QUALITY, progressive=progressive)
        files.append(file.getvalue())
    return files


def _draw_field(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw a field of brightness and two of colour, which vary less; (S, S, 3)."""
    frequency = np.hypot(
        np.fft.fftfreq(_FIELD_PX)[:, None], np.fft.rfftfreq(_FIELD_PX)[None, :]
    )  # (S, S // 2 + 1)
    frequency[0, 0] = 1
    layers = []
    for _ in range(3):
        phases = np.exp(2j * np.pi * rng.random(frequency.shape))
        layer = np.fft.irfft2(phases * frequency**-_SLOPE, (_FIELD_PX, _FIELD_PX))
        layers.append(((layer - layer.mean()) / layer.std()).astype(np.float32))
    grey, red, blue = layers
    colours = np.stack(
        [grey + 0.3 * red, grey - 0.15 * (red + blue), grey + 0.3 * blue], axis=-1
    )  # (S, S, 3)
    grain = rng.normal(0, 1, colours.shape)
    return np.clip(128 + 45 * colours + grain, 0, 255).astype(np.uint8)
