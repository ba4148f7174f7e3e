"""The spending cap.

Invariant: what was spent, plus the most that all requests in flight and all outstanding batches
can cost, never exceeds `max_cost_usd`. A request or batch is sent only after its maximum cost has
been reserved here and recorded in the store, and the reservation ends only together with the record
of the actual cost. Whatever may have been billed counts: requests that were cancelled, failed after
they were sent, or were in flight when a run was killed count in full. Only an endpoint that bills
more tokens than it was allowed can exceed the cap, by the excess of the requests in flight; later
bounds are then raised.
"""

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

    def __init__(self, params: CostParams, spent_usd: float, outstanding_usd: float = 0.0) -> None:
        """Start from earlier runs.

        Args:
            params: Prices and cap.
            spent_usd: Everything ever spent from the reply store.
            outstanding_usd: The most that its outstanding batches can cost.
        """
        self._params = params
        self.spent_usd, self.outstanding_usd = spent_usd, outstanding_usd
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
        """Return whether the invariant still holds with another `worst_usd`."""
        cap = self._params.max_cost_usd
        if cap is None:
            return True
        committed_usd = self.spent_usd + self.outstanding_usd + self._reserved_usd
        return committed_usd + worst_usd <= cap + _ROUNDING_USD

    async def reserve(self, worst_usd: float) -> bool:
        """Reserve the most a request can cost, waiting while requests in flight may free budget.

        Args:
            worst_usd: The most that the request can cost.

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
        """Replace the reservation of a request by its actual cost."""
        self._reserved_usd -= worst_usd
        self._in_flight -= 1
        self.spent_usd += cost_usd
        self._settled.set()

    def add_batch(self, worst_usd: float) -> None:
        """Reserve the most that a batch can cost until `settle_batch`; it must fit."""
        self.outstanding_usd += worst_usd

    def settle_batch(self, worst_usd: float, cost_usd: float) -> None:
        """Replace the reservation of a batch by its actual cost."""
        self.outstanding_usd -= worst_usd
        self.spent_usd += cost_usd
        self._settled.set()

    def describe(self) -> str:
        """Return what is spent and reserved, for messages."""
        message = f"spent so far: ${self.spent_usd:.4f}"
        if self.outstanding_usd > _ROUNDING_USD:
            message += f", reserved for outstanding batches: ${self.outstanding_usd:.4f}"
        return message
