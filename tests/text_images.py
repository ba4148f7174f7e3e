"""Images that show sentences: fonts, sizes, colours, rotation and JPEG quality vary."""

from __future__ import annotations

import io
import re
import unicodedata
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SENTENCES = (
    "Girls are simply not made for the office",
    "Real men never cook dinner at home",
    "Women belong in the kitchen, everyone knows it",
    "Boys do not cry, ever",
    "Science is not for ladies",
    "Behind every great man stands a woman doing laundry",
    "A wife should always obey her husband",
    "Nobody hires a father who asks for leave",
    "Les garçons préfèrent l'été à la forêt",
    "Les femmes ne savent pas conduire, c'est évident",
    "Las mujeres deben cuidar a los niños",
    "Los hombres de verdad no lloran jamás",
)
# Matplotlib, which MLflow needs, ships these.
_FONTS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono", "DejaVuSerif",
          "DejaVuSerif-Bold", "DejaVuSerif-Italic", "STIXGeneral")  # fmt: skip


def draw_sentence(
    sentence: str, rng: np.random.Generator, *, side: int | None = None, angle: float | None = None
) -> bytes:
    """Draw a sentence on a plain or speckled background; everything else is random."""
    width = side or int(rng.choice((240, 320, 480, 640, 800)))
    height = round(width * rng.uniform(0.7, 1.3))
    background = rng.integers(0, 256, 3)
    ink = np.full(3, 255 if background.mean() < 128 else 0)
    if rng.random() < 0.5:
        ink = np.clip(ink + rng.integers(-60, 61, 3), 0, 255)
    pixels = np.broadcast_to(background, (height, width, 3))
    if rng.random() < 0.5:
        speckles = rng.integers(-18, 18, (height // 8 + 1, width // 8 + 1, 3))
        pixels = pixels + np.kron(speckles, np.ones((8, 8, 1)))[:height, :width]
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    text = sentence.upper() if rng.random() < 0.3 else sentence
    mask = _draw_lines(text, (width, height), rng)
    mask = mask.rotate(rng.uniform(-8, 8) if angle is None else angle, Image.Resampling.BICUBIC)
    image.paste(Image.new("RGB", image.size, tuple(int(c) for c in ink)), mask=mask)
    out = io.BytesIO()
    image.save(out, "JPEG", quality=int(rng.integers(35, 96)))
    return out.getvalue()


def draw_nothing(rng: np.random.Generator, *, side: int = 480) -> bytes:
    """Draw an image without text: a few soft shapes."""
    image = Image.new("RGB", (side, side), _colour(rng))
    draw = ImageDraw.Draw(image)
    for _ in range(6):
        (x, y), r = rng.integers(0, side, 2).tolist(), int(rng.integers(side // 8, side // 3))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=_colour(rng))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return out.getvalue()


def count_found_words(sentence: str, text: str) -> tuple[int, int]:
    """Return how many words of a sentence a text has, whatever their case, and their number."""
    wanted, seen = Counter(_words(sentence)), Counter(_words(text))
    return sum((wanted & seen).values()), wanted.total()


def _colour(rng: np.random.Generator) -> tuple[int, ...]:
    return tuple(rng.integers(0, 256, 3).tolist())


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFC", text).casefold())


def _draw_lines(text: str, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    width, height = size
    mask = Image.new("L", size)
    draw = ImageDraw.Draw(mask)
    ttf = Path(str(resources.files("matplotlib"))) / "mpl-data" / "fonts" / "ttf"
    px = int(rng.integers(16, max(19, width // 12 + 1)))
    font = ImageFont.truetype(str(ttf / f"{rng.choice(_FONTS)}.ttf"), px)
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if draw.textlength(longer, font) > 0.85 * width and lines[-1]:
            lines.append(word)
        else:
            lines[-1] = longer
    centre = (width / 2, height / 2)
    draw.multiline_text(centre, "\n".join(lines), 255, font, anchor="mm", align="center")
    return mask
