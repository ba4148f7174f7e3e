"""Assign shards to workers on a Ray cluster, and reassign the shards of lost workers.

Workers share no disk with this process: student and shards are sent through Ray's object store;
shards whose path is an object-store URL are read by the worker.
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
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

# More losses than this mean that the shard is the cause, and more failed starts that no worker can
# start.
_MAX_LOSSES = 10
_MAX_FAILED_STARTS = 10
_POLL_S = 1.0
_RECOUNT_S = 5.0
_PATIENCE_S = 60.0


class ShardScheduler:
    """The workers, the shard of each, and the queue of shards."""

    def __init__(
        self,
        ray: Any,  # noqa: ANN401 - an extra
        student: PackedStudent,
        threads: int,
        batch_size: int,
        device: Device,
    ) -> None:
        """Send the student to the cluster; workers are started by `score`.

        Args:
            ray: The module ray, connected.
            student: The student of all workers.
            threads: Threads per worker.
            batch_size: Posts per batch; a worker has a few batches in memory at a time.
            device: Device of the graphs; `cuda` reserves one GPU per worker.
        """
        self._ray = ray
        self._student = ray.put(student)
        self._versions = deciding_versions(student.manifest)
        self._threads = threads
        self._batch_size = batch_size
        self._device = device
        self._queue: deque[AnyPath] = deque()
        self._idle: deque[Any] = deque()
        # By pending call: the worker, and its shard (None while it starts).
        self._calls: dict[Any, tuple[Any, AnyPath | None]] = {}
        self._losses: Counter[AnyPath] = Counter()
        self._failed_starts = 0

    def score(
        self,
        shards: Sequence[AnyPath],
        count_workers: Callable[[], int],
        on_progress: ProgressCallback,
    ) -> Iterator[tuple[AnyPath, ShardScores]]:
        """Score shards on the workers.

        Args:
            count_workers: Returns how many workers fit on the cluster at the moment, at least 1;
                called every few seconds, so that nodes that join get workers.
            on_progress: Called as posts are scored; negative if a worker was lost.

        Yields:
            Each shard once with its scores, in order of completion.

        Raises:
            ClusterError: If no worker starts, a shard keeps killing its workers, or a worker
                has other package versions.
            PostbiasError: If a worker cannot read a shard or load the student.
        """
        self._queue.extend(shards)
        progress = _Progress(self._ray, on_progress)
        waiting_since: float | None = time.monotonic()
        n_done, max_workers, counted_at = 0, count_workers(), time.monotonic()
        while n_done < len(shards):
            if time.monotonic() - counted_at > _RECOUNT_S:
                max_workers, counted_at = count_workers(), time.monotonic()
            while self._n_workers() < min(max_workers, len(shards) - n_done):
                self._start_worker()
            self._assign()
            calls, _ = self._ray.wait([*self._calls], timeout=_POLL_S)
            for call in calls:
                worker, shard = self._calls.pop(call)
                result = self._result(call, worker, shard)
                if result is not None and shard is not None:
                    n_done += 1
                    progress.finish(len(result.scores))
                    yield shard, result
            busy = [worker for worker, shard in self._calls.values() if shard is not None]
            if not calls:
                progress.poll(busy)
            if busy or calls:
                waiting_since = None
            elif waiting_since and time.monotonic() - waiting_since > _PATIENCE_S:
                waiting_since = None
                logger.warning("no worker has started yet: the cluster may be full; still waiting")

    def close(self) -> None:
        """Stop all workers."""
        for worker, _ in self._calls.values():
            self._kill(worker)
        for worker in self._idle:
            self._kill(worker)

    def _n_workers(self) -> int:
        return len(self._calls) + len(self._idle)

    def _start_worker(self) -> None:
        # Two calls at a time: one scores, the other reports progress.
        options = {"num_cpus": self._threads, "max_concurrency": 2, "max_restarts": 0}
        options["num_gpus"] = int(self._device == "cuda")
        worker = self._ray.remote(ShardWorker).options(**options).remote()
        call = worker.start.remote(self._student, self._threads, self._device)
        self._calls[call] = (worker, None)

    def _assign(self) -> None:
        while self._idle and self._queue:
            worker, shard = self._idle.popleft(), self._queue.popleft()
            source = shard if isinstance(shard, ObjectPath) else self._ray.put(_map_shard(shard))
            self._calls[worker.score.remote(source, self._batch_size)] = (worker, shard)

    def _result(self, call: Any, worker: Any, shard: AnyPath | None) -> ShardScores | None:  # noqa: ANN401 - ray is an extra
        """Return the scores of a completed call; None after a start or if the worker was lost."""
        errors = self._ray.exceptions
        try:
            result = self._ray.get(call)
        except errors.RayTaskError as error:
            if isinstance(error.cause, PostbiasError):
                raise error.cause from error
            if not isinstance(error.cause, errors.RayError):
                raise
            self._handle_loss(worker, shard, error)
            return None
        except errors.RayError as error:
            self._handle_loss(worker, shard, error)
            return None
        self._idle.append(worker)
        if shard is None:
            self._failed_starts = 0
            _check_versions(result, self._versions)
            return None
        return ShardScores(*result)

    def _handle_loss(self, worker: Any, shard: AnyPath | None, error: Exception) -> None:  # noqa: ANN401 - ray is an extra
        """Remove a lost worker and put its shard first in the queue."""
        self._kill(worker)
        why = " ".join(str(error).split())[:300]
        if shard is None:
            self._failed_starts += 1
            if self._failed_starts > _MAX_FAILED_STARTS:
                raise ClusterError(
                    f"no worker starts on the cluster: {why}",
                    do="install postbias[cluster] on every node, and check Ray's logs",
                ) from error
            return
        logger.warning("lost the worker that scored %s; reassigning the shard", shard)
        logger.info("%s", why)
        self._losses[shard] += 1
        if self._losses[shard] > _MAX_LOSSES:
            raise ClusterError(
                f"{self._losses[shard]} workers died on {shard}: {why}",
                do="check Ray's logs for memory errors; run again with fewer --threads per worker",
            ) from error
        self._queue.appendleft(shard)

    def _kill(self, worker: Any) -> None:  # noqa: ANN401 - ray is an extra
        with suppress(self._ray.exceptions.RayError):
            self._ray.kill(worker)


class _Progress:
    """Reports how many posts are scored, including those of unfinished shards."""

    def __init__(self, ray: Any, on_progress: ProgressCallback) -> None:  # noqa: ANN401 - ray is an extra
        self._ray = ray
        self._on_progress = on_progress
        self._finished = 0
        self._reported = 0

    def finish(self, n: int) -> None:
        """Add the posts of a finished shard."""
        self._finished += n
        self._report(max(self._finished, self._reported))

    def poll(self, busy: Sequence[Any]) -> None:
        """Poll the progress of the workers; those that do not answer in time are left out."""
        calls = [worker.done.remote() for worker in busy]
        answers = []
        if calls:
            answered, _ = self._ray.wait(calls, num_returns=len(calls), timeout=_POLL_S)
            for call in answered:
                with suppress(self._ray.exceptions.RayError):
                    answers.append(self._ray.get(call))
        self._report(self._finished + sum(answers))

    def _report(self, total: int) -> None:
        self._on_progress(total - self._reported)
        self._reported = total


def _check_versions(seen: dict[str, str], expected: dict[str, str]) -> None:
    if seen != expected:
        raise ClusterError(
            "a worker has other versions of packages that affect scores than this process",
            seen=seen,
            allowed=expected,
            do="install the same requirements.lock on every node",
        )


def _map_shard(shard: Path) -> InMemoryFile:
    with pa.memory_map(str(shard)) as file:
        return InMemoryFile(str(shard), file.read_buffer())
