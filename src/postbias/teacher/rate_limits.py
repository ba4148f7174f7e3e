"""How fast an endpoint is asked: slots, paces per minute, and everybody slowing down after a 429.

Only waits and counts; knows neither requests nor replies. One event loop uses it.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np

from postbias.params import LimitsParams

Sleep = Callable[[float], Awaitable[None]]

_BURST_S = 1.0
_MAX_PAUSE_S = 60.0


class Pace:
    """At most so many units in any minute, evenly, with bursts of a second."""

    def __init__(self, per_minute: int, sleep: Sleep) -> None:
        """Start a pace.

        Args:
            per_minute: Units in any 60 seconds.
            sleep: How to wait.
        """
        self._burst_s = _BURST_S if per_minute > 60 else 0.0
        # In any window of 60 s: at most (60 + burst) / interval + 1 units.
        self._interval_s = (60 + self._burst_s) / per_minute * (1 + 1e-9)
        self._sleep = sleep
        self._due = 0.0

    async def acquire(self, units: float) -> None:
        """Wait until so many units may go.

        Args:
            units: How many.
        """
        now = time.monotonic()
        self._due = max(self._due, now)
        wait_s = self._due - self._burst_s - now
        self._due += units * self._interval_s
        if wait_s > 0:
            await self._sleep(wait_s)

    def correct(self, units: float) -> None:
        """Give units back that were not used, or take more that were.

        Args:
            units: Used minus acquired.
        """
        self._due += units * self._interval_s


class Throttle:
    """Slots for requests in flight, halved after a 429 and won back one by one."""

    def __init__(self, limits: LimitsParams, sleep: Sleep, rng: np.random.Generator) -> None:
        """Start with all slots.

        Args:
            limits: How many, and how much per minute.
            sleep: How to wait.
            rng: Spreads what waited together.
        """
        self._most = limits.concurrency
        self._slots = float(limits.concurrency)
        self._sleep, self._rng = sleep, rng
        self._requests = _pace(limits.requests_per_minute, sleep)
        self._tokens = _pace(limits.tokens_per_minute, sleep)
        self._active = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resume_at = self._cut_at = 0.0
        self._strikes = 0

    @property
    def slots(self) -> int:
        """Requests that may be in flight just now."""
        return int(self._slots)

    @asynccontextmanager
    async def slot(self, tokens: float) -> AsyncIterator[None]:
        """Hold a slot for one request.

        Args:
            tokens: What it will take, roughly.

        Yields:
            When it may be sent.
        """
        while self._active >= self.slots:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        self._active += 1
        try:
            if self._requests:
                await self._requests.acquire(1)
            if self._tokens:
                await self._tokens.acquire(tokens)
            while (wait_s := self._resume_at - time.monotonic()) > 0:
                # Not all in the same instant: that would be the next 429.
                await self._sleep(wait_s + float(self._rng.uniform(0, min(1.0, wait_s))))
            yield
        finally:
            self._active -= 1
            self._wake()

    def used(self, tokens: float, expected: float) -> None:
        """Correct the token pace by what a request really took.

        Args:
            tokens: Really.
            expected: As said when the slot was taken.
        """
        if self._tokens:
            self._tokens.correct(tokens - expected)

    def succeed(self, sent_at: float) -> None:
        """Win back a little after a success.

        Args:
            sent_at: When the request was sent, on the monotonic clock.
        """
        if sent_at > self._cut_at:
            self._strikes = 0
        self._slots = min(self._most, self._slots + 1 / self._slots)
        self._wake()

    def slow_down(self, sent_at: float, retry_after_s: float | None) -> None:
        """Let everybody wait, and halve the slots, once per wave of 429s.

        Args:
            sent_at: When the refused request was sent, on the monotonic clock.
            retry_after_s: How long the endpoint asks to wait, if it says.
        """
        now = time.monotonic()
        if sent_at > self._cut_at:
            self._cut_at = now
            self._slots = max(1.0, self._slots / 2)
            self._strikes += 1
        pause_s = retry_after_s
        if pause_s is None:
            longest = min(_MAX_PAUSE_S, 0.5 * 2.0**self._strikes)
            pause_s = longest * float(self._rng.uniform(0.5, 1))
        self._resume_at = max(self._resume_at, now + pause_s)

    def _wake(self) -> None:
        free = self.slots - self._active
        while self._waiting and free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                free -= 1


def _pace(per_minute: int | None, sleep: Sleep) -> Pace | None:
    return Pace(per_minute, sleep) if per_minute else None
