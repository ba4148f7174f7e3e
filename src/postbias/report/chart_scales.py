"""Scales of the report's charts: which numbers an axis shows, and where a value lies on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Scale:
    """Where values lie on an axis.

    Attributes:
        low: Value at the start.
        high: Value at the end.
        ticks: Values that are marked.
        is_share: Whether values are shares, written as percentages.
    """

    low: float
    high: float
    ticks: tuple[float, ...]
    is_share: bool = False

    def at(self, value: float) -> float:
        """Return where a value lies: 0 at the start, 1 at the end, never beyond."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def write(self, value: float) -> str:
        """Write a tick's value."""
        return f"{100 * value:g}%" if self.is_share else f"{value:g}"


def fit_scale(
    values: Sequence[float | None],
    *,
    is_share: bool = False,
    ends: tuple[float, float] | None = None,
) -> Scale:
    """Find a scale with round ticks that shows all values.

    Args:
        values: What has to fit; None is passed over.
        is_share: Whether values are shares.
        ends: Beyond which the scale must not go.

    Returns:
        The scale.
    """
    known = [value for value in values if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if high - low < 1e-9:
        low, high = low - 0.5, high + 0.5
    raw = (high - low) / 4
    size = 10.0 ** np.floor(np.log10(raw))
    step = float(size * next(m for m in (1, 2, 2.5, 5, 10) if m * size >= raw * 0.999))
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    ticks = [round(float(i * step), 10) for i in np.arange(first, last + 1)]
    if ends is not None:
        ticks = [tick for tick in ticks if ends[0] - 1e-9 <= tick <= ends[1] + 1e-9]
        low, high = max(min(low, ticks[0]), ends[0]), min(max(high, ticks[-1]), ends[1])
        return Scale(min(low, ticks[0]), max(high, ticks[-1]), tuple(ticks), is_share)
    return Scale(ticks[0], ticks[-1], tuple(ticks), is_share)
