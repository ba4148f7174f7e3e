"""Turns a drawn picture into an image file: as most are, as the wild has them, or damaged."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

_QUALITY = 62


def encode_picture(picture: Image.Image, *, quality: int = _QUALITY, exif: bytes = b"") -> bytes:
    """Encode a picture as JPEG.

    Args:
        picture: The picture.
        quality: Of the encoding, 0 to 95.
        exif: A block of EXIF tags to write into it.

    Returns:
        The file's bytes.
    """
    out = io.BytesIO()
    picture.save(out, "JPEG", quality=quality, optimize=True, exif=exif)
    return out.getvalue()


def encode_unreadable(picture: Image.Image, rng: np.random.Generator) -> list[bytes | None]:
    """Draw how a picture cannot be read: not named, missing, cut short, or no image at all.

    Args:
        picture: What it would have shown.
        rng: Draws one of the four.

    Returns:
        The post's files; None for one that is named but missing.
    """
    whole = encode_picture(picture)
    kinds: list[list[bytes | None]] = [
        [],
        [None],
        [whole[: len(whole) // 3]],
        [b"<html>404</html>"],
    ]
    return kinds[int(rng.integers(len(kinds)))]


def encode_unusual(picture: Image.Image, rng: np.random.Generator) -> bytes | None:
    """Encode a picture, now and then, as the wild has them; every one can be read.

    Args:
        picture: The picture.
        rng: Draws how; mostly nothing unusual happens.

    Returns:
        The file's bytes, or None for an ordinary file.
    """
    out = io.BytesIO()
    match int(rng.integers(150)):
        case 0:  # an animation, named .jpg all the same
            blank = Image.new("RGB", picture.size, "white")
            picture.quantize(64).save(out, "GIF", save_all=True, append_images=[blank.quantize(4)])
        case 1:  # a PNG with an alpha channel
            picture.quantize(48).convert("RGBA").save(out, "PNG", optimize=True)
        case 2:
            return encode_picture(picture.convert("CMYK"))
        case 3:  # lying on its side, upright only by its EXIF tag
            exif = Image.Exif()
            exif[0x0112] = 6
            return encode_picture(picture.transpose(Image.Transpose.ROTATE_90), exif=exif.tobytes())
        case _:
            return None
    return out.getvalue()
