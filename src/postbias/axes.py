"""Axes: scored dimensions with their range and bands.

Imports the standard library only, because it ships inside the registered model.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass

#: Edges between the bands of an axis, as shares of its range: 3.5 and 6.5 on 0-10.
BAND_EDGES = (0.35, 0.65)
BAND_NAMES = ("low", "moderate", "high")

# Share of the range by which a value may be below an edge and still be on it: more than rounding to
# 32-bit floats, such as 1.05 on a scale of 0-3, and far less than any score or label differs.
_EDGE_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True)
class Axis:
    """One scored dimension and its range."""

    name: str
    low: float
    high: float

    @property
    def band_thresholds(self) -> tuple[float, ...]:
        """Smallest value of each band but the lowest; a value on an edge is in the higher band."""
        return tuple(
            self.low + (share - _EDGE_TOLERANCE) * (self.high - self.low) for share in BAND_EDGES
        )

    def band(self, value: float) -> str:
        """Return the band of a score or label: `low`, `moderate` or `high`."""
        return BAND_NAMES[bisect_right(self.band_thresholds, value)]
