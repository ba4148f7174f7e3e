"""The cap on spending: each request reserves the most it can cost before it is sent.

Counts dollars only; the reply store remembers them across runs. One event loop uses it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from postbias.params import CostParams

_MILLION = 1_000_000
# Sums of floats; far below the price of one token.
_ROUNDING_USD = 1e-9


@dataclass(frozen=True, slots=True)
class Ticket:
    """A request in flight, as noted in the store.

    Attributes:
        id: Of the note.
        worst_usd: What is reserved for it.
    """

    id: int
    worst_usd: float


class Budget:
    """What was spent, what is in flight, and whether one more request fits under the cap."""

    def __init__(self, params: CostParams, spent_usd: float) -> None:
        """Start from what was spent before.

        Args:
            params: Prices and cap.
            spent_usd: All that was ever spent from the reply store.
        """
        self._params = params
        self.spent_usd = spent_usd
        self._reserved_usd = 0.0
        self._in_flight = 0
        self._settled = asyncio.Event()

    @property
    def has_prices(self) -> bool:
        """Whether a cost can be computed."""
        return self._params.usd_per_million_input is not None

    def cost_usd(self, tokens_in: float, tokens_out: float, *, is_batch: bool = False) -> float:
        """Compute what tokens cost.

        Args:
            tokens_in: Input tokens.
            tokens_out: Output tokens.
            is_batch: Whether batch prices hold.

        Returns:
            Dollars; 0 without prices.
        """
        inward = tokens_in * (self._params.usd_per_million_input or 0.0)
        outward = tokens_out * (self._params.usd_per_million_output or 0.0)
        return (inward + outward) / _MILLION * (self._params.batch_factor if is_batch else 1.0)

    def fits(self, worst_usd: float) -> bool:
        """Tell whether a request may be sent now.

        Args:
            worst_usd: The most it can cost.

        Returns:
            Whether cap, spending and everything in flight leave room for it.
        """
        cap = self._params.max_cost_usd
        if cap is None:
            return True
        return self.spent_usd + self._reserved_usd + worst_usd <= cap + _ROUNDING_USD

    async def reserve(self, worst_usd: float) -> bool:
        """Reserve the most that a request can cost; waits while what is in flight may make room.

        Args:
            worst_usd: The most it can cost.

        Returns:
            Whether it may be sent; if not, the cap is reached.
        """
        while not self.fits(worst_usd):
            if self._in_flight == 0:
                return False
            self._settled.clear()
            await self._settled.wait()
        self._reserved_usd += worst_usd
        self._in_flight += 1
        return True

    def settle(self, worst_usd: float, cost_usd: float) -> None:
        """Replace a reservation by what was really spent.

        Args:
            worst_usd: What was reserved.
            cost_usd: What it cost.
        """
        self._reserved_usd -= worst_usd
        self._in_flight -= 1
        self.spent_usd += cost_usd
        self._settled.set()
