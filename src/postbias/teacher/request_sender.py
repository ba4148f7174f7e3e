"""Send requests until each has a reply, a reject or a reason to stop the run.

A control request without any post tells a post that the endpoint cannot handle from an endpoint
that is down.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from postbias.params import LimitsParams
from postbias.posts.reasons import RejectReason
from postbias.teacher.budget import Budget, Reservation
from postbias.teacher.chat_responses import ChatResponse
from postbias.teacher.endpoint_client import EndpointClient
from postbias.teacher.metered_client import MeteredClient
from postbias.teacher.request_failures import (
    NextStep,
    RequestFailure,
    RequestRejectedError,
    RunStoppedError,
)
from postbias.teacher.store_writer import SqlStatements, StoreWriter
from postbias.teacher.token_estimates import TokenEstimate

logger = logging.getLogger(__name__)

#: Consecutive failures, without a success in between, after which the endpoint is checked.
_MAX_FAILURES_IN_A_ROW = 8
_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_CONTROL_ESTIMATE = TokenEstimate(64.0, 256.0, 16)


class RequestSender:
    """The single path by which the requests of a run leave."""

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
        self._metered = MeteredClient(client, writer, budget, limits, rng)
        self.stop_signal = self._metered.stop
        #: Whether requests contain no post, so that the endpoint's own message may be shown.
        self.has_no_posts = False
        self._limits, self._rng = limits, rng
        self._checking = asyncio.Lock()
        self._control_body: dict[str, Any] | None = None
        self._last_success_at = time.monotonic()
        #: Since when every request has failed; None after a success.
        self._failing_since: float | None = None
        self._n_failures = self._n_refusals = self._n_outages = 0

    @property
    def stop_reason(self) -> str | None:
        """The reason why the run stops; None while it continues."""
        return self.stop_signal.reason

    def stop(self, reason: str) -> None:
        """Send nothing more; requests in flight are completed. The first reason counts."""
        self.stop_signal.set(reason)

    async def sleep(self, seconds: float) -> None:
        """Wait, or raise as soon as the run stops.

        Raises:
            RunStoppedError: If the run stops.
        """
        await self.stop_signal.sleep(seconds)

    def set_control_request(self, model: str | None, limit_key: str) -> None:
        """Prepare the control request.

        Args:
            model: The model name.
            limit_key: The endpoint's name for the limit on output tokens.
        """
        messages = [{"role": "user", "content": "Reply with the word: ready"}]
        max_tokens = int(_CONTROL_ESTIMATE.worst_out)
        self._control_body = {"model": model, "messages": messages, limit_key: max_tokens}

    async def send(
        self, body: dict[str, Any], estimate: TokenEstimate, *, max_tries: int | None = None
    ) -> tuple[ChatResponse, Reservation]:
        """Send a request, and resend it until it has a reply.

        Args:
            estimate: The tokens it may take.
            max_tries: How often it is sent if it fails; `limits.tries` if None.

        Returns:
            The reply, and the reservation that `settle` must end.

        Raises:
            RequestRejectedError: If the endpoint answers other requests but not this one.
            RunStoppedError: If the run stops before there is a reply.
        """
        max_tries = max_tries or self._limits.tries
        n_tries = n_total = n_timeouts = 0
        n_outages, started_at = self._n_outages, time.monotonic()
        while True:
            if self._checking.locked():
                async with self._checking:
                    pass  # wait for the check of the endpoint to end
            sent_at, outcome = await self._metered.attempt(
                body, estimate, n_timeouts=n_timeouts, is_last_try=n_tries + 1 >= max_tries
            )
            if not isinstance(outcome, RequestFailure):
                self._n_refusals = 0
                self._succeed(sent_at)
                return outcome
            failure = outcome
            if failure.next_step is not NextStep.RETRY:
                await self._handle_refusal(failure, sent_at)
                continue
            if self._n_outages != n_outages:
                n_tries, n_outages = 0, self._n_outages
            n_tries, n_total = n_tries + 1, n_total + 1
            n_timeouts += failure.reason is RejectReason.TIMEOUT
            await self._back_off(failure, n_tries)
            # `n_total` ends a post that takes the endpoint down each time.
            if n_tries >= max_tries or n_total >= 3 * max_tries:
                if self._last_success_at < started_at:
                    await self.check_endpoint(f"{failure.detail}, {n_tries} times")
                if self._n_outages == n_outages or n_total >= 3 * max_tries:
                    raise RequestRejectedError(failure)

    async def settle(
        self, reservation: Reservation, cost_usd: float, more: Callable[[], SqlStatements] = tuple
    ) -> None:
        """End a reservation and write the outcome of its request in one transaction.

        Args:
            reservation: As returned by `send`.
            cost_usd: The cost of the request.
            more: Returns further statements; called in the writer thread.

        Raises:
            StorageError: If the store cannot be written; the reservation is then kept.
        """
        await self._metered.settle(reservation, cost_usd, more)

    async def check_endpoint(self, cause: str) -> None:
        """Send the control request; if the endpoint is down, wait until it is up again.

        Args:
            cause: What raised the suspicion.

        Raises:
            RunStoppedError: If it stays down for `outage_s`.
        """
        requested_at = time.monotonic()
        async with self._checking:
            if self._last_success_at > requested_at:
                return
            pause_s, was_down, n_timeouts = 1.0, False, 0
            while (failure := await self._send_control_request(n_timeouts)) is not None:
                n_timeouts += failure.reason is RejectReason.TIMEOUT
                failing_s = self._failing_s()
                if failure.next_step in {NextStep.ABORT, NextStep.CHECK_ENDPOINT}:
                    message = self._describe(failure, has_no_posts=True)
                    self._abort(f"the endpoint refuses even a plain question: {message}")
                if failing_s > self._limits.outage_s:
                    self._abort(f"the endpoint is down: {cause}; no answer for {failing_s:.0f} s")
                if not was_down:
                    logger.warning("the endpoint seems to be down (%s); waiting for it", cause)
                was_down = True
                await self.sleep(failure.retry_after_s or pause_s)
                pause_s = min(2 * pause_s, _MAX_BACKOFF_S)
            self._n_outages += was_down
            self._succeed(requested_at)

    async def _handle_refusal(self, failure: RequestFailure, sent_at: float) -> None:
        """Handle a failure after which the same request is not simply retried."""
        if failure.next_step is NextStep.SLOW_DOWN:
            self._slow_down(failure, sent_at)
            return
        if failure.next_step is NextStep.ABORT:
            message = self._describe(failure, has_no_posts=self.has_no_posts)
            self._abort(f"the endpoint refuses: {message}")
        await self._count_refusal(failure)
        raise RequestRejectedError(failure)

    async def _send_control_request(self, n_timeouts: int) -> RequestFailure | None:
        if self._control_body is None:
            return None
        _, outcome = await self._metered.attempt(
            self._control_body, _CONTROL_ESTIMATE, n_timeouts=n_timeouts
        )
        if isinstance(outcome, RequestFailure):
            return outcome
        response, reservation = outcome
        tokens_in, tokens_out = response.tokens
        cost_usd = reservation.worst_usd
        if tokens_in is not None and tokens_out is not None:
            cost_usd = self.budget.cost_usd(tokens_in, tokens_out)
        await self.settle(reservation, cost_usd)
        return None

    def _succeed(self, sent_at: float) -> None:
        self._last_success_at = time.monotonic()
        self._failing_since = None
        self._n_failures = 0
        self._metered.throttle.succeed(sent_at)

    async def _back_off(self, failure: RequestFailure, n_tries: int) -> None:
        self._n_failures += 1
        self._failing_s()
        if self._n_failures >= _MAX_FAILURES_IN_A_ROW:
            await self.check_endpoint(failure.detail)
            return
        requested_s = failure.retry_after_s or 0.0
        if requested_s > self._limits.outage_s:
            self._abort(
                f"the endpoint asks for a pause of {requested_s:.0f} s, longer than outage_s: "
                f"{failure.detail}"
            )
        # The exponent is bounded, since a float cannot hold any power.
        max_backoff_s = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** min(n_tries - 1, 20))
        await self.sleep(requested_s or max_backoff_s * float(self._rng.uniform(0.5, 1)))

    async def _count_refusal(self, failure: RequestFailure) -> None:
        """Check after several refusals in a row whether the posts or the endpoint is the cause."""
        self._n_refusals += 1
        if self._n_refusals >= _MAX_FAILURES_IN_A_ROW:
            await self.check_endpoint(failure.detail)
            if self._n_refusals >= 2 * _MAX_FAILURES_IN_A_ROW:
                self._abort(
                    f"the endpoint refuses every post, but not a plain question: {failure.detail}"
                )

    def _slow_down(self, failure: RequestFailure, sent_at: float) -> None:
        wait_s, failing_s = failure.retry_after_s, self._failing_s()
        if (wait_s or 0.0) > self._limits.outage_s or failing_s > self._limits.outage_s:
            request = f" and asks for a pause of {wait_s:.0f} s" if wait_s else ""
            self._abort(f"the endpoint rate-limits every request{request}: {failure.detail}")
        self._metered.throttle.slow_down(sent_at, wait_s)

    def _failing_s(self) -> float:
        """Return for how long every request has failed; call it after a failure."""
        now = time.monotonic()
        if self._failing_since is None:
            self._failing_since = now
        return now - self._failing_since

    def _describe(self, failure: RequestFailure, *, has_no_posts: bool) -> str:
        hint = self.client.redact(failure.hint) if has_no_posts else ""
        return f"{failure.detail}: {hint}" if hint else failure.detail

    def _abort(self, reason: str) -> None:
        self.stop(reason)
        raise RunStoppedError
