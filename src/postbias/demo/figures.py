"""Draw the persons and the cat of the demo corpus."""

from __future__ import annotations

import copy

import numpy as np

from postbias.demo.canvas import INK, WHITE, Canvas, Colour, from_hsv, shade

_SKINS: tuple[Colour, ...] = (
    (255, 219, 188), (240, 194, 152), (214, 160, 116), (168, 112, 76), (122, 80, 56),
)  # fmt: skip
_HAIR: tuple[Colour, ...] = (
    (44, 34, 34),
    (92, 58, 38),
    (150, 92, 44),
    (214, 168, 92),
    (120, 118, 122),
)
#: Hues of masculine and feminine clothes; one outfit in eight has those of the other gender.
_CLOTHES = ((0.36, 0.66), (0.80, 1.12))


def draw_person(canvas: Canvas, gender: int, rng: np.random.Generator) -> None:
    """Draw a person down to the waist, with the centre of the head at the origin.

    Args:
        canvas: Canvas whose origin is the centre of the head.
        gender: 1 for a woman, -1 for a man.
        rng: Source of skin, hair, clothes and beard; how many numbers are drawn depends on gender.
    """
    skin = _SKINS[rng.integers(len(_SKINS))]
    hair = _HAIR[rng.integers(len(_HAIR))]
    style = gender if rng.random() < 0.88 else -gender
    low, high = _CLOTHES[0 if style < 0 else 1]
    cloth = from_hsv(rng.uniform(low, high), rng.uniform(0.5, 0.75), rng.uniform(0.6, 0.88))
    if gender > 0:
        canvas.ellipse(0, 4, 14, 17, hair)
        canvas.rectangle((-14, 4, 14, 24), hair, 4)
        canvas.rectangle((-4, 8, 4, 22), shade(skin, 0.9), 2)
        canvas.polygon([(-13, 21), (13, 21), (24, 80), (-24, 80)], cloth)
        canvas.ellipse(-12, 26, 5, 6, cloth)
        canvas.ellipse(12, 26, 5, 6, cloth)
        canvas.polygon([(-6, 20), (6, 20), (0, 29)], skin)
    else:
        canvas.rectangle((-5, 8, 5, 22), shade(skin, 0.9), 2)
        canvas.rectangle((-22, 20, 22, 80), cloth, 7)
        canvas.polygon([(-7, 19.5), (7, 19.5), (0, 31)], WHITE)
        canvas.polygon([(-1.8, 23), (1.8, 23), (2.6, 38), (0, 42), (-2.6, 38)], shade(cloth, 0.55))
        canvas.rectangle((-11.5, -15, 11.5, 0), hair, 5)
    canvas.ellipse(0, 0, 10.5, 12, skin)
    _face(canvas, gender, hair, rng)


def _face(canvas: Canvas, gender: int, hair: Colour, rng: np.random.Generator) -> None:
    if gender > 0:
        canvas.polygon([(-11, -2), (-9, -11), (0, -14.5), (9, -11), (11, -2), (3, -8)], hair)
        canvas.arc((-3.4, 1, 3.4, 7.5), (20, 160), (196, 62, 82), 1.6)
    else:
        canvas.rectangle((-10, -14, 10, -6.5), hair, 3)
        if rng.random() < 0.6:
            canvas.polygon([(-10, 2), (10, 2), (7.5, 10), (0, 13.5), (-7.5, 10)], hair)
            canvas.rectangle((-3.4, 4, 3.4, 6.4), (232, 180, 160), 1)
        else:
            canvas.arc((-3.4, 1, 3.4, 7.5), (20, 160), INK, 1.2)
    for x in (-4, 4):
        canvas.ellipse(x, -1, 1.2, 1.5, INK)


def draw_cat(canvas: Canvas, fur: Colour) -> None:
    """Draw a cat of the given colour around the origin."""
    canvas.ellipse(0, 6, 10, 12, fur)
    canvas.ellipse(0, -8, 8, 7, fur)
    canvas.polygon([(-8, -8), (-6.5, -18), (-1, -13)], fur)
    canvas.polygon([(8, -8), (6.5, -18), (1, -13)], fur)
    for x in (-3, 3):
        canvas.ellipse(x, -9, 1.1, 1.5, INK)
    canvas.line([(9, 14), (17, 12), (18, 2)], fur, 3)


def draw_swapped_person(canvas: Canvas, gender: int, rng: np.random.Generator) -> None:
    """Draw the person of the other gender that the same random numbers give.

    Args:
        canvas: Canvas whose origin is the centre of the head.
        gender: Gender of the person who is replaced: 1 for a woman, -1 for a man.
        rng: Source of randomness; left as `draw_person` leaves it for `gender`, so that everything
            drawn later is the same.
    """
    draw_person(canvas, -gender, copy.deepcopy(rng))
    draw_person(Canvas(WHITE), gender, rng)
