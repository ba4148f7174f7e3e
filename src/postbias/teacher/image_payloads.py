"""Pictures as an endpoint is sent them: upright JPEG data URLs of bounded size.

Uses the one decoding policy of `postbias.posts.images`. Metadata, and with it places and names, is
left behind.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable

from PIL import Image

from postbias.errors import UnreadableImageError
from postbias.params import ImagesSentParams
from postbias.posts.images import MIN_SIDE_PX, open_upright


def data_urls(images: Iterable[bytes], params: ImagesSentParams) -> tuple[str, ...]:
    """Encode the first readable pictures of a post.

    Args:
        images: Their files, in order.
        params: How many, how large, how good.

    Returns:
        A data URL each; unreadable ones are left out.
    """
    urls: list[str] = []
    for data in images:
        if len(urls) == params.max_images:
            break
        try:
            urls.append(data_url(open_upright(data, max_side_px=params.max_side_px), params))
        except UnreadableImageError:
            continue
    return tuple(urls)


def data_url(picture: Image.Image, params: ImagesSentParams) -> str:
    """Encode one picture.

    Args:
        picture: In RGB.
        params: How good.

    Returns:
        A JPEG as a data URL, no side below 28 px: Qwen-VL servers crash on those (vllm #15080).
    """
    # A long strip may have become too thin by shrinking: a white border, not a distortion.
    width, height = (max(side, MIN_SIDE_PX) for side in picture.size)
    if (width, height) != picture.size:
        wide = Image.new("RGB", (width, height), "white")
        wide.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
        picture = wide
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=params.jpeg_quality)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def sample_picture(params: ImagesSentParams) -> str:
    """Draw a picture of the largest size that is sent, to measure what a picture costs.

    Args:
        params: How large.

    Returns:
        A JPEG of a plain gradient as a data URL.
    """
    gradient = Image.linear_gradient("L").resize((params.max_side_px, params.max_side_px))
    return data_url(gradient.convert("RGB"), params)
