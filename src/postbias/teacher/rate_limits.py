"""Limit how fast an endpoint is called: concurrency slots, rates per minute, pauses after a 429."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np

from postbias.params import LimitsParams

Sleep = Callable[[float], Awaitable[None]]
Clock = Callable[[], float]

_BURST_S = 1.0
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.25, 60.0


class PerMinutePacer:
    """Spread units evenly so that no 60 s window exceeds a rate; bursts of one second."""

    def __init__(self, per_minute: int, sleep: Sleep, clock: Clock = time.monotonic) -> None:
        """Start without a backlog.

        Args:
            per_minute: Maximum number of units in any 60 seconds.
            sleep: Coroutine function that waits.
            clock: Returns the time in seconds.
        """
        self._burst_s = _BURST_S if per_minute > 60 else 0.0
        # In any window of 60 s: at most (60 + burst) / interval + 1 units.
        self._interval_s = (60 + self._burst_s) / per_minute * (1 + 1e-9)
        self._sleep, self._clock = sleep, clock
        self._due = 0.0

    async def acquire(self, units: float) -> None:
        """Wait until `units` more may be used."""
        now = self._clock()
        self._due = max(self._due, now)
        wait_s = self._due - self._burst_s - now
        self._due += units * self._interval_s
        if wait_s > 0:
            await self._sleep(wait_s)

    def correct(self, units: float) -> None:
        """Account for the difference between the units used and those acquired."""
        self._due += units * self._interval_s


class RequestSlot:
    """The place of one request among those in flight."""

    def __init__(self, throttle: RequestThrottle) -> None:
        """Take a slot of `throttle`."""
        self._throttle = throttle
        self._is_held, self._is_overdue = True, False
        throttle.n_active += 1

    def give_up(self) -> None:
        """Let another request go although this one, which is overdue, has no reply yet.

        At most as many requests as there are slots may be overdue: the others keep their slot, so
        that an endpoint that has become slow is not sent more and more requests.
        """
        if self._is_held and self._throttle.n_overdue < self._throttle.max_slots:
            self._throttle.n_overdue += 1
            self._is_held, self._is_overdue = False, True
            self._throttle.n_active -= 1
            self._throttle.wake()

    def release(self) -> None:
        """End the request."""
        self._throttle.n_active -= self._is_held
        self._throttle.n_overdue -= self._is_overdue
        self._is_held = self._is_overdue = False
        self._throttle.wake()


class RequestThrottle:
    """Slots for requests in flight: halved after a 429, regained one at a time.

    For use in one event loop.
    """

    def __init__(self, limits: LimitsParams, sleep: Sleep, rng: np.random.Generator) -> None:
        """Start with all slots.

        Args:
            limits: Maximum concurrency and rates per minute.
            sleep: Coroutine function that waits.
            rng: Source of jitter.
        """
        self.max_slots = limits.concurrency
        self._slots = float(limits.concurrency)
        self._sleep, self._rng = sleep, rng
        self._requests = _make_pacer(limits.requests_per_minute, sleep)
        self._tokens = _make_pacer(limits.tokens_per_minute, sleep)
        self.n_active = self.n_overdue = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._resume_at = self._halved_at = 0.0
        self._n_halvings = 0

    @property
    def slots(self) -> int:
        """The current maximum number of requests in flight that are not overdue."""
        return int(self._slots)

    @asynccontextmanager
    async def slot(self, tokens: float) -> AsyncIterator[RequestSlot]:
        """Hold a slot for one request that takes about `tokens`.

        Args:
            tokens: Input and output tokens, roughly.

        Yields:
            The slot, when the request may be sent.
        """
        while self.n_active >= self.slots:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        slot = RequestSlot(self)
        try:
            if self._requests:
                await self._requests.acquire(1)
            if self._tokens:
                await self._tokens.acquire(tokens)
            while (wait_s := self._resume_at - time.monotonic()) > 0:
                # Jitter: resuming all at once would cause the next 429.
                await self._sleep(wait_s + float(self._rng.uniform(0, min(1.0, wait_s))))
            yield slot
        finally:
            slot.release()

    def correct_tokens(self, used: float, expected: float) -> None:
        """Correct the token rate by what a request took beyond the expectation."""
        if self._tokens:
            self._tokens.correct(used - expected)

    def succeed(self, sent_at: float) -> None:
        """Regain a fraction of a slot after a success.

        Args:
            sent_at: When the request was sent, on the monotonic clock.
        """
        if sent_at > self._halved_at:
            self._n_halvings = 0
        self._slots = min(self.max_slots, self._slots + 1 / self._slots)
        self.wake()

    def slow_down(self, sent_at: float, retry_after_s: float | None) -> None:
        """Pause all requests and halve the slots, once per wave of 429s.

        Args:
            sent_at: When the refused request was sent, on the monotonic clock.
            retry_after_s: The delay that the endpoint asked for; None for a growing one.
        """
        now = time.monotonic()
        if sent_at > self._halved_at:
            self._halved_at = now
            self._slots = max(1.0, self._slots / 2)
            self._n_halvings += 1
        pause_s = retry_after_s
        if pause_s is None:
            # The exponent is bounded, since a float cannot hold any power.
            growth = 2.0 ** min(self._n_halvings - 1, 20)
            max_pause_s = min(_MAX_PAUSE_S, _FIRST_PAUSE_S * growth)
            pause_s = max_pause_s * float(self._rng.uniform(0.5, 1))
        self._resume_at = max(self._resume_at, now + pause_s)

    def wake(self) -> None:
        """Let waiting requests take the free slots."""
        n_free = self.slots - self.n_active
        while self._waiting and n_free > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                n_free -= 1


def _make_pacer(per_minute: int | None, sleep: Sleep) -> PerMinutePacer | None:
    return PerMinutePacer(per_minute, sleep) if per_minute else None
