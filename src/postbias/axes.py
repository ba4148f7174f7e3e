"""Axes: the scored dimensions, their range and their bands.

Imports the standard library only, because it ships inside the registered model.
"""

from __future__ import annotations

from dataclasses import dataclass

#: Where the bands of an axis end, as shares of its range: 3.5 and 6.5 of 0-10.
BAND_EDGES = (0.35, 0.65)


@dataclass(frozen=True, slots=True)
class Axis:
    """One scored dimension and its range."""

    name: str
    low: float
    high: float

    def band(self, value: float) -> str:
        """Name the band of a score: the outer thirds begin at 35% and 65% of the range.

        Args:
            value: A score within the range.

        Returns:
            `low`, `moderate` or `high`.
        """
        share = (value - self.low) / (self.high - self.low)
        return "low" if share < 0.35 else "moderate" if share < 0.65 else "high"
