"""Writes to the reply store from an event loop: one thread, commits grouped as they come.

Sixty-four requests a second need a hundred durable writes a second; those that wait while one
commit runs share the next.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from postbias.errors import StorageError
from postbias.teacher.reply_store import ReplyStore

Statements = Sequence[tuple[str, Sequence[Any]]]

_GROUP = 256


class Writer:
    """A thread that owns one connection to the store."""

    def __init__(self, path: Path) -> None:
        """Start the thread.

        Args:
            path: The store's file.
        """
        self._store = ReplyStore.open(path)
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="reply-store")
        self._thread.start()

    async def write(self, make: Callable[[], Statements]) -> None:
        """Write durably.

        Args:
            make: Gives the statements of one transaction; called in the thread.

        Raises:
            StorageError: If nothing could be written.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((make, done))
        await done

    async def close(self) -> None:
        """Finish all writes and end the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._store.close()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            while len(jobs) < _GROUP and (job := self._next()) is not None:
                jobs.append(job)
            try:
                self._store.transact([line for make, _ in jobs for line in make()])
                failure = None
            except StorageError as error:
                failure = error
            self._loop.call_soon_threadsafe(_resolve, [done for _, done in jobs], failure)

    def _next(self) -> _Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self._jobs.put(None)  # for the outer loop, after this group
        return job


_Job = tuple[Callable[[], Statements], "asyncio.Future[None]"]


def _resolve(waiting: Sequence[asyncio.Future[None]], failure: StorageError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
