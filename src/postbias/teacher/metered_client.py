"""Send one request within all limits: budget, slots, rates and timeouts."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from postbias.params import LimitsParams
from postbias.posts.reasons import RejectReason
from postbias.teacher.budget import Budget, Reservation
from postbias.teacher.chat_responses import ChatResponse
from postbias.teacher.endpoint_client import EndpointClient
from postbias.teacher.rate_limits import RequestThrottle
from postbias.teacher.reply import increment_total
from postbias.teacher.request_failures import (
    NextStep,
    RequestFailedError,
    RequestFailure,
    RunStoppedError,
)
from postbias.teacher.request_timeouts import AdaptiveTimeouts
from postbias.teacher.stop_signals import StopSignal
from postbias.teacher.store_writer import SqlStatements, StoreWriter
from postbias.teacher.token_estimates import TokenEstimate

_TIMEOUT = RequestFailure(
    NextStep.RETRY, RejectReason.TIMEOUT, "no complete answer in time", may_be_billed=True
)


class MeteredClient:
    """A client that sends a request only when budget, slots and rates allow it."""

    def __init__(
        self,
        client: EndpointClient,
        writer: StoreWriter,
        budget: Budget,
        limits: LimitsParams,
        rng: np.random.Generator,
    ) -> None:
        """Combine the parts.

        Args:
            client: Sends one request.
            writer: Records requests in flight.
            budget: Holds the spending cap.
            limits: Concurrency, rates, timeouts and tries.
            rng: Source of jitter.
        """
        self.client, self.writer, self.budget = client, writer, budget
        self.stop = StopSignal()
        self.throttle = RequestThrottle(limits, self.stop.sleep, rng)
        self._timeouts = AdaptiveTimeouts(limits.timeout_s)
        self._ids = itertools.count(1)

    async def attempt(
        self,
        body: dict[str, Any],
        estimate: TokenEstimate,
        *,
        n_timeouts: int = 0,
        is_last_try: bool = False,
    ) -> tuple[float, tuple[ChatResponse, Reservation] | RequestFailure]:
        """Send a request once.

        Args:
            estimate: The tokens it may take.
            n_timeouts: How often it has timed out before.
            is_last_try: Whether it is rejected if it fails again.

        Returns:
            When it was sent, on the monotonic clock, and either the reply with the reservation that
            `settle` must end, or the failure.

        Raises:
            RunStoppedError: If the run stops first, or the spending cap is reached.
        """
        worst_usd = self.budget.cost_usd(estimate.worst_in, estimate.worst_out)
        if not await self.budget.reserve(worst_usd):
            self.stop.set(
                f"the next request may cost up to ${worst_usd:.4f}, which exceeds max_cost_usd "
                f"({self.budget.describe()})"
            )
            raise RunStoppedError
        try:
            async with self.throttle.slot(estimate.tokens) as slot:
                if self.stop.reason:
                    raise RunStoppedError
                reservation = Reservation(next(self._ids), worst_usd)
                record = ("INSERT INTO sent VALUES (?, ?)", (reservation.id, worst_usd))
                await self.writer.write(lambda: [record])
                sent_at = time.monotonic()
                try:
                    async with self._timeouts.watch(
                        n_timeouts, is_last_try=is_last_try, on_overdue=slot.give_up
                    ):
                        response = await self.client.send(body)
                except RequestFailedError as error:
                    failure = error.failure
                except TimeoutError:
                    failure = _TIMEOUT
                else:
                    self._timeouts.learn(response.latency_s)
                    n_used = sum(n or 0 for n in response.tokens)
                    self.throttle.correct_tokens(n_used or estimate.tokens, estimate.tokens)
                    return sent_at, (response, reservation)
        except RunStoppedError:
            self.budget.settle(worst_usd, 0.0)
            raise
        await self.settle(reservation, worst_usd if failure.may_be_billed else 0.0)
        return sent_at, failure

    async def settle(
        self, reservation: Reservation, cost_usd: float, more: Callable[[], SqlStatements] = tuple
    ) -> None:
        """End a reservation and write the outcome of its request in one transaction.

        Args:
            reservation: As returned by `attempt`.
            cost_usd: The cost of the request.
            more: Returns further statements; called in the writer thread.

        Raises:
            StorageError: If the store cannot be written; the reservation is then kept.
        """
        await self.writer.write(
            lambda: [
                ("DELETE FROM sent WHERE id = ?", (reservation.id,)),
                increment_total("spent_usd", cost_usd),
                increment_total("requests", 1),
                *more(),
            ]
        )
        self.budget.settle(reservation.worst_usd, cost_usd)
