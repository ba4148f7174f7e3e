"""Draw flat shapes on a square canvas of 100 x 100 units; y points down."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

from PIL import Image, ImageDraw

Colour = tuple[int, int, int]
Point = tuple[float, float]
Box = tuple[float, float, float, float]

SIDE_PX = 160

# Drawn larger and reduced at the end, which smooths the edges.
_OVERSAMPLE = 3

INK: Colour = (46, 42, 60)
WHITE: Colour = (255, 255, 255)


class Canvas:
    """A square image to draw on; boxes are (left, top, right, bottom)."""

    def __init__(self, background: Colour) -> None:
        """Create a canvas filled with one colour."""
        side = SIDE_PX * _OVERSAMPLE
        self._image = Image.new("RGB", (side, side), background)
        self._draw = ImageDraw.Draw(self._image)
        self._unit = side / 100
        self._x = self._y = 0.0

    def transform(self, x: float, y: float, scale: float = 1.0) -> Canvas:
        """Return a view of the same image with a shifted origin and scaled units.

        Args:
            x: Shift to the right, in units of this canvas.
            y: Shift down, in units of this canvas.
            scale: Size of the new unit, in units of this canvas.

        Returns:
            A canvas that draws on the same image.
        """
        view = object.__new__(Canvas)
        view._image, view._draw = self._image, self._draw
        view._x, view._y = self._x + x * self._unit, self._y + y * self._unit
        view._unit = self._unit * scale
        return view

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """Fill an ellipse with centre (x, y) and radii rx and ry."""
        self._draw.ellipse(self._to_px((x - rx, y - ry, x + rx, y + ry)), fill=colour)

    def rectangle(self, box: Box, colour: Colour, radius: float = 0.0) -> None:
        """Fill a rectangle with rounded corners."""
        self._draw.rounded_rectangle(self._to_px(box), radius * self._unit, fill=colour)

    def polygon(self, points: Sequence[Point], colour: Colour) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._point_to_px(*point) for point in points], fill=colour)

    def line(self, points: Sequence[Point], colour: Colour, width: float) -> None:
        """Draw a polyline with round joints."""
        pixels = [self._point_to_px(*point) for point in points]
        self._draw.line(pixels, fill=colour, width=self._width_to_px(width), joint="curve")

    def arc(self, box: Box, angles: tuple[float, float], colour: Colour, width: float) -> None:
        """Draw an arc of the ellipse in a box.

        Args:
            box: Bounding box of the whole ellipse.
            angles: Start and end in degrees, clockwise from three o'clock.
            colour: Colour of the line.
            width: Width of the line.
        """
        start, end = angles
        self._draw.arc(self._to_px(box), start, end, fill=colour, width=self._width_to_px(width))

    def render(self) -> Image.Image:
        """Return the RGB image, `SIDE_PX` square."""
        return self._image.reduce(_OVERSAMPLE)

    def _width_to_px(self, width: float) -> int:
        return max(1, round(width * self._unit))

    def _point_to_px(self, x: float, y: float) -> Point:
        return self._x + x * self._unit, self._y + y * self._unit

    def _to_px(self, box: Box) -> Box:
        left, top, right, bottom = box
        return *self._point_to_px(left, top), *self._point_to_px(right, bottom)


def from_hsv(hue: float, saturation: float, value: float) -> Colour:
    """Convert a colour from HSV to RGB.

    Args:
        hue: In turns; whole turns are ignored.
        saturation: 0 to 1.
        value: 0 to 1.

    Returns:
        Red, green and blue, 0 to 255.
    """
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(colour: Colour, factor: float) -> Colour:
    """Darken a colour (factor below 1) or lighten it (above 1)."""
    red, green, blue = (min(255, round(channel * factor)) for channel in colour)
    return red, green, blue
