"""Decode images: the only decoder of training, evaluation, bulk scoring and REST.

An image is decoded upright, to RGB, with transparency composited on white; of an animation only
the first frame is used; colour profiles are ignored. A student states in its artifact what its
encoder reads of an image (`postbias.posts.image_preprocessing`); by default it is the whole image.
File size and dimensions are checked before any pixel is decoded. Pillow's global settings and the
caller's warning filters are left unchanged. HEIF images need the extra `heif`.
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
from postbias.posts.file_kinds import FileKind, recognise_kind
from postbias.posts.heif_images import register_heif
from postbias.posts.image_preprocessing import DEFAULT_PREPROCESSING, ImagePreprocessing
from postbias.posts.reasons import RejectReason

#: Formats that Pillow may open; no other plugin is tried.
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "AVIF")

#: Twice the largest file of a phone camera; images on social media are under 2 MiB.
MAX_BYTES = 32 * 2**20

#: Accepts a 50-megapixel camera; such an image takes 350 MB to decode with transparency.
MAX_PIXELS = 52_000_000

#: Smaller images are illegible and crash Qwen-VL servers (vllm #15080).
MIN_SIDE_PX = 28

# Only for bytes that are HEIF: pillow-heif would also claim AVIF.
_HEIF_FORMATS = ("HEIF",)

_MAGIC: tuple[tuple[int, bytes], ...] = (
    (0, b"\xff\xd8\xff"),
    (0, b"\x89PNG\r\n\x1a\n"),
    (8, b"WEBP"),
    (0, b"GIF8"),
    (0, b"BM"),
    (4, b"ftypavi"),
    (4, b"ftyphe"),
    (4, b"ftypmif1"),
)

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

# EXIF orientation to the operation that turns the image upright.
_TO_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Raised by Pillow's EXIF reader on damaged metadata; the image itself may be intact.
_EXIF_ERRORS = (
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


def decode_square(
    data: bytes, size: int, preprocessing: ImagePreprocessing = DEFAULT_PREPROCESSING
) -> np.ndarray:
    """Decode an image to the square that an encoder reads.

    Args:
        size: Side of the square in pixels.
        preprocessing: How the image is made square; by default it is stretched, without cropping.

    Returns:
        RGB values, uint8, (size, size, 3).

    Raises:
        UnreadableImageError: If it cannot be decoded, for any reason.
    """
    filter_ = _FILTERS[preprocessing.interpolation]
    image = _decode(data, lambda file: preprocessing.resized(file, size), size, filter_)
    return np.array(image)  # (size, size, 3)


def decode_upright(data: bytes, *, max_side_px: int | None = None) -> Image.Image:
    """Decode an image and keep its aspect ratio.

    Args:
        max_side_px: Shrink the image so that its longer side has at most this many pixels; a
            smaller image is not enlarged. None decodes at full size.

    Returns:
        The upright RGB image, loaded, without metadata.

    Raises:
        UnreadableImageError: If it cannot be decoded, for any reason.
    """

    def shrink(size: tuple[int, int]) -> tuple[int, int]:
        scale = min(1.0, (max_side_px or max(size)) / max(size))
        return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))

    return _decode(data, shrink)


def _decode(
    data: bytes,
    target_size: Callable[[tuple[int, int]], tuple[int, int]],
    center: int | None = None,
    filter_: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """Decode to a target size that may depend on the (width, height) of the file.

    Args:
        data: The file's bytes.
        target_size: From the file's size to the size to resize to.
        center: Side of the square to cut out of the resized image; None to keep it whole.
        filter_: Filter of the resizing.

    Returns:
        The upright image.
    """
    _check_bytes(data)
    formats: tuple[str, ...] = FORMATS
    if recognise_kind(data) is FileKind.HEIF:
        register_heif()
        formats = _HEIF_FORMATS
    try:
        with _suppress_warnings(), Image.open(io.BytesIO(data), formats=formats) as file:
            _check_size(file.size)
            size = target_size(file.size)
            # Draft mode: libjpeg decodes at 1/2, 1/4 or 1/8 scale, never below `size`.
            file.draft("RGB", size)
            file.load()
            orientation = _read_orientation(file)
            image = _resize(_to_rgb_on_white(file), size, center, filter_)
            if orientation in _TO_UPRIGHT:
                # After resizing, which is cheaper; here width and height may swap.
                image = image.transpose(_TO_UPRIGHT[orientation])
            image.info.clear()
            return image
    except UnreadableImageError:
        raise
    except Exception as error:  # Pillow documents no set of errors; more than ten types were seen.
        raise UnreadableImageError(_classify(data, error), _describe(error)) from error


def _resize(
    image: Image.Image, size: tuple[int, int], center: int | None, filter_: Image.Resampling
) -> Image.Image:
    """Resize, and cut out the centre, of which alone the pixels are computed."""
    if center is None or size == (center, center):
        return image.resize(size, filter_)
    # A strip of 28 x 1,800,000 pixels would be resized to more than a gigabyte, and then cropped.
    starts = [round((side - center) / 2) for side in size]
    scales = [given / side for given, side in zip(image.size, size, strict=True)]
    left, top = (start * scale for start, scale in zip(starts, scales, strict=True))
    right, bottom = (
        min((start + center) * scale, given)
        for start, scale, given in zip(starts, scales, image.size, strict=True)
    )
    return image.resize((center, center), filter_, box=(left, top, right, bottom))


def _check_bytes(data: bytes) -> None:
    if not data:
        raise UnreadableImageError(RejectReason.TRUNCATED, "the file is empty")
    if len(data) > MAX_BYTES:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE, f"{len(data)} bytes, at most {MAX_BYTES} are decoded"
        )


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            RejectReason.TOO_LARGE, f"{width} x {height} px, at most {MAX_PIXELS} px are decoded"
        )
    if min(size) < MIN_SIDE_PX:
        raise UnreadableImageError(
            RejectReason.TOO_SMALL, f"{width} x {height} px, each side needs at least {MIN_SIDE_PX}"
        )


def _read_orientation(file: Image.Image) -> int:
    try:
        orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    except _EXIF_ERRORS:
        return 1
    return orientation if isinstance(orientation, int) else 1


def _to_rgb_on_white(file: Image.Image) -> Image.Image:
    if file.mode.startswith("I"):
        return _scale_16_bit(file)
    if file.has_transparency_data:
        layer = file.convert("RGBA")
        white = Image.new("RGB", layer.size, "white")
        white.paste(layer, mask=layer.getchannel("A"))
        return white
    return file if file.mode == "RGB" else file.convert("RGB")  # no copy: resizing makes one


def _scale_16_bit(file: Image.Image) -> Image.Image:
    """Scale 16-bit grey to 8 bits; Pillow's own conversion clips all values above 255 to white."""
    grey = np.asarray(file)  # (H, W)
    scaled = (np.clip(grey, 0, 65535) >> 8).astype(np.uint8)
    transparent = file.info.get("transparency")
    if isinstance(transparent, int):
        scaled[grey == transparent] = 255
    return Image.fromarray(scaled).convert("RGB")


def _classify(data: bytes, error: Exception) -> RejectReason:
    """Find the reject reason behind an error from Pillow."""
    message = str(error).lower()
    if isinstance(error, Image.DecompressionBombError | MemoryError) or "too large" in message:
        return RejectReason.TOO_LARGE
    if not any(data[at : at + len(magic)] == magic for at, magic in _MAGIC):
        return RejectReason.UNKNOWN_FORMAT
    is_webp = data[8:12] == b"WEBP"
    if "truncated" in message or isinstance(error, EOFError):
        return RejectReason.TRUNCATED
    if is_webp and int.from_bytes(data[4:8], "little") + 8 > len(data):
        return RejectReason.TRUNCATED
    return RejectReason.DAMAGED


def _describe(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        # Its message contains a memory address, which differs between runs.
        return "no decoder among " + ", ".join(FORMATS) + " takes it"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:200]


# Pillow warns about damaged metadata and large images. Under `-W error` these warnings would reject
# intact images, and `warnings.catch_warnings` is not thread-safe (Python < 3.14): it replaces the
# filters of the whole process. So one filter is added that only matches in threads that decode.
_decoding = threading.local()


class _MatchWhileDecoding:
    """Module pattern of a warning filter that matches only in threads that are decoding.

    Attributes:
        pattern: For libraries that copy filters to their workers, as scikit-learn does: a regular
            expression that matches nothing.
    """

    pattern = r"(?!)"

    def match(self, _module: str) -> bool:
        return getattr(_decoding, "depth", 0) > 0


_FILTER = ("ignore", None, Warning, _MatchWhileDecoding(), 0)


@contextmanager
def _suppress_warnings() -> Iterator[None]:
    """Ignore warnings in this thread only."""
    filters = cast("list[Any]", warnings.filters)
    if not filters or filters[0] is not _FILTER:
        filters.insert(0, _FILTER)
    _decoding.depth = getattr(_decoding, "depth", 0) + 1
    try:
        yield
    finally:
        _decoding.depth -= 1
