"""Draw the images of the demo corpus from cues.

An image shows a backdrop, one figure (a woman, a man), both or nobody, a bubble with the symbol of
a role, and sometimes a price tag. Figure, symbol and tag are cues for the score; backdrop, colours
and positions are not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

from postbias.demo.backdrops import draw_backdrop
from postbias.demo.canvas import INK, WHITE, Canvas, Colour, from_hsv, shade
from postbias.demo.figures import draw_cat, draw_person, draw_swapped_person
from postbias.demo.ground_truth import TOPICS, Cues
from postbias.demo.planted_objects import PERSON, SYMBOL, TAG, PlantedObject
from postbias.demo.random_states import restore_generator, save_generator

# Left, top, right and bottom of what is drawn around a point, in units of the canvas.
_EXTENTS = {
    SYMBOL: (-16.0, -15.0, 16.0, 15.0),
    TAG: (-17.0, -11.0, 16.0, 11.0),
    PERSON: (-24.0, -17.0, 24.0, 80.0),
}


@dataclass(frozen=True, slots=True)
class ImageCues:
    """Cues of one image.

    Attributes:
        topic: One of `TOPICS`.
        figure: 1 for a woman, -1 for a man, 0 for both or nobody.
        prop: Strength of the role symbol, 0 to 3.
        sticker: Whether there is a price tag.
    """

    topic: str
    figure: int
    prop: int
    sticker: bool


def image_cues_of(cues: Cues, row: int) -> ImageCues:
    """Select the image cues of one post.

    Args:
        cues: Cues of n posts.
        row: Position of the post.

    Returns:
        The cues of its image.
    """
    return ImageCues(
        topic=TOPICS[int(cues.topic[row])],
        figure=int(cues.figure[row]),
        prop=int(cues.prop[row]),
        sticker=bool(cues.sticker[row]),
    )


class Scene(NamedTuple):
    """An image, where the objects that are cues are in it, and what it can be drawn again from."""

    image: Image.Image
    objects: tuple[PlantedObject, ...]
    state: bytes


def draw_scene(
    cues: ImageCues, rng: np.random.Generator, *, is_figure_swapped: bool = False
) -> Scene:
    """Draw one image.

    Args:
        cues: The cues to show.
        rng: Source of randomness; images with the same cues look different.
        is_figure_swapped: Whether a person who is shown alone is of the other gender than in
            `cues`; everything else is drawn with the same pixels.

    Returns:
        RGB image, `canvas.SIDE_PX` square, its objects, and the state of `rng` before.
    """
    state = save_generator(rng)
    canvas = draw_backdrop(cues.topic, rng)
    draw = draw_swapped_person if is_figure_swapped else draw_person
    objects = _people(canvas, cues.figure, rng, draw)
    place = rng.uniform(69, 76), rng.uniform(33, 41), rng.uniform(0.95, 1.1)
    _bubble(canvas.transform(*place), cues.prop, rng)
    objects.append(_locate(SYMBOL, *place))
    if cues.sticker:
        place = rng.uniform(78, 83), rng.uniform(80, 85), rng.uniform(0.95, 1.1)
        _price_tag(canvas.transform(*place))
        objects.append(_locate(TAG, *place))
    image = canvas.render()
    if rng.random() < 0.5:
        image = ImageOps.mirror(image)
        objects = [found.mirrored() for found in objects]
    image = ImageEnhance.Brightness(image).enhance(rng.uniform(0.9, 1.08))
    return Scene(image, tuple(objects), state)


def redraw_scene(cues: ImageCues, state: bytes, *, is_figure_swapped: bool = False) -> Scene:
    """Draw an image again, as it was or with the gender of its figure swapped.

    Args:
        cues: Cues of the image.
        state: State of the random generator before it was first drawn, see `Scene`.
        is_figure_swapped: As for `draw_scene`.

    Returns:
        The image and its objects.

    Raises:
        ValueError: If the state is not one of `save_generator`.
    """
    return draw_scene(cues, restore_generator(state), is_figure_swapped=is_figure_swapped)


def _locate(name: str, x: float, y: float, scale: float) -> PlantedObject:
    """Return an object that was drawn around a point, with its box cut at the edge of the image."""
    left, top, right, bottom = _EXTENTS[name]
    box = (x + scale * left, y + scale * top, x + scale * right, y + scale * bottom)
    return PlantedObject(name, *(min(max(side / 100, 0.0), 1.0) for side in box))


def _people(
    canvas: Canvas,
    figure: int,
    rng: np.random.Generator,
    draw: Callable[[Canvas, int, np.random.Generator], None],
) -> list[PlantedObject]:
    """Draw one person with `draw`, two people or a cat; return the person if there is one alone."""
    y, scale = rng.uniform(32, 38), rng.uniform(0.95, 1.08)
    if figure:
        x = rng.uniform(27, 38)
        draw(canvas.transform(x, y, scale), figure, rng)
        return [_locate(PERSON, x, y, scale)]
    if rng.random() < 0.6:
        for x, gender in zip((20, 45), rng.permutation([-1, 1]), strict=True):
            place = canvas.transform(x + rng.uniform(-2, 2), y + 6, scale * 0.86)
            draw_person(place, int(gender), rng)
    else:
        draw_cat(
            canvas.transform(rng.uniform(25, 38), rng.uniform(74, 82), 1.2),
            from_hsv(0.08, rng.random() * 0.6, 0.6),
        )
    return []


def _price_tag(canvas: Canvas) -> None:
    yellow = (255, 208, 54)
    canvas.polygon([(-17, 0), (-8, -11), (16, -11), (16, 11), (-8, 11)], shade(yellow, 0.72))
    canvas.polygon([(-15, 0), (-7, -9), (14, -9), (14, 9), (-7, 9)], yellow)
    canvas.ellipse(-8.5, 0, 2, 2, WHITE)
    canvas.line([(7, -6), (-1, 6)], INK, 1.6)
    canvas.ellipse(-1, -3.5, 2, 2, INK)
    canvas.ellipse(7, 3.5, 2, 2, INK)


def _bubble(canvas: Canvas, prop: int, rng: np.random.Generator) -> None:
    canvas.ellipse(-19, 22, 2.2, 2.2, WHITE)
    canvas.ellipse(-15, 16, 3.4, 3.4, WHITE)
    canvas.ellipse(0, 0, 22, 21, WHITE)
    low, high = _PROP_HUES[prop]
    colour = from_hsv(rng.uniform(low, high), rng.uniform(0.62, 0.8), rng.uniform(0.66, 0.84))
    symbols = _PROPS[prop]
    symbols[rng.integers(len(symbols))](canvas, colour)


def _plant(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-6, 4), (6, 4), (4, 14), (-4, 14)], (190, 112, 78))
    for x, y in ((-7, -4), (7, -4), (0, -9)):
        canvas.line([(0, 5), (x, y)], shade(colour, 0.8), 1.5)
        canvas.ellipse(x, y, 4.2, 5, colour)


def _mug(canvas: Canvas, colour: Colour) -> None:
    canvas.arc((4, -4, 15, 8), (-90, 90), colour, 2.6)
    canvas.rectangle((-10, -7, 8, 12), colour, 3)
    for x in (-5, 1):
        canvas.line([(x, -10), (x + 2, -12.5), (x, -15)], shade(colour, 0.8), 1.2)


def _book(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-14, -8), (0, -5), (0, 11), (-14, 8)], colour)
    canvas.polygon([(14, -8), (0, -5), (0, 11), (14, 8)], shade(colour, 0.82))
    for y in (-2, 2):
        canvas.line([(-11, y - 1), (-3, y + 1)], WHITE, 1)


def _shopping_bag(canvas: Canvas, colour: Colour) -> None:
    canvas.arc((-6, -14, 6, 2), (180, 360), shade(colour, 0.75), 1.8)
    canvas.polygon([(-11, -6), (11, -6), (13, 13), (-13, 13)], colour)
    canvas.ellipse(0, 3, 3.4, 3.4, WHITE)


def _ball(canvas: Canvas, colour: Colour) -> None:
    canvas.ellipse(0, 0, 13.5, 13.5, colour)
    canvas.polygon([(0, -5.5), (5.2, -1.7), (3.2, 4.5), (-3.2, 4.5), (-5.2, -1.7)], INK)
    for x, y in ((0, -13), (12.4, -4), (7.6, 10.5), (-7.6, 10.5), (-12.4, -4)):
        canvas.line([(x * 0.42, y * 0.42), (x, y)], INK, 1.1)


def _bouquet(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-7, 2), (7, 2), (0, 15)], shade(colour, 0.72))
    for x, y in ((-7, -3), (0, -7), (7, -3), (0, 1)):
        canvas.ellipse(x, y, 4.6, 4.6, colour)
        canvas.ellipse(x, y, 1.7, 1.7, WHITE)


def _iron(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-14, 9), (15, 9), (9, -2), (-8, -2)], colour)
    canvas.arc((-9, -13, 12, 4), (180, 350), shade(colour, 0.72), 3)
    canvas.rectangle((-15, 9, 16, 12), shade(colour, 0.6), 1)


def _barbell(canvas: Canvas, colour: Colour) -> None:
    canvas.rectangle((-16, -1.6, 16, 1.6), shade(colour, 0.6))
    for x in (-10, 10):
        canvas.rectangle((x - 3.2, -11, x + 3.2, 11), colour, 1.5)
        canvas.rectangle((x * 1.5 - 1.8, -7, x * 1.5 + 1.8, 7), shade(colour, 0.8), 1)


def _pram(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-13, -3), (13, -3), (9, 7), (-9, 7)], colour)
    canvas.polygon([(0, -4), (0, -15), (-8, -12), (-13, -4)], shade(colour, 0.8))
    canvas.line([(12, -3), (16, -10)], INK, 1.6)
    for x in (-7, 7):
        canvas.ellipse(x, 11, 3.6, 3.6, INK)
        canvas.ellipse(x, 11, 1.4, 1.4, WHITE)


def _crown(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-14, 9), (-15, -8), (-7, 0), (0, -12), (7, 0), (15, -8), (14, 9)], colour)
    canvas.rectangle((-14, 8, 14, 12), shade(colour, 0.7), 1)
    for x, y in ((-15, -9), (0, -13), (15, -9)):
        canvas.ellipse(x, y, 2, 2, shade(colour, 1.3))


def _locked_house(canvas: Canvas, colour: Colour) -> None:
    canvas.polygon([(-16, -1), (0, -15), (16, -1)], shade(colour, 0.75))
    canvas.rectangle((-11, -2, 11, 13), colour)
    canvas.arc((-4, -1, 4, 9), (180, 360), WHITE, 1.8)
    canvas.rectangle((-5.5, 4, 5.5, 11), WHITE, 1)


def _glove(canvas: Canvas, colour: Colour) -> None:
    canvas.ellipse(1, -4, 12, 10, colour)
    canvas.ellipse(-8, 0, 5, 6, shade(colour, 0.8))
    canvas.rectangle((-7, 4, 9, 10), colour)
    canvas.rectangle((-7, 9, 9, 14), WHITE, 1)
    canvas.rectangle((-7, 10, 9, 14), shade(colour, 0.6), 1)


_PROPS: tuple[tuple[Callable[[Canvas, Colour], None], ...], ...] = (
    (_plant, _mug, _book),
    (_shopping_bag, _ball, _bouquet),
    (_iron, _barbell, _pram),
    (_crown, _locked_house, _glove),
)
#: Range of hues of the symbols of each strength, so that a small network can tell them apart.
_PROP_HUES = ((0.36, 0.46), (0.10, 0.14), (0.98, 1.03), (0.72, 0.79))
