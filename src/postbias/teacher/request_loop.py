"""Sends requests until each has a reply, a reject or a reason to stop everything.

Puts together limits, budget, the note of what is in flight and what to do after a fault. Tells a
post that an endpoint chokes on from an endpoint that is down by asking a harmless question (the
canary): if that is answered, it was the post. Knows nothing of rubrics and posts.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from postbias.params import LimitsParams
from postbias.teacher.api_errors import Fault, Next, RejectError, RequestError, StoppedError
from postbias.teacher.budget import Budget, Ticket
from postbias.teacher.client import Client, RawReply
from postbias.teacher.rate_limits import Throttle
from postbias.teacher.reply import add_total
from postbias.teacher.store_writer import Statements, Writer
from postbias.teacher.token_estimates import Size

logger = logging.getLogger(__name__)

#: Failures in a row, with no success between, after which the endpoint is suspected.
_SUSPICIOUS = 8
_FIRST_BACKOFF_S = 0.5
_MAX_BACKOFF_S = 30.0
_CANARY_TOKENS = 16


class Caller:
    """The way out for all requests of a run."""

    def __init__(
        self,
        client: Client,
        writer: Writer,
        budget: Budget,
        limits: LimitsParams,
        rng: np.random.Generator,
    ) -> None:
        """Put the parts together.

        Args:
            client: The line to the endpoint.
            writer: Notes what is in flight.
            budget: The cap.
            limits: How hard the endpoint may be pressed.
            rng: For jitter.
        """
        self.client, self.writer, self.budget = client, writer, budget
        self.throttle = Throttle(limits, self.sleep, rng)
        self.stopped: str | None = None
        #: Whether requests carry no post, so that the endpoint's own words may be shown.
        self.is_bare = False
        self._limits, self._rng = limits, rng
        self._halt = asyncio.Event()
        self._ids = itertools.count(1)
        self._checking = asyncio.Lock()
        self._canary: dict[str, Any] | None = None
        self._last_success_at = time.monotonic()
        #: Since when nothing has succeeded though something was asked.
        self._trouble_since: float | None = None
        self._failures = self._refusals = self._outages = 0

    def set_canary(self, model: str | None, limit_key: str) -> None:
        """Say how to ask a harmless question.

        Args:
            model: The model to ask.
            limit_key: What the endpoint calls the limit on output tokens.
        """
        messages = [{"role": "user", "content": "Reply with the word: ready"}]
        self._canary = {"model": model, "messages": messages, limit_key: _CANARY_TOKENS}

    def stop(self, why: str) -> None:
        """Stop sending; what is in flight is finished.

        Args:
            why: For the user.
        """
        self.stopped = self.stopped or why
        self._halt.set()

    async def sleep(self, seconds: float) -> None:
        """Wait, but not longer than until everything stops.

        Args:
            seconds: How long.

        Raises:
            StoppedError: If everything stops.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._halt.wait()
        except TimeoutError:
            return
        raise StoppedError

    async def call(self, body: dict[str, Any], size: Size) -> tuple[RawReply, Ticket]:
        """Send a request until it has a reply.

        Args:
            body: Of the request.
            size: What it may take.

        Returns:
            The reply, and the note of the request, which `settle` strikes out.

        Raises:
            RejectError: If the endpoint answers others but not this one.
            StoppedError: If everything stops before there is a reply.
        """
        tries = total = 0
        outages, since = self._outages, time.monotonic()
        while True:
            sent_at, outcome = await self._send(body, size)
            if not isinstance(outcome, Fault):
                self._refusals = 0
                self._succeed(sent_at)
                return outcome
            fault = outcome
            if fault.next is Next.STOP:
                self._give_up(f"the endpoint refuses: {self._say(fault, is_bare=self.is_bare)}")
            elif fault.next is Next.DOUBT:
                await self._doubt(fault)
                raise RejectError(fault)
            elif fault.next is Next.SLOW_DOWN:
                self._slow_down(fault, sent_at)
            else:
                if self._outages != outages:
                    tries, outages = 0, self._outages
                tries, total = tries + 1, total + 1
                await self._fail(fault, tries)
                # A post that takes the endpoint down each time must end too.
                if tries >= self._limits.tries or total >= 3 * self._limits.tries:
                    if self._last_success_at < since:
                        await self.check(f"{fault.detail}, {tries} times")
                    if self._outages == outages or total >= 3 * self._limits.tries:
                        raise RejectError(fault)

    async def settle(
        self, ticket: Ticket, cost_usd: float, more: Callable[[], Statements] = tuple
    ) -> None:
        """Strike out the note of a request, and write what came of it, in one transaction.

        Args:
            ticket: The note.
            cost_usd: What the request cost.
            more: Gives further statements; called in the writer's thread.

        Raises:
            StorageError: If the store cannot be written; the note then stands.
        """
        await self.writer.write(
            lambda: [
                ("DELETE FROM sent WHERE id = ?", (ticket.id,)),
                add_total("spent_usd", cost_usd),
                add_total("requests", 1),
                *more(),
            ]
        )
        self.budget.settle(ticket.worst_usd, cost_usd)

    async def check(self, why: str) -> None:
        """Find out whether the endpoint is up; if not, wait until it is.

        Args:
            why: What made it suspect.

        Raises:
            StoppedError: If it stays down for `outage_s`.
        """
        asked_at = time.monotonic()
        async with self._checking:
            if self._last_success_at > asked_at:
                return
            pause_s, was_down = 1.0, False
            while (fault := await self._ask_canary()) is not None:
                waited_s = self._trouble_s()
                if fault.next in {Next.STOP, Next.DOUBT}:
                    said = self._say(fault, is_bare=True)
                    self._give_up(f"the endpoint refuses even a plain question: {said}")
                if waited_s > self._limits.outage_s:
                    self._give_up(f"the endpoint is down: {why}; no answer for {waited_s:.0f} s")
                if not was_down:
                    logger.warning("the endpoint seems down (%s); waiting for it", why)
                was_down = True
                await self.sleep(fault.retry_after_s or pause_s)
                pause_s = min(2 * pause_s, _MAX_BACKOFF_S)
            self._outages += was_down
            self._succeed(asked_at)

    async def _send(
        self, body: dict[str, Any], size: Size
    ) -> tuple[float, tuple[RawReply, Ticket] | Fault]:
        if self._checking.locked() and body is not self._canary:
            async with self._checking:
                pass  # suspected down: one asks, the others wait
        worst_usd = self.budget.cost_usd(size.worst_in, size.worst_out)
        if not await self.budget.reserve(worst_usd):
            self._give_up(
                f"the next request may cost up to ${worst_usd:.4f}, which max_cost_usd does not "
                f"allow (spent so far: ${self.budget.spent_usd:.4f})"
            )
        try:
            async with self.throttle.slot(size.tokens):
                if self.stopped:
                    raise StoppedError
                ticket = Ticket(next(self._ids), worst_usd)
                note = ("INSERT INTO sent VALUES (?, ?)", (ticket.id, worst_usd))
                await self.writer.write(lambda: [note])
                sent_at = time.monotonic()
                try:
                    reply = await self.client.ask(body)
                except RequestError as error:
                    fault = error.fault
                else:
                    used = sum(n or 0 for n in reply.tokens)
                    self.throttle.used(used or size.tokens, size.tokens)
                    return sent_at, (reply, ticket)
        except StoppedError:
            self.budget.settle(worst_usd, 0.0)
            raise
        await self.settle(ticket, worst_usd if fault.may_be_billed else 0.0)
        return sent_at, fault

    async def _ask_canary(self) -> Fault | None:
        if self._canary is None:
            return None
        _, outcome = await self._send(self._canary, Size(64.0, 256.0, _CANARY_TOKENS))
        if isinstance(outcome, Fault):
            return outcome
        reply, ticket = outcome
        tokens_in, tokens_out = reply.tokens
        await self.settle(ticket, self.budget.cost_usd(tokens_in or 256, tokens_out or 16))
        return None

    def _succeed(self, sent_at: float) -> None:
        self._last_success_at = time.monotonic()
        self._trouble_since = None
        self._failures = 0
        self.throttle.succeed(sent_at)

    async def _fail(self, fault: Fault, tries: int) -> None:
        self._failures += 1
        self._trouble_s()
        if self._failures >= _SUSPICIOUS:
            await self.check(fault.detail)
            return
        asked_s = fault.retry_after_s or 0.0
        if asked_s > self._limits.outage_s:
            self._give_up(f"the endpoint asks to wait {asked_s:.0f} s: {fault.detail}")
        longest = min(_MAX_BACKOFF_S, _FIRST_BACKOFF_S * 2.0 ** (tries - 1))
        await self.sleep(asked_s or longest * float(self._rng.uniform(0.5, 1)))

    async def _doubt(self, fault: Fault) -> None:
        """After several refusals in a row ask the canary: is it the posts, or all of us."""
        self._refusals += 1
        if self._refusals >= _SUSPICIOUS:
            await self.check(fault.detail)
            if self._refusals >= 2 * _SUSPICIOUS:
                self._give_up(
                    f"the endpoint refuses every post, though not a plain question: {fault.detail}"
                )

    def _slow_down(self, fault: Fault, sent_at: float) -> None:
        wait_s, silent_s = fault.retry_after_s, self._trouble_s()
        if (wait_s or 0.0) > self._limits.outage_s or silent_s > self._limits.outage_s:
            asked = f", and asks to wait {wait_s:.0f} s" if wait_s else ""
            self._give_up(f"the endpoint limits the rate of every request{asked}: {fault.detail}")
        self.throttle.slow_down(sent_at, wait_s)

    def _trouble_s(self) -> float:
        """Say for how long nothing has succeeded; called when something has just failed."""
        now = time.monotonic()
        if self._trouble_since is None:
            self._trouble_since = now
        return now - self._trouble_since

    def _say(self, fault: Fault, *, is_bare: bool) -> str:
        hint = self.client.redact(fault.hint) if is_bare else ""
        return f"{fault.detail}: {hint}" if hint else fault.detail

    def _give_up(self, why: str) -> None:
        self.stop(why)
        raise StoppedError
