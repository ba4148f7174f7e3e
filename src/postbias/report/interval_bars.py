"""Interval bars in the rows of the report's tables.

Written by hand as SVG with positions in percent: each bar is as wide as its table cell at any page
width and weighs a few hundred bytes, where a chart of a plotting library has a fixed size and
several kilobytes, and the page has a hundred of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape


@dataclass(frozen=True, slots=True)
class BarScale:
    """Scale of a column of interval bars.

    Attributes:
        low: Value at the left end.
        high: Value at the right end.
        ticks: Values with a tick and a grid line.
        is_share: Whether values are shares, shown as percentages.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    is_share: bool = False

    def position(self, value: float) -> float:
        """Return where a value is: 0 at the left end, 1 at the right end, clipped to both."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def format_tick(self, value: float) -> str:
        """Return the label of a tick."""
        return f"{100 * value:g}%" if self.is_share else f"{value:g}"


def fit_scale(
    values: Sequence[float | None],
    *,
    is_share: bool = False,
    bounds: tuple[float, float] | None = None,
) -> BarScale:
    """Fit a scale with round ticks to values.

    Args:
        values: Values to show; None is ignored.
        is_share: Whether values are shares.
        bounds: Limits that the scale must not exceed.
    """
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    raw_step = (high - low) / 4
    magnitude = 10.0 ** np.floor(np.log10(raw_step))
    step = float(
        magnitude * next(m for m in (1, 2, 2.5, 5, 10) if m * magnitude >= raw_step * 0.999)
    )
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    ticks = [round(float(i * step), 10) for i in np.arange(first, last + 1)]
    if bounds is not None:
        ticks = [tick for tick in ticks if bounds[0] - 1e-9 <= tick <= bounds[1] + 1e-9]
        low, high = max(min(low, ticks[0]), bounds[0]), min(max(high, ticks[-1]), bounds[1])
        return BarScale(min(low, ticks[0]), max(high, ticks[-1]), tuple(ticks), is_share)
    return BarScale(ticks[0], ticks[-1], tuple(ticks), is_share)


def draw_ticks(scale: BarScale, zero: float | None = None) -> Markup:
    """Draw the tick labels above a column of interval bars.

    Args:
        scale: Scale of the column.
        zero: Value to emphasize, such as "no difference".

    Returns:
        An SVG element.
    """
    labels = []
    for tick in scale.ticks:
        emphasis = " strong" if zero is not None and tick == zero else ""
        labels.append(
            f'<text class="tick{emphasis}" x="{_percent(scale.position(tick))}" y="13" '
            f'text-anchor="middle">{escape(scale.format_tick(tick))}</text>'
        )
    return Markup('<svg class="bar" height="18" aria-hidden="true">{}</svg>').format(
        Markup("".join(labels))  # noqa: S704 - made of numbers
    )


def draw_interval_bar(
    estimate: dict[str, float | None],
    scale: BarScale,
    *,
    other: float | None = None,
    zero: float | None = None,
    style: str = "main",
) -> Markup:
    """Draw one estimate with its interval.

    Args:
        estimate: `value`, `lo` and `hi`; without a value only the grid is drawn.
        scale: Scale of the column.
        other: Second value, drawn as a hollow diamond: the uncorrected estimate.
        zero: Value of a vertical reference line.
        style: CSS class of the mark: `main`, `muted` or `second`.

    Returns:
        An SVG element.
    """
    value, lo, hi = (estimate[key] for key in ("value", "lo", "hi"))
    parts = [_line(scale.position(t), scale.position(t), 0, 24, "grid") for t in scale.ticks]
    if zero is not None:
        parts.append(_line(scale.position(zero), scale.position(zero), 0, 24, "zero"))
    if lo is not None and hi is not None:
        parts.append(_line(scale.position(lo), scale.position(hi), 12, 12, f"reach {style}"))
    if other is not None:
        # In a nested SVG element: its position is in percent, its size in pixels.
        parts.append(
            f'<svg x="{_percent(scale.position(other))}" y="12" overflow="visible">'
            '<path class="other" d="M0 -5.5 5.5 0 0 5.5 -5.5 0Z"/></svg>'
        )
    if value is not None:
        parts.append(
            f'<circle class="dot {style}" cx="{_percent(scale.position(value))}" cy="12" r="5"/>'
        )
    return Markup('<svg class="bar" height="24" aria-hidden="true">' + "".join(parts) + "</svg>")  # noqa: S704 - made of numbers


def _line(x1: float, x2: float, y1: float, y2: float, style: str) -> str:
    return (
        f'<line class="{style}" x1="{_percent(x1)}" x2="{_percent(x2)}" y1="{y1:g}" y2="{y2:g}"/>'
    )


def _percent(position: float) -> str:
    # The margins keep marks at both ends inside the cell.
    return f"{3 + 94 * position:.2f}%"
