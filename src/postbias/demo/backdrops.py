"""Draw the backdrop of a synthetic image: one simple scene per topic.

A backdrop shows the topic of the post and has no effect on its true scores.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from postbias.demo.canvas import INK, WHITE, Canvas, Colour, from_hsv, shade

_WOOD: Colour = (178, 132, 92)
_STEEL: Colour = (176, 184, 194)

FLOOR_Y = 78.0


def draw_backdrop(topic: str, rng: np.random.Generator) -> Canvas:
    """Draw the backdrop of a topic on a new canvas.

    Args:
        topic: One of `ground_truth.TOPICS`.
        rng: Source of randomness for hues and positions.
    """
    hue = rng.random()
    wall = from_hsv(hue, rng.uniform(0.08, 0.26), rng.uniform(0.86, 0.97))
    canvas = Canvas(wall)
    floor = from_hsv(
        hue + rng.uniform(-0.08, 0.08), rng.uniform(0.15, 0.35), rng.uniform(0.62, 0.8)
    )
    canvas.rectangle((0, FLOOR_Y, 100, 100), floor)
    canvas.rectangle((0, FLOOR_Y, 100, FLOOR_Y + 1.2), shade(floor, 0.85))
    accent = from_hsv(rng.random(), 0.35, 0.75)
    _SCENES[topic](canvas.transform(rng.uniform(-4, 4), 0), shade(wall, 0.88), accent)
    return canvas


def _kitchen(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.rectangle((6, 8, 44, 26), dim, 1)
    canvas.line([(25, 9), (25, 25)], shade(dim, 0.85), 0.8)
    canvas.rectangle((-6, 58, 110, 62), shade(_WOOD, 1.1))
    canvas.rectangle((-6, 62, 110, 79), accent)
    for x in (18, 42, 66, 90):
        canvas.line([(x, 63), (x, 78)], shade(accent, 0.85), 0.7)
        canvas.ellipse(x - 4, 66, 0.9, 0.9, WHITE)
    canvas.rectangle((8, 50, 20, 58), _STEEL, 2)
    canvas.line([(5, 52), (23, 52)], shade(_STEEL, 0.7), 1.4)


def _office(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.rectangle((8, 10, 40, 36), WHITE)
    for x, top in ((12, 28), (18, 22), (24, 25), (30, 16)):
        canvas.rectangle((x, top, x + 4, 33), accent)
    canvas.rectangle((-6, 62, 110, 65.5), _WOOD)
    for x in (4, 94):
        canvas.rectangle((x, 65, x + 2.5, 88), shade(_WOOD, 0.8))
    canvas.rectangle((6, 46, 24, 59), INK, 1)
    canvas.rectangle((7.5, 47.5, 22.5, 57.5), shade(dim, 1.1))
    canvas.rectangle((14, 59, 16, 62), INK)


def _gym(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.rectangle((-6, 12, 110, 16), dim)
    for x in (4, 22):
        canvas.rectangle((x, 30, x + 2, 80), shade(_STEEL, 0.8))
    canvas.line([(0, 40), (30, 40)], INK, 1.4)
    for x in (0, 30):
        canvas.rectangle((x - 1.5, 32, x + 1.5, 48), accent, 1)
    canvas.rectangle((-6, 88, 110, 91), shade(accent, 0.8))


def _nursery(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    for x, y in ((10, 12), (28, 22), (48, 10), (70, 20), (92, 12)):
        canvas.ellipse(x, y, 2, 2, dim)
    canvas.rectangle((0, 56, 30, 60), _WOOD, 1)
    for x in (1, 8, 15, 22):
        canvas.rectangle((x, 58, x + 2, 80), _WOOD)
    canvas.rectangle((0, 70, 30, 76), accent)
    canvas.line([(16, 0), (16, 30)], shade(dim, 0.8), 0.6)
    for x in (9, 16, 23):
        canvas.line([(16, 30), (x, 36)], shade(dim, 0.8), 0.6)
        canvas.ellipse(x, 38, 2.2, 2.2, accent)


def _lab(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.rectangle((4, 14, 46, 17), dim)
    for x in (8, 18, 28, 38):
        canvas.rectangle((x, 6, x + 5, 14), accent, 1)
    canvas.rectangle((-6, 64, 110, 80), shade(_STEEL, 1.15))
    canvas.rectangle((-6, 62, 110, 65), _STEEL)
    canvas.polygon([(10, 48), (14, 48), (14, 54), (20, 62), (4, 62), (10, 54)], WHITE)
    canvas.polygon([(8.4, 56), (15.6, 56), (20, 62), (4, 62)], accent)


def _bank(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.polygon([(0, 20), (26, 6), (52, 20)], dim)
    canvas.rectangle((0, 20, 52, 24), shade(dim, 0.92))
    for x in (4, 18, 32, 46):
        canvas.rectangle((x, 24, x + 4, 72), dim)
    canvas.rectangle((0, 72, 54, 78), shade(dim, 0.92))
    canvas.rectangle((64, 8, 96, 30), WHITE, 1)
    canvas.line([(67, 26), (75, 19), (82, 22), (93, 11)], accent, 1.6)


def _salon(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.ellipse(20, 30, 16, 22, shade(_WOOD, 1.15))
    canvas.ellipse(20, 30, 13.5, 19.5, shade(dim, 1.18))
    canvas.rectangle((-6, 60, 44, 64), WHITE)
    canvas.rectangle((-4, 64, 42, 80), accent)
    for x, height in ((4, 8), (10, 5), (30, 9)):
        canvas.rectangle((x, 60 - height, x + 4, 60), shade(accent, 1.25), 1)


def _stage(canvas: Canvas, dim: Colour, accent: Colour) -> None:
    canvas.polygon([(20, 0), (30, 0), (60, 79), (0, 79)], shade(dim, 1.12))
    canvas.polygon([(72, 0), (80, 0), (108, 79), (52, 79)], shade(dim, 1.12))
    for x in (-6, 92):
        canvas.rectangle((x, 0, x + 14, 79), accent)
        for fold in (4, 9):
            canvas.line([(x + fold, 0), (x + fold, 78)], shade(accent, 0.85), 0.8)
    canvas.rectangle((-6, 0, 110, 6), shade(accent, 0.9))


_SCENES: dict[str, Callable[[Canvas, Colour, Colour], None]] = {
    "cooking": _kitchen,
    "office": _office,
    "gym": _gym,
    "children": _nursery,
    "science": _lab,
    "money": _bank,
    "beauty": _salon,
    "music": _stage,
}
