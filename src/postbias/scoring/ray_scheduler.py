"""Hands out shards to workers on a Ray cluster and gives back what they come to.

Plain actors with their cores named, and shards handed out one by one: what a lost worker, or a
whole lost node, was at goes to another one. Workers share no disk with this process: student and
shards travel through Ray's object store, and shards in an object store are read by the worker. Gets
the module ray handed in and imports nothing of it.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa

from postbias.errors import ClusterError, PostbiasError
from postbias.posts.remote_files import AnyPath, InMemoryFile, ObjectPath
from postbias.scoring.bulk import ProgressCallback
from postbias.scoring.execution_providers import Device
from postbias.scoring.ray_worker import PackedStudent, ShardWorker
from postbias.scoring.score_store import deciding_versions
from postbias.scoring.shard_scores import ShardScores

logger = logging.getLogger(__name__)

# A shard that takes its worker with it so often is what kills it; a cluster on which no worker
# starts in so many attempts will not start one.
_MAX_LOSSES = 10
_MAX_FAILED_STARTS = 10
_POLL_S = 1.0
_PATIENCE_S = 60.0


class ShardScheduler:
    """The workers, what each is at, and what is still to do."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401 - an extra
        student: PackedStudent,
        threads: int,
        batch_size: int,
        device: Device,
    ) -> None:
        """Hand the student to the cluster; workers come with the work.

        Args:
            ray: The module, connected.
            student: What the workers hold.
            threads: Cores of each.
            batch_size: Posts in a worker's memory at a time, times a few.
            device: Where the graphs run; `cuda` gives each worker a GPU of its own.
        """
        self._ray = ray
        self._student = ray.put(student)
        self._threads = threads
        self._batch_size = batch_size
        self._device = device
        self._todo: deque[AnyPath] = deque()
        self._idle: deque[Any] = deque()
        # By the call that is waited for: the worker, and its shard (None while it starts).
        self._calls: dict[Any, tuple[Any, AnyPath | None]] = {}
        self._losses: Counter[AnyPath] = Counter()
        self._failed_starts = 0

    def work(
        self, shards: Sequence[AnyPath], workers: int, tell: ProgressCallback
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Hand out shards and give back their scores.

        Args:
            shards: Post shards.
            workers: How many to have, as long as there is work for them.
            tell: Called as posts are done, and with a negative number where work was lost.

        Yields:
            Each shard once, with its scores, as they come in.

        Raises:
            ClusterError: If no worker starts, or a shard takes worker after worker with it.
            PostbiasError: What a worker says of a shard or of the student.
        """
        self._todo.extend(shards)
        progress = _Progress(self._ray, tell)
        waiting_since: float | None = time.monotonic()
        n_done = 0
        while n_done < len(shards):
            while self._n_workers() < min(workers, len(shards) - n_done):
                self._hire()
            self._assign()
            calls, _ = self._ray.wait([*self._calls], timeout=_POLL_S)
            for call in calls:
                worker, shard = self._calls.pop(call)
                result = self._result(call, worker, shard)
                if result is not None and shard is not None:
                    n_done += 1
                    progress.finish(worker, len(result.scores))
                    yield shard, result
            busy = [worker for worker, shard in self._calls.values() if shard is not None]
            if not calls:
                progress.ask(busy)
            if busy or calls:
                waiting_since = None
            elif waiting_since and time.monotonic() - waiting_since > _PATIENCE_S:
                waiting_since = None
                logger.warning("no worker has started yet: the cluster may be full; still waiting")

    def dismiss(self) -> None:
        """End all workers."""
        for worker, _ in self._calls.values():
            self._kill(worker)
        for worker in self._idle:
            self._kill(worker)

    def _n_workers(self) -> int:
        return len(self._calls) + len(self._idle)

    def _hire(self) -> None:
        # Two at a time: one scores, one tells how far that is.
        options = {"num_cpus": self._threads, "max_concurrency": 2, "max_restarts": 0}
        options["num_gpus"] = int(self._device == "cuda")
        worker = self._ray.remote(ShardWorker).options(**options).remote()
        call = worker.start.remote(self._student, self._threads, self._device)
        self._calls[call] = (worker, None)

    def _assign(self) -> None:
        while self._idle and self._todo:
            worker, shard = self._idle.popleft(), self._todo.popleft()
            source = shard if isinstance(shard, ObjectPath) else self._ray.put(_held(shard))
            self._calls[worker.score.remote(source, self._batch_size)] = (worker, shard)

    def _result(self, call: Any, worker: Any, shard: AnyPath | None) -> ShardScores | None:  # noqa: ANN401 - ray is an extra
        """Take what a call came to; None where it gave no scores, or its worker was lost."""
        faults = self._ray.exceptions
        try:
            result = self._ray.get(call)
        except faults.RayTaskError as error:
            if isinstance(error.cause, PostbiasError):
                raise error.cause from error
            if not isinstance(error.cause, faults.RayError):
                raise
            self._lose(worker, shard, error)
            return None
        except faults.RayError as error:
            self._lose(worker, shard, error)
            return None
        self._idle.append(worker)
        if shard is None:
            self._failed_starts = 0
            _check_versions(result)
            return None
        return ShardScores(*result)

    def _lose(self, worker: Any, shard: AnyPath | None, error: Exception) -> None:  # noqa: ANN401 - ray is an extra
        """Let a worker go and put its shard first in the queue."""
        self._kill(worker)
        why = " ".join(str(error).split())[:300]
        if shard is None:
            self._failed_starts += 1
            if self._failed_starts > _MAX_FAILED_STARTS:
                raise ClusterError(
                    f"no worker starts on the cluster: {why}",
                    do="install postbias[cluster] on every node, and see Ray's own logs",
                ) from error
            return
        logger.warning("lost a worker on %s; another one takes the shard", shard)
        logger.info("%s", why)
        self._losses[shard] += 1
        if self._losses[shard] > _MAX_LOSSES:
            raise ClusterError(
                f"{self._losses[shard]} workers died on {shard}: {why}",
                do="look for memory in Ray's logs; run again with fewer --threads per worker",
            ) from error
        self._todo.appendleft(shard)

    def _kill(self, worker: Any) -> None:  # noqa: ANN401 - ray is an extra
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker)


class _Progress:
    """Tells how many posts are done, those of unfinished shards included."""

    def __init__(self, ray: Any, tell: ProgressCallback) -> None:  # noqa: ANN401 - ray is an extra
        self._ray = ray
        self._tell = tell
        self._finished = 0
        self._told = 0

    def finish(self, worker: Any, n: int) -> None:  # noqa: ANN401, ARG002 - ray is an extra
        self._finished += n
        self._say(max(self._finished, self._told))

    def ask(self, busy: Sequence[Any]) -> None:
        """Ask the workers how far they are; who does not answer at once is left out."""
        calls = [worker.done.remote() for worker in busy]
        answers = []
        if calls:
            answered, _ = self._ray.wait(calls, num_returns=len(calls), timeout=_POLL_S)
            for call in answered:
                with suppress(self._ray.exceptions.RayError):
                    answers.append(self._ray.get(call))
        self._say(self._finished + sum(answers))

    def _say(self, total: int) -> None:
        self._tell(total - self._told)
        self._told = total


def _check_versions(seen: dict[str, str]) -> None:
    if seen != deciding_versions():
        raise ClusterError(
            "a worker has other versions of what decides over a score than this process",
            seen=seen,
            allowed=deciding_versions(),
            do="install the same requirements.lock on every node",
        )


def _held(shard: Path) -> InMemoryFile:
    with pa.memory_map(str(shard)) as file:
        return InMemoryFile(str(shard), file.read_buffer())
