"""Limit the requests to each host and to all of them; pause and give up hosts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from postbias.posts.fetching.fetch_failures import FetchError, FetchLimits
from postbias.posts.reasons import RejectReason

#: After so many images in a row for which it did not answer, a host is given up.
MAX_UNREACHABLE = 5


@dataclass(slots=True)
class _Host:
    slots: asyncio.Semaphore
    paused_until: float = 0.0
    n_unreachable: int = 0
    closed_by: FetchError | None = None


class HostLimits:
    """Slots for requests, and the state of each host."""

    def __init__(self, limits: FetchLimits) -> None:
        """Start without any request in flight."""
        self._limits = limits
        self._all = asyncio.Semaphore(limits.concurrency)
        self._hosts: defaultdict[str, _Host] = defaultdict(
            lambda: _Host(asyncio.Semaphore(limits.per_host))
        )

    @asynccontextmanager
    async def request_slot(self, host: str) -> AsyncIterator[None]:
        """Wait until a request to a host may be sent; record how it ended.

        Args:
            host: Name of the host.

        Yields:
            Nothing; the slot is free again when the block ends.

        Raises:
            FetchError: If the host was given up in this run.
        """
        state = self._hosts[host]
        async with state.slots:
            await self._wait(state)
            async with self._all:
                try:
                    yield
                except FetchError as error:
                    error.host = host
                    self._pause(host, state, error.retry_after_s)
                    raise
                state.n_unreachable = 0

    async def _wait(self, state: _Host) -> None:
        """Wait while the host is paused, which other requests may prolong."""
        loop = asyncio.get_running_loop()
        while not state.closed_by and (pause_s := state.paused_until - loop.time()) > 0:
            await asyncio.sleep(pause_s)
        if state.closed_by:
            raise FetchError(state.closed_by.reason, state.closed_by.detail)

    def _pause(self, host: str, state: _Host, wait_s: float | None) -> None:
        if wait_s is None:
            return
        if wait_s > self._limits.max_wait_s:
            state.closed_by = FetchError(
                RejectReason.RATE_LIMITED, f"{host} asks to wait {wait_s:.0f} s; run again then"
            )
        else:
            until = asyncio.get_running_loop().time() + wait_s
            state.paused_until = max(state.paused_until, until)

    def count_failure(self, error: FetchError) -> None:
        """Count an image whose last attempt failed; give the host up if it never answers."""
        state = self._hosts[error.host]
        is_unreachable = error.reason in {RejectReason.DISCONNECTED, RejectReason.TIMEOUT}
        if not error.host or not is_unreachable:
            return
        state.n_unreachable += 1
        if state.n_unreachable >= MAX_UNREACHABLE and state.closed_by is None:
            state.closed_by = FetchError(
                error.reason,
                f"{error.host} failed for {MAX_UNREACHABLE} images in a row and was given up",
            )
