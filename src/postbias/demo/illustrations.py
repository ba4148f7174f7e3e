"""Pictures of the demo corpus, drawn from cues.

A scene, somebody in it (a woman, a man, both, or nobody), a bubble with the symbol of a role, and
sometimes a price tag. Figure, symbol and tag are the cues; scene, colours, places and clutter are
not. Knows nothing of captions, labels and files.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from postbias.demo.backdrops import draw_scene
from postbias.demo.drawing import INK, WHITE, Colour, Pen, hsv, shade
from postbias.demo.ground_truth import TOPICS, Cues

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
#: Hues of clothes, masculine and feminine; one outfit in eight borrows from the other side.
_CLOTHES = ((0.36, 0.66), (0.80, 1.12))


@dataclass(frozen=True, slots=True)
class View:
    """What one picture shows.

    Attributes:
        topic: One of `TOPICS`.
        figure: 1 a woman, -1 a man, 0 both or nobody.
        prop: Strength of the role symbol, 0 to 3.
        sticker: Whether a price tag is stuck on.
    """

    topic: str
    figure: int
    prop: int
    sticker: bool


def view_of(cues: Cues, row: int) -> View:
    """Return what the picture of one post shows.

    Args:
        cues: The cues of n posts.
        row: Which of them.

    Returns:
        Its picture's cues.
    """
    return View(
        topic=TOPICS[int(cues.topic[row])],
        figure=int(cues.figure[row]),
        prop=int(cues.prop[row]),
        sticker=bool(cues.sticker[row]),
    )


def draw_picture(view: View, rng: np.random.Generator) -> Image.Image:
    """Draw one picture.

    Args:
        view: What it shows.
        rng: Source of randomness; the same view looks different every time.

    Returns:
        RGB, `pen.SIDE_PX` square.
    """
    pen = draw_scene(view.topic, rng)
    _people(pen, view.figure, rng)
    _bubble(
        pen.at(rng.uniform(69, 76), rng.uniform(33, 41), rng.uniform(0.95, 1.1)), view.prop, rng
    )
    if view.sticker:
        _price_tag(pen.at(rng.uniform(78, 83), rng.uniform(80, 85), rng.uniform(0.95, 1.1)))
    picture = pen.finish()
    if rng.random() < 0.5:
        picture = ImageOps.mirror(picture)
    return ImageEnhance.Brightness(picture).enhance(rng.uniform(0.9, 1.08))


def _people(pen: Pen, figure: int, rng: np.random.Generator) -> None:
    y, scale = rng.uniform(32, 38), rng.uniform(0.95, 1.08)
    if figure:
        _person(pen.at(rng.uniform(27, 38), y, scale), figure, rng)
    elif rng.random() < 0.6:
        for x, side in zip((20, 45), rng.permutation([-1, 1]), strict=True):
            _person(pen.at(x + rng.uniform(-2, 2), y + 6, scale * 0.86), int(side), rng)
    else:
        _cat(
            pen.at(rng.uniform(25, 38), rng.uniform(74, 82), 1.2),
            hsv(0.08, rng.random() * 0.6, 0.6),
        )


def _person(pen: Pen, side: int, rng: np.random.Generator) -> None:
    """Draw a person to the waist; the head's centre is at zero."""
    skin = _SKINS[rng.integers(len(_SKINS))]
    hair = _HAIR[rng.integers(len(_HAIR))]
    worn = side if rng.random() < 0.88 else -side
    low, high = _CLOTHES[0 if worn < 0 else 1]
    cloth = hsv(rng.uniform(low, high), rng.uniform(0.5, 0.75), rng.uniform(0.6, 0.88))
    if side > 0:
        pen.ellipse(0, 4, 14, 17, hair)
        pen.box((-14, 4, 14, 24), hair, 4)
        pen.box((-4, 8, 4, 22), shade(skin, 0.9), 2)
        pen.shape([(-13, 21), (13, 21), (24, 80), (-24, 80)], cloth)
        pen.ellipse(-12, 26, 5, 6, cloth)
        pen.ellipse(12, 26, 5, 6, cloth)
        pen.shape([(-6, 20), (6, 20), (0, 29)], skin)
    else:
        pen.box((-5, 8, 5, 22), shade(skin, 0.9), 2)
        pen.box((-22, 20, 22, 80), cloth, 7)
        pen.shape([(-7, 19.5), (7, 19.5), (0, 31)], WHITE)
        pen.shape([(-1.8, 23), (1.8, 23), (2.6, 38), (0, 42), (-2.6, 38)], shade(cloth, 0.55))
        pen.box((-11.5, -15, 11.5, 0), hair, 5)
    pen.ellipse(0, 0, 10.5, 12, skin)
    _face(pen, side, hair, rng)


def _face(pen: Pen, side: int, hair: Colour, rng: np.random.Generator) -> None:
    if side > 0:
        pen.shape([(-11, -2), (-9, -11), (0, -14.5), (9, -11), (11, -2), (3, -8)], hair)
        pen.arc((-3.4, 1, 3.4, 7.5), (20, 160), (196, 62, 82), 1.6)
    else:
        pen.box((-10, -14, 10, -6.5), hair, 3)
        if rng.random() < 0.6:
            pen.shape([(-10, 2), (10, 2), (7.5, 10), (0, 13.5), (-7.5, 10)], hair)
            pen.box((-3.4, 4, 3.4, 6.4), (232, 180, 160), 1)
        else:
            pen.arc((-3.4, 1, 3.4, 7.5), (20, 160), INK, 1.2)
    for x in (-4, 4):
        pen.ellipse(x, -1, 1.2, 1.5, INK)


def _cat(pen: Pen, fur: Colour) -> None:
    pen.ellipse(0, 6, 10, 12, fur)
    pen.ellipse(0, -8, 8, 7, fur)
    pen.shape([(-8, -8), (-6.5, -18), (-1, -13)], fur)
    pen.shape([(8, -8), (6.5, -18), (1, -13)], fur)
    for x in (-3, 3):
        pen.ellipse(x, -9, 1.1, 1.5, INK)
    pen.line([(9, 14), (17, 12), (18, 2)], fur, 3)


def _price_tag(pen: Pen) -> None:
    yellow = (255, 208, 54)
    pen.shape([(-17, 0), (-8, -11), (16, -11), (16, 11), (-8, 11)], shade(yellow, 0.72))
    pen.shape([(-15, 0), (-7, -9), (14, -9), (14, 9), (-7, 9)], yellow)
    pen.ellipse(-8.5, 0, 2, 2, WHITE)
    pen.line([(7, -6), (-1, 6)], INK, 1.6)
    pen.ellipse(-1, -3.5, 2, 2, INK)
    pen.ellipse(7, 3.5, 2, 2, INK)


def _bubble(pen: Pen, prop: int, rng: np.random.Generator) -> None:
    pen.ellipse(-19, 22, 2.2, 2.2, WHITE)
    pen.ellipse(-15, 16, 3.4, 3.4, WHITE)
    pen.ellipse(0, 0, 22, 21, WHITE)
    low, high = _PROP_HUES[prop]
    colour = hsv(rng.uniform(low, high), rng.uniform(0.62, 0.8), rng.uniform(0.66, 0.84))
    symbols = _PROPS[prop]
    symbols[rng.integers(len(symbols))](pen, colour)


def _plant(pen: Pen, colour: Colour) -> None:
    pen.shape([(-6, 4), (6, 4), (4, 14), (-4, 14)], (190, 112, 78))
    for x, y in ((-7, -4), (7, -4), (0, -9)):
        pen.line([(0, 5), (x, y)], shade(colour, 0.8), 1.5)
        pen.ellipse(x, y, 4.2, 5, colour)


def _mug(pen: Pen, colour: Colour) -> None:
    pen.arc((4, -4, 15, 8), (-90, 90), colour, 2.6)
    pen.box((-10, -7, 8, 12), colour, 3)
    for x in (-5, 1):
        pen.line([(x, -10), (x + 2, -12.5), (x, -15)], shade(colour, 0.8), 1.2)


def _book(pen: Pen, colour: Colour) -> None:
    pen.shape([(-14, -8), (0, -5), (0, 11), (-14, 8)], colour)
    pen.shape([(14, -8), (0, -5), (0, 11), (14, 8)], shade(colour, 0.82))
    for y in (-2, 2):
        pen.line([(-11, y - 1), (-3, y + 1)], WHITE, 1)


def _shopping_bag(pen: Pen, colour: Colour) -> None:
    pen.arc((-6, -14, 6, 2), (180, 360), shade(colour, 0.75), 1.8)
    pen.shape([(-11, -6), (11, -6), (13, 13), (-13, 13)], colour)
    pen.ellipse(0, 3, 3.4, 3.4, WHITE)


def _ball(pen: Pen, colour: Colour) -> None:
    pen.ellipse(0, 0, 13.5, 13.5, colour)
    pen.shape([(0, -5.5), (5.2, -1.7), (3.2, 4.5), (-3.2, 4.5), (-5.2, -1.7)], INK)
    for x, y in ((0, -13), (12.4, -4), (7.6, 10.5), (-7.6, 10.5), (-12.4, -4)):
        pen.line([(x * 0.42, y * 0.42), (x, y)], INK, 1.1)


def _bouquet(pen: Pen, colour: Colour) -> None:
    pen.shape([(-7, 2), (7, 2), (0, 15)], shade(colour, 0.72))
    for x, y in ((-7, -3), (0, -7), (7, -3), (0, 1)):
        pen.ellipse(x, y, 4.6, 4.6, colour)
        pen.ellipse(x, y, 1.7, 1.7, WHITE)


def _iron(pen: Pen, colour: Colour) -> None:
    pen.shape([(-14, 9), (15, 9), (9, -2), (-8, -2)], colour)
    pen.arc((-9, -13, 12, 4), (180, 350), shade(colour, 0.72), 3)
    pen.box((-15, 9, 16, 12), shade(colour, 0.6), 1)


def _barbell(pen: Pen, colour: Colour) -> None:
    pen.box((-16, -1.6, 16, 1.6), shade(colour, 0.6))
    for x in (-10, 10):
        pen.box((x - 3.2, -11, x + 3.2, 11), colour, 1.5)
        pen.box((x * 1.5 - 1.8, -7, x * 1.5 + 1.8, 7), shade(colour, 0.8), 1)


def _pram(pen: Pen, colour: Colour) -> None:
    pen.shape([(-13, -3), (13, -3), (9, 7), (-9, 7)], colour)
    pen.shape([(0, -4), (0, -15), (-8, -12), (-13, -4)], shade(colour, 0.8))
    pen.line([(12, -3), (16, -10)], INK, 1.6)
    for x in (-7, 7):
        pen.ellipse(x, 11, 3.6, 3.6, INK)
        pen.ellipse(x, 11, 1.4, 1.4, WHITE)


def _crown(pen: Pen, colour: Colour) -> None:
    pen.shape([(-14, 9), (-15, -8), (-7, 0), (0, -12), (7, 0), (15, -8), (14, 9)], colour)
    pen.box((-14, 8, 14, 12), shade(colour, 0.7), 1)
    for x, y in ((-15, -9), (0, -13), (15, -9)):
        pen.ellipse(x, y, 2, 2, shade(colour, 1.3))


def _locked_house(pen: Pen, colour: Colour) -> None:
    pen.shape([(-16, -1), (0, -15), (16, -1)], shade(colour, 0.75))
    pen.box((-11, -2, 11, 13), colour)
    pen.arc((-4, -1, 4, 9), (180, 360), WHITE, 1.8)
    pen.box((-5.5, 4, 5.5, 11), WHITE, 1)


def _glove(pen: Pen, colour: Colour) -> None:
    pen.ellipse(1, -4, 12, 10, colour)
    pen.ellipse(-8, 0, 5, 6, shade(colour, 0.8))
    pen.box((-7, 4, 9, 10), colour)
    pen.box((-7, 9, 9, 14), WHITE, 1)
    pen.box((-7, 10, 9, 14), shade(colour, 0.6), 1)


_PROPS: tuple[tuple[Callable[[Pen, Colour], None], ...], ...] = (
    (_plant, _mug, _book),
    (_shopping_bag, _ball, _bouquet),
    (_iron, _barbell, _pram),
    (_crown, _locked_house, _glove),
)
#: Hue of the symbols of each strength, so that a small network can tell them apart.
_PROP_HUES = ((0.36, 0.46), (0.10, 0.14), (0.98, 1.03), (0.72, 0.79))
