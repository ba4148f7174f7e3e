"""Write to the reply store from an event loop, in one thread with grouped commits.

64 requests a second need about a hundred durable writes a second; writes that arrive during a
commit share the next one.
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

SqlStatements = Sequence[tuple[str, Sequence[Any]]]

_MAX_GROUPED_WRITES = 256


class StoreWriter:
    """A thread that owns one connection to the reply store."""

    def __init__(self, path: Path) -> None:
        """Open the store at `path` and start the thread."""
        self._store = ReplyStore.open(path)
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="reply-store")
        self._thread.start()

    async def write(self, make: Callable[[], SqlStatements]) -> None:
        """Run the statements of one transaction durably.

        Args:
            make: Returns the statements; called in the writer thread.

        Raises:
            StorageError: If nothing could be written.
        """
        done: asyncio.Future[None] = self._loop.create_future()
        self._jobs.put((make, done))
        await done

    async def close(self) -> None:
        """Complete all writes and end the thread."""
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)
        self._store.close()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            while len(jobs) < _MAX_GROUPED_WRITES and (job := self._next()) is not None:
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
            self._jobs.put(None)  # leave the end mark to the outer loop
        return job


_Job = tuple[Callable[[], SqlStatements], "asyncio.Future[None]"]


def _resolve(waiting: Sequence[asyncio.Future[None]], failure: StorageError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
