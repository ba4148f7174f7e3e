"""Show a sentence in an image of the demo corpus, on a band where nothing else is drawn."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from postbias.demo.canvas import INK, SIDE_PX, WHITE

# Pillow's own font lacks accents. Matplotlib, which MLflow needs, ships this one.
_FONT = Path(str(resources.files("matplotlib"))) / "mpl-data" / "fonts" / "ttf" / "DejaVuSans.ttf"

_SIDE_PX = 3 * SIDE_PX  # at the side of other images, letters would be illegible
_BAND = 0.17  # of the height: above the heads and the bubble
_MAX_FONT_PX, _MIN_FONT_PX = 30, 14
_LINE = 1.2  # height in font sizes


def draw_quote(image: Image.Image, sentence: str) -> Image.Image:
    """Enlarge an image and write a sentence across its top.

    Args:
        image: The image.
        sentence: The sentence, in a Latin alphabet.

    Returns:
        The enlarged image.
    """
    enlarged = image.resize((_SIDE_PX, _SIDE_PX), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(enlarged)
    height = round(_BAND * _SIDE_PX)
    draw.rectangle((0, 0, _SIDE_PX, height), fill=WHITE)
    for size in range(_MAX_FONT_PX, _MIN_FONT_PX - 1, -1):
        font = ImageFont.truetype(str(_FONT), size)
        lines = _wrap(sentence, draw, font)
        if len(lines) * _LINE * size <= height:
            break
    for number, line in enumerate(lines):
        top = (height - len(lines) * _LINE * size) / 2 + number * _LINE * size
        draw.text((_SIDE_PX / 2, top), line, fill=INK, font=font, anchor="ma")
    return enlarged


def _wrap(sentence: str, draw: ImageDraw.ImageDraw, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in sentence.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font) > 0.94 * _SIDE_PX:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
