"""Timeouts that adapt to the latencies of a run, so that hung requests do not stall it."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

_WINDOW = 256
_QUANTILE = 0.98
#: A request is overdue after this multiple of the quantile; more while few latencies are known.
_OVERDUE_FACTOR, _UNCERTAINTY_FACTOR = 2.0, 8.0
#: Shorter than this is within the jitter of networks and event loops.
_MIN_OVERDUE_S = 1.0
#: An overdue request is cancelled after as long again; each retry may take three times as long.
_CANCEL_FACTOR, _RETRY_FACTOR = 2.0, 3.0
_TICK_S = 0.1


@dataclass(slots=True, eq=False)
class _Pending:
    """A request in flight: its age, its limit, and what to do when it is late."""

    timeout: asyncio.Timeout
    n_timeouts: int
    is_last_try: bool
    on_overdue: Callable[[], None]
    age_s: float = 0.0
    is_overdue: bool = False


class AdaptiveTimeouts:
    """Watch the requests in flight of one event loop.

    A request is overdue when it takes much longer than most requests of this run. It then gives up
    its slot, and is cancelled after as long again. A retry waits longer, and the last try up to
    `timeout_s`, so that a post which takes long is not rejected.
    """

    def __init__(self, timeout_s: float) -> None:
        """Start without any latencies: until there are some, only `timeout_s` applies."""
        self._timeout_s = timeout_s
        self._latencies: deque[float] = deque(maxlen=_WINDOW)
        self._overdue_s = math.inf
        self._pending: set[_Pending] = set()
        self._ticked_at = 0.0
        self._ticker: asyncio.TimerHandle | None = None

    @property
    def overdue_s(self) -> float:
        """The age from which a request is overdue; infinite before the first reply."""
        return self._overdue_s

    def learn(self, latency_s: float) -> None:
        """Learn from the latency of a reply."""
        self._latencies.append(latency_s)
        n = len(self._latencies)
        quantile_s = sorted(self._latencies)[min(n - 1, int(_QUANTILE * n))]
        factor = _OVERDUE_FACTOR + _UNCERTAINTY_FACTOR / n
        self._overdue_s = max(_MIN_OVERDUE_S, factor * quantile_s)

    def limit_s(self, n_timeouts: int, *, is_last_try: bool) -> float:
        """Return the age at which a request is cancelled.

        Args:
            n_timeouts: How often this request has timed out already.
            is_last_try: Whether the request is rejected if it times out again.

        Returns:
            Seconds.
        """
        if is_last_try:
            return self._timeout_s
        # The exponent is bounded, since a float cannot hold any power.
        growth = _RETRY_FACTOR ** min(n_timeouts, 20)
        return min(self._timeout_s, _CANCEL_FACTOR * self._overdue_s * growth)

    @asynccontextmanager
    async def watch(
        self, n_timeouts: int, *, is_last_try: bool, on_overdue: Callable[[], None]
    ) -> AsyncIterator[None]:
        """Watch one request.

        Args:
            n_timeouts: How often this request has timed out already.
            is_last_try: Whether the request is rejected if it times out again.
            on_overdue: Called once when the request is overdue.

        Yields:
            While the request may run.

        Raises:
            TimeoutError: If it takes too long.
        """
        async with asyncio.timeout(None) as timeout:
            pending = _Pending(timeout, n_timeouts, is_last_try, on_overdue)
            self._pending.add(pending)
            self._start()
            try:
                yield
            finally:
                self._pending.discard(pending)

    def _start(self) -> None:
        if self._ticker is None:
            loop = asyncio.get_running_loop()
            self._ticked_at = loop.time()
            self._ticker = loop.call_later(_TICK_S, self._tick)

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        # Count only the time that this process has watched: when the machine was busy or asleep,
        # the endpoint is not late.
        elapsed_s = min(now - self._ticked_at, 2 * _TICK_S)
        self._ticked_at = now
        for pending in list(self._pending):
            pending.age_s += elapsed_s
            if pending.age_s > self._overdue_s and not pending.is_overdue:
                pending.is_overdue = True
                pending.on_overdue()
            limit_s = self.limit_s(pending.n_timeouts, is_last_try=pending.is_last_try)
            if pending.age_s > limit_s:
                self._pending.discard(pending)
                pending.timeout.reschedule(now)
        self._ticker = loop.call_later(_TICK_S, self._tick) if self._pending else None
