"""Where a synthetic picture is set: one simple backdrop per topic.

Backdrops are scenery: they say what the post is about and add nothing to its truth.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from postbias.demo.drawing import INK, WHITE, Colour, Pen, hsv, shade

_WOOD: Colour = (178, 132, 92)
_STEEL: Colour = (176, 184, 194)

FLOOR_Y = 78.0


def draw_scene(topic: str, rng: np.random.Generator) -> Pen:
    """Draw a backdrop.

    Args:
        topic: One of `truth.TOPICS`.
        rng: Source of randomness: hues and where things stand.

    Returns:
        A pen on the new canvas.
    """
    hue = rng.random()
    wall = hsv(hue, rng.uniform(0.08, 0.26), rng.uniform(0.86, 0.97))
    pen = Pen(wall)
    floor = hsv(hue + rng.uniform(-0.08, 0.08), rng.uniform(0.15, 0.35), rng.uniform(0.62, 0.8))
    pen.box((0, FLOOR_Y, 100, 100), floor)
    pen.box((0, FLOOR_Y, 100, FLOOR_Y + 1.2), shade(floor, 0.85))
    accent = hsv(rng.random(), 0.35, 0.75)
    _SCENES[topic](pen.at(rng.uniform(-4, 4), 0), shade(wall, 0.88), accent)
    return pen


def _kitchen(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.box((6, 8, 44, 26), dim, 1)
    pen.line([(25, 9), (25, 25)], shade(dim, 0.85), 0.8)
    pen.box((-6, 58, 110, 62), shade(_WOOD, 1.1))
    pen.box((-6, 62, 110, 79), accent)
    for x in (18, 42, 66, 90):
        pen.line([(x, 63), (x, 78)], shade(accent, 0.85), 0.7)
        pen.ellipse(x - 4, 66, 0.9, 0.9, WHITE)
    pen.box((8, 50, 20, 58), _STEEL, 2)
    pen.line([(5, 52), (23, 52)], shade(_STEEL, 0.7), 1.4)


def _office(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.box((8, 10, 40, 36), WHITE)
    for x, top in ((12, 28), (18, 22), (24, 25), (30, 16)):
        pen.box((x, top, x + 4, 33), accent)
    pen.box((-6, 62, 110, 65.5), _WOOD)
    for x in (4, 94):
        pen.box((x, 65, x + 2.5, 88), shade(_WOOD, 0.8))
    pen.box((6, 46, 24, 59), INK, 1)
    pen.box((7.5, 47.5, 22.5, 57.5), shade(dim, 1.1))
    pen.box((14, 59, 16, 62), INK)


def _gym(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.box((-6, 12, 110, 16), dim)
    for x in (4, 22):
        pen.box((x, 30, x + 2, 80), shade(_STEEL, 0.8))
    pen.line([(0, 40), (30, 40)], INK, 1.4)
    for x in (0, 30):
        pen.box((x - 1.5, 32, x + 1.5, 48), accent, 1)
    pen.box((-6, 88, 110, 91), shade(accent, 0.8))


def _nursery(pen: Pen, dim: Colour, accent: Colour) -> None:
    for x, y in ((10, 12), (28, 22), (48, 10), (70, 20), (92, 12)):
        pen.ellipse(x, y, 2, 2, dim)
    pen.box((0, 56, 30, 60), _WOOD, 1)
    for x in (1, 8, 15, 22):
        pen.box((x, 58, x + 2, 80), _WOOD)
    pen.box((0, 70, 30, 76), accent)
    pen.line([(16, 0), (16, 30)], shade(dim, 0.8), 0.6)
    for x in (9, 16, 23):
        pen.line([(16, 30), (x, 36)], shade(dim, 0.8), 0.6)
        pen.ellipse(x, 38, 2.2, 2.2, accent)


def _lab(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.box((4, 14, 46, 17), dim)
    for x in (8, 18, 28, 38):
        pen.box((x, 6, x + 5, 14), accent, 1)
    pen.box((-6, 64, 110, 80), shade(_STEEL, 1.15))
    pen.box((-6, 62, 110, 65), _STEEL)
    pen.shape([(10, 48), (14, 48), (14, 54), (20, 62), (4, 62), (10, 54)], WHITE)
    pen.shape([(8.4, 56), (15.6, 56), (20, 62), (4, 62)], accent)


def _bank(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.shape([(0, 20), (26, 6), (52, 20)], dim)
    pen.box((0, 20, 52, 24), shade(dim, 0.92))
    for x in (4, 18, 32, 46):
        pen.box((x, 24, x + 4, 72), dim)
    pen.box((0, 72, 54, 78), shade(dim, 0.92))
    pen.box((64, 8, 96, 30), WHITE, 1)
    pen.line([(67, 26), (75, 19), (82, 22), (93, 11)], accent, 1.6)


def _salon(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.ellipse(20, 30, 16, 22, shade(_WOOD, 1.15))
    pen.ellipse(20, 30, 13.5, 19.5, shade(dim, 1.18))
    pen.box((-6, 60, 44, 64), WHITE)
    pen.box((-4, 64, 42, 80), accent)
    for x, height in ((4, 8), (10, 5), (30, 9)):
        pen.box((x, 60 - height, x + 4, 60), shade(accent, 1.25), 1)


def _stage(pen: Pen, dim: Colour, accent: Colour) -> None:
    pen.shape([(20, 0), (30, 0), (60, 79), (0, 79)], shade(dim, 1.12))
    pen.shape([(72, 0), (80, 0), (108, 79), (52, 79)], shade(dim, 1.12))
    for x in (-6, 92):
        pen.box((x, 0, x + 14, 79), accent)
        for fold in (4, 9):
            pen.line([(x + fold, 0), (x + fold, 78)], shade(accent, 0.85), 0.8)
    pen.box((-6, 0, 110, 6), shade(accent, 0.9))


_SCENES: dict[str, Callable[[Pen, Colour, Colour], None]] = {
    "cooking": _kitchen,
    "office": _office,
    "gym": _gym,
    "children": _nursery,
    "science": _lab,
    "money": _bank,
    "beauty": _salon,
    "music": _stage,
}
