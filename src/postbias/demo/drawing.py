"""A pen for flat drawings on a canvas of 100 x 100 units, y downwards.

Drawn larger than needed and reduced at the end, so that edges are smooth. Knows shapes, not posts.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]

SIDE_PX = 160
_OVERSAMPLE = 3

INK: Colour = (46, 42, 60)
WHITE: Colour = (255, 255, 255)


class Pen:
    """Draws on a square canvas; a pen moved by `at` shifts and scales all that it draws."""

    def __init__(self, background: Colour) -> None:
        """Make an empty canvas.

        Args:
            background: Its colour.
        """
        side = SIDE_PX * _OVERSAMPLE
        self.image = Image.new("RGB", (side, side), background)
        self._draw = ImageDraw.Draw(self.image)
        self._unit = side / 100
        self._x = self._y = 0.0

    def at(self, x: float, y: float, scale: float = 1.0) -> Pen:
        """Return a pen on the same canvas with another origin.

        Args:
            x: Where its zero is, in units of this pen.
            y: The same, downwards.
            scale: Size of its unit in units of this pen.

        Returns:
            The moved pen.
        """
        moved = object.__new__(Pen)
        moved.image, moved._draw = self.image, self._draw
        moved._x, moved._y = self._x + x * self._unit, self._y + y * self._unit
        moved._unit = self._unit * scale
        return moved

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse around (x, y).

        Args:
            x: Centre.
            y: Centre.
            rx: Half its width.
            ry: Half its height.
            colour: Its colour.
        """
        self._draw.ellipse(self._box(x - rx, y - ry, x + rx, y + ry), fill=colour)

    def box(self, box: tuple[float, float, float, float], colour: Colour, r: float = 0.0) -> None:
        """Fill a rectangle.

        Args:
            box: Left, top, right, bottom.
            colour: Its colour.
            r: Radius of its corners.
        """
        self._draw.rounded_rectangle(self._box(*box), r * self._unit, fill=colour)

    def shape(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon.

        Args:
            points: Its corners.
            colour: Its colour.
        """
        self._draw.polygon([self._point(*point) for point in points], fill=colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draw a line with round joints.

        Args:
            points: Its corners.
            colour: Its colour.
            width: Its width.
        """
        pixels = max(1, round(width * self._unit))
        self._draw.line([self._point(*p) for p in points], fill=colour, width=pixels, joint="curve")

    def arc(
        self, box: tuple[float, float, float, float], span: Point, colour: Colour, width: float
    ) -> None:
        """Draw part of an ellipse's outline.

        Args:
            box: The box of the whole ellipse: left, top, right, bottom.
            span: From and to, in degrees, clockwise from three o'clock.
            colour: Its colour.
            width: Its width.
        """
        pixels = max(1, round(width * self._unit))
        self._draw.arc(self._box(*box), span[0], span[1], fill=colour, width=pixels)

    def finish(self) -> Image.Image:
        """Return the picture in its final size.

        Returns:
            RGB, `SIDE_PX` square.
        """
        return self.image.reduce(_OVERSAMPLE)

    def _point(self, x: float, y: float) -> Point:
        return self._x + x * self._unit, self._y + y * self._unit

    def _box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[float, float, float, float]:
        return *self._point(x0, y0), *self._point(x1, y1)


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """Return a colour from hue, saturation and value.

    Args:
        hue: In turns; whole turns do not matter.
        saturation: 0 to 1.
        value: 0 to 1.

    Returns:
        Red, green, blue, 0 to 255.
    """
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """Darken (below 1) or lighten (above 1) a colour.

    Args:
        colour: The colour.
        factor: What its brightness is multiplied by.

    Returns:
        The new colour.
    """
    red, green, blue = (min(255, round(part * factor)) for part in colour)
    return red, green, blue
