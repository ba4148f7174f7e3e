"""Encode images for an endpoint: upright JPEG data URLs of bounded size, without metadata."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from PIL import Image

from postbias.errors import UnreadableImageError
from postbias.params import ImagesSentParams
from postbias.posts.images import MIN_SIDE_PX, decode_upright


def encode_images(images: Iterable[bytes], params: ImagesSentParams) -> tuple[str, ...]:
    """Encode the first `max_images` readable images of a post as data URLs; skip unreadable ones.

    Args:
        images: Image files in order.
        params: Number, size and quality of the images to send.

    Returns:
        At most `max_images` data URLs.
    """
    urls: list[str] = []
    for data in images:
        if len(urls) == params.max_images:
            break
        try:
            urls.append(encode_image(decode_upright(data, max_side_px=params.max_side_px), params))
        except UnreadableImageError:
            continue
    return tuple(urls)


def encode_image(image: Image.Image, params: ImagesSentParams) -> str:
    """Encode an RGB image as a JPEG data URL, with no side below 28 px.

    Qwen-VL servers crash on smaller images (vllm #15080).
    """
    # Shrinking can make a long strip too thin: pad with white rather than distort.
    width, height = (max(side, MIN_SIDE_PX) for side in image.size)
    if (width, height) != image.size:
        padded = Image.new("RGB", (width, height), "white")
        padded.paste(image, ((width - image.width) // 2, (height - image.height) // 2))
        image = padded
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=params.jpeg_quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def largest_sample_image(params: ImagesSentParams) -> str:
    """Encode a plain gradient of the largest size sent, to measure the token cost of an image."""
    gradient = Image.linear_gradient("L").resize((params.max_side_px, params.max_side_px))
    return encode_image(gradient.convert("RGB"), params)
