"""Lock a reply store, so that only one process at a time labels with it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from postbias.paths import Paths

logger = logging.getLogger(__name__)


@contextmanager
def hold_store_lock(paths: Paths) -> Iterator[None]:
    """Hold the lock of the reply store; wait for another process, since two would pay twice.

    Yields:
        When no other process is labelling.
    """
    paths.store.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.store / "replies.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is labelling with this reply store; waiting for it to end")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
