"""The spending cap: each request reserves the most it can cost before it is sent."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from postbias.params import CostParams

_MILLION = 1_000_000
# Tolerance for sums of floats; far below the price of one token.
_ROUNDING_USD = 1e-9


@dataclass(frozen=True, slots=True)
class Reservation:
    """The budget reserved for a request in flight, as recorded in the store.

    Attributes:
        id: Row id in the store's `sent` table.
        worst_usd: The most the request can cost.
    """

    id: int
    worst_usd: float


class Budget:
    """Track what was spent and what is reserved; decide whether one more request fits the cap.

    For use in one event loop.
    """

    def __init__(self, params: CostParams, spent_usd: float) -> None:
        """Start from earlier spending.

        Args:
            params: Prices and cap.
            spent_usd: Everything ever spent from the reply store.
        """
        self._params = params
        self.spent_usd = spent_usd
        self._reserved_usd = 0.0
        self._in_flight = 0
        self._settled = asyncio.Event()

    @property
    def has_prices(self) -> bool:
        """Whether costs can be computed."""
        return self._params.usd_per_million_input is not None

    def cost_usd(self, tokens_in: float, tokens_out: float, *, is_batch: bool = False) -> float:
        """Return the price of input and output tokens; 0 without prices."""
        cost_in = tokens_in * (self._params.usd_per_million_input or 0.0)
        cost_out = tokens_out * (self._params.usd_per_million_output or 0.0)
        return (cost_in + cost_out) / _MILLION * (self._params.batch_factor if is_batch else 1.0)

    def fits(self, worst_usd: float) -> bool:
        """Return whether spending, reservations and `worst_usd` together stay within the cap."""
        cap = self._params.max_cost_usd
        if cap is None:
            return True
        return self.spent_usd + self._reserved_usd + worst_usd <= cap + _ROUNDING_USD

    async def reserve(self, worst_usd: float) -> bool:
        """Reserve the most a request can cost, waiting while requests in flight may free budget.

        Returns:
            Whether the request may be sent; False means that the cap is reached.
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
        """Replace a reservation of `worst_usd` by the actual cost."""
        self._reserved_usd -= worst_usd
        self._in_flight -= 1
        self.spent_usd += cost_usd
        self._settled.set()
