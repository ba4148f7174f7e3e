"""Write to the reply store from an event loop, in one thread with grouped commits.

64 requests a second need about a hundred durable writes a second; writes that arrive during a
commit share the next one.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from postbias.errors import StorageError
from postbias.teacher.chat_responses import replace_surrogates
from postbias.teacher.reply_store import ReplyStore

logger = logging.getLogger(__name__)

SqlStatements = Sequence[tuple[str, Sequence[Any]]]

_MAX_GROUPED_WRITES = 256
_CLOSE_TIMEOUT_S = 10.0
#: Largest integer that SQLite stores.
_MAX_INTEGER = 2**63 - 1


class StoreWriter:
    """A thread that owns one connection to the reply store.

    Any exception in the thread is raised by the `write` that caused it; the thread continues.
    """

    def __init__(self, path: Path) -> None:
        """Open the store at `path` and start the thread."""
        self._store = ReplyStore.open(path)
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A daemon: a disk that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name="reply-store", daemon=True)
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
        await asyncio.to_thread(self._thread.join, _CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            logger.error("the reply store does not respond; its last writes may be lost")
        else:
            self._store.close()

    def _work(self) -> None:
        while (first := self._jobs.get()) is not None:
            jobs = [first]
            while len(jobs) < _MAX_GROUPED_WRITES and (job := self._next()) is not None:
                jobs.append(job)
            failure = self._transact([make for make, _ in jobs])
            if failure is None or len(jobs) == 1:
                self._resolve([done for _, done in jobs], failure)
                continue
            # One write that cannot be stored must not fail the others of its group.
            for make, done in jobs:
                self._resolve([done], self._transact([make]))

    def _transact(self, makes: Sequence[Callable[[], SqlStatements]]) -> StorageError | None:
        try:
            statements = [statement for make in makes for statement in make()]
            self._store.transact([(sql, _storable(values)) for sql, values in statements])
        except StorageError as error:
            return error
        except BaseException as error:  # raised by the waiting `write`
            failure = StorageError(f"the reply store cannot be written: {error!r}"[:300])
            failure.__cause__ = error
            return failure
        return None

    def _resolve(
        self, waiting: Sequence[asyncio.Future[None]], failure: StorageError | None
    ) -> None:
        self._loop.call_soon_threadsafe(_set_results, waiting, failure)

    def _next(self) -> _Job | None:
        try:
            job = self._jobs.get_nowait()
        except queue.Empty:
            return None
        if job is None:
            self._jobs.put(None)  # leave the end mark to the outer loop
        return job


_Job = tuple[Callable[[], SqlStatements], "asyncio.Future[None]"]


def _storable(values: Sequence[Any]) -> list[Any]:
    """Replace what SQLite cannot store: lone surrogates in text, and integers beyond 64 bits."""
    return [_storable_value(value) for value in values]


def _storable_value(value: Any) -> Any:  # noqa: ANN401 - any SQL value
    if isinstance(value, str) and not value.isascii():
        return replace_surrogates(value)
    if isinstance(value, int) and abs(value) > _MAX_INTEGER:
        return _MAX_INTEGER if value > 0 else -_MAX_INTEGER
    return value


def _set_results(waiting: Sequence[asyncio.Future[None]], failure: StorageError | None) -> None:
    for done in waiting:
        if done.done():
            continue
        if failure is None:
            done.set_result(None)
        else:
            done.set_exception(failure)
