"""Stop a run: at a signal, at the spending cap, or when the endpoint is down."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from postbias.teacher.request_failures import RunStoppedError

logger = logging.getLogger(__name__)

#: Schedulers kill a process about ten seconds after SIGTERM.
_SIGTERM_GRACE_S = 6.0


class StopSignal:
    """Tells all parts of a run to send nothing more and to complete what is in flight."""

    def __init__(self) -> None:
        """Start without a reason to stop."""
        self.reason: str | None = None
        self._event = asyncio.Event()

    def set(self, reason: str) -> None:
        """Stop the run. The first reason counts."""
        self.reason = self.reason or reason
        self._event.set()

    async def sleep(self, seconds: float) -> None:
        """Wait, or raise as soon as the run stops.

        Raises:
            RunStoppedError: If the run stops.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return
        raise RunStoppedError


@contextmanager
def stopping_on_signals(stop: StopSignal) -> Iterator[None]:
    """Complete requests in flight on the first Ctrl-C or SIGTERM, cancel them on the second.

    After a SIGTERM they are cancelled within seconds, whatever they wait for: what is not
    completed by then counts as spent.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    timers: list[asyncio.TimerHandle] = []

    def handle(number: signal.Signals) -> None:
        if task is None:
            return
        if stop.reason is not None:
            task.cancel()
            return
        sys.stderr.write(f"\n{number.name}: completing requests in flight; repeat to cancel them\n")
        stop.set(f"interrupted by {number.name}")
        if number is signal.SIGTERM:
            timers.append(loop.call_later(_SIGTERM_GRACE_S, task.cancel))

    signals = [signal.SIGINT, signal.SIGTERM]
    try:
        for number in signals:
            loop.add_signal_handler(number, handle, number)
    except (RuntimeError, NotImplementedError, ValueError):
        signals = []  # not the main thread, or Windows: keep the process's own handlers
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
        for timer in timers:
            timer.cancel()
