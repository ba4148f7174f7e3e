"""Encode a synthetic image as a file: ordinary, in an unusual format, or unreadable."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_QUALITY = 62


def encode_jpeg(image: Image.Image, *, quality: int = _QUALITY, exif: bytes = b"") -> bytes:
    """Encode an image as JPEG.

    Args:
        quality: JPEG quality, 0 to 95.
        exif: EXIF block to embed.

    Returns:
        The file's bytes.
    """
    out = io.BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True, exif=exif)
    return out.getvalue()


def make_unreadable(image: Image.Image, rng: np.random.Generator) -> list[bytes | None]:
    """Make an image unreadable: not listed, missing, truncated, or not an image file.

    Args:
        image: The image that would have been readable.
        rng: Picks one of the four.

    Returns:
        Files of the post; None for a file that is listed but missing.
    """
    whole = encode_jpeg(image)
    kinds: list[list[bytes | None]] = [
        [],
        [None],
        [whole[: len(whole) // 3]],
        [b"<html>404</html>"],
    ]
    return kinds[int(rng.integers(len(kinds)))]


def encode_unusual_format(image: Image.Image, rng: np.random.Generator) -> bytes | None:
    """Encode one image in 37 in a format that is readable but unusual on social media.

    Args:
        rng: Picks whether to, and the format.

    Returns:
        The file's bytes, or None to encode the image as usual.
    """
    out = io.BytesIO()
    match int(rng.integers(150)):
        case 0:  # an animation, although the file name ends in .jpg
            blank = Image.new("RGB", image.size, "white")
            image.quantize(64).save(out, "GIF", save_all=True, append_images=[blank.quantize(4)])
        case 1:  # a PNG with an alpha channel
            image.quantize(48).convert("RGBA").save(out, "PNG", optimize=True)
        case 2:
            return encode_jpeg(image.convert("CMYK"))
        case 3:  # stored rotated, with an EXIF orientation that turns it upright
            exif = Image.Exif()
            exif[0x0112] = 6
            return encode_jpeg(image.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())
        case _:
            return None
    return out.getvalue()
