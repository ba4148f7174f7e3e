"""The one decoding policy: bytes of a picture to pixels, or a reason why not.

Training, evaluation, bulk scoring and REST all decode here, so that a picture means the same
everywhere. The whole picture is used, upright, in RGB, transparency on white, the first frame of
an animation; colour profiles are ignored. Size is looked at before any pixel is decoded. Knows no
files, posts or models, and leaves Pillow's global settings and the user's warnings alone.
"""

from __future__ import annotations

import io
import struct
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
from PIL import (
    AvifImagePlugin,  # noqa: F401 - registers AVIF; Pillow would load all its plugins to find it
    ExifTags,
    Image,
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401 - registers WebP, likewise
)

from postbias.errors import UnreadableImageError
from postbias.posts.reasons import Reason

#: What may be decoded; nothing else is even sniffed.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")

#: Twice a phone's largest file; pictures on platforms are under 2 MiB.
MAX_BYTES = 32 * 2**20

#: A 50-megapixel camera passes; decoded with transparency such a picture takes 350 MB.
MAX_PIXELS = 52_000_000

#: Below 28 px nothing is legible, and Qwen-VL servers crash (vllm #15080).
MIN_SIDE_PX = 28

_MAGIC: tuple[tuple[int, bytes], ...] = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (8, b"WEBP"),
    (0, b"GIF8"),
    (0, b"BM"),
    (4, b"ftypavi"),
)

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# What Pillow's EXIF reader raises on damaged metadata; the picture itself may be sound.
_EXIF_FAULTS = (
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    SyntaxError,
    TypeError,
    ValueError,
    struct.error,
)


def decode(data: bytes, size: int) -> np.ndarray:
    """Decode a picture to a square of pixels, aspect not kept, nothing cropped.

    Args:
        data: The bytes of a file.
        size: Pixels of each side.

    Returns:
        RGB values, uint8, (size, size, 3).

    Raises:
        UnreadableImageError: If it cannot be decoded, whatever the decoder raised.
    """
    # Draft mode: libjpeg decodes at 1/2, 1/4 or 1/8, never below what is asked for.
    picture = _picture(data, lambda _: (size, size))
    return np.array(picture)  # (size, size, 3)


def open_upright(data: bytes, *, max_side_px: int | None = None) -> Image.Image:
    """Decode a picture in its own proportions.

    Args:
        data: The bytes of a file.
        max_side_px: Shrink so that the longer side has at most this many pixels; nothing is ever
            enlarged. Off if not given.

    Returns:
        The RGB picture, upright, loaded, free of the file and its metadata.

    Raises:
        UnreadableImageError: If it cannot be decoded, whatever the decoder raised.
    """

    def shrunk(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(1.0, (max_side_px or max(size)) / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    return _picture(data, shrunk)


def _picture(data: bytes, target: Callable[[tuple[int, int]], tuple[int, int]]) -> Image.Image:
    """Decode to a target size that may depend on the (width, height) of the file."""
    _check_bytes(data)
    try:
        with _quiet(), Image.open(io.BytesIO(data), formats=FORMATS) as file:
            _check_size(file.size)
            size = target(file.size)
            file.draft("RGB", size)
            file.load()
            orientation = _orientation(file)
            picture = _rgb_on_white(file).resize(size, Image.Resampling.BILINEAR)
            if orientation in _UPRIGHT:
                # A square stays one; a shrunk picture swaps its sides here.
                picture = picture.transpose(_UPRIGHT[orientation])
            picture.info.clear()
            return picture
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow documents no set; over ten types were seen in the field.
        raise UnreadableImageError(_reason(data, error), _describe(error)) from error


def _check_bytes(data: bytes) -> None:
    if not data:
        raise UnreadableImageError(Reason.TRUNCATED, "the file is empty")
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(
            Reason.TOO_LARGE, f"{len(data)} bytes, at most {MAX_BYTES} are decoded"
        )


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            Reason.TOO_LARGE, f"{width} x {height} px, at most {MAX_PIXELS} px are decoded"
        )
    if min(size) < MIN_SIDE_PX:
        raise UnreadableImageError(
            Reason.TOO_SMALL, f"{width} x {height} px, each side needs at least {MIN_SIDE_PX}"
        )


def _orientation(file: Image.Image) -> int:
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except _EXIF_FAULTS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _rgb_on_white(file: Image.Image) -> Image.Image:
    if file.mode.startswith("I"):
        return _from_16_bit(file)
    if file.has_transparency_data:
        layer = file.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return file if file.mode == "RGB" else file.convert("RGB")  # the resizing copies anyway


def _from_16_bit(file: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits: Pillow's own conversion clips everything above 255 to white."""
    grey = np.asarray(file)  # (H, W)
    scaled = (np.clip(grey, 0, 65535) >> 8).astype(np.uint8)
    key = file.info.get("transparency")
    if isinstance(key, int):
        scaled[grey == key] = 255
    return Image.fromarray(scaled).convert("RGB")


def _reason(data: bytes, error: Exception) -> Reason:
    """Find the true reason behind whatever Pillow raised."""
    said = str(error).lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError) or "too large" in said:
        return Reason.TOO_LARGE
    if not any(data[at : at + len(magic)] == magic for at, magic in _MAGIC):
        return Reason.UNKNOWN_FORMAT
    is_webp = data[8:12] == b"WEBP"
    if "truncated" in said or isinstance(error, EOFError):
        return Reason.TRUNCATED
    if is_webp and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return Reason.TRUNCATED
    return Reason.DAMAGED


def _describe(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        # Its message holds the address of a buffer, which differs from run to run.
        return "no decoder among " + ", ".join(FORMATS) + " takes it"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


# Pillow warns about damaged metadata and large pictures. Under `-W error` these would reject sound
# pictures, and `warnings.catch_warnings` is not safe in threads (Python < 3.14): it swaps the
# filters of the whole process. So one filter is added that holds only for threads that decode.
_decoding = threading.local()


class _WhileDecoding:
    """Stand in for a filter's module pattern: match in threads that are decoding."""

    def match(self, _module: str) -> bool:
        return getattr(_decoding, "depth", 0) > 0


_FILTER = ("ignore", None, Warning, _WhileDecoding(), 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence warnings in this thread only."""
    filters = cast("list[Any]", warnings.filters)
    if not filters or filters[0] is not _FILTER:
        filters.insert(0, _FILTER)
    _decoding.depth = getattr(_decoding, "depth", 0) + 1
    try:
        yield
    finally:
        _decoding.depth -= 1
