"""Label many posts concurrently: request each until it has a valid reply or a final reject.

Posts stream through in constant memory: they are read, their images are encoded in threads slightly
ahead, and workers send them. Each reply is in the store before its post is processed further, so
stopping at any moment loses nothing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from postbias.errors import PostbiasError
from postbias.posts.reasons import RejectReason
from postbias.teacher.endpoint_advice import advise
from postbias.teacher.image_payloads import encode_images
from postbias.teacher.labels import OK
from postbias.teacher.outstanding_batches import OutstandingBatches
from postbias.teacher.post_labeller import PostLabeller
from postbias.teacher.prompts import LabelRequest
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_failures import RunStoppedError
from postbias.teacher.request_sender import RequestSender
from postbias.teacher.stored_replies import LabellingConfig, is_final

_ENCODER_THREADS = 2
_READ_AT_ONCE = 16
#: Workers per slot: a request that is overdue or waits to be sent again occupies no slot.
_WORKERS_PER_SLOT = 2
#: Rejected posts without a single label after which the endpoint must be the cause.
_MAX_REJECTS_WITHOUT_LABEL = 20


@dataclass(slots=True)
class LabelCounts:
    """Outcomes of the requests of a run.

    Attributes:
        requested: Requests without a final reply at the start.
        labelled: Requests answered in this run.
        known: Requests answered or rejected in an earlier run.
        rejected: Requests rejected in this run, by reason.
    """

    requested: int = 0
    labelled: int = 0
    known: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class LabelScheduler:
    """Send label requests concurrently and keep the replies."""

    def __init__(
        self,
        sender: RequestSender,
        store: ReplyStore,
        config: LabellingConfig,
        labeller: PostLabeller,
        outstanding: OutstandingBatches,
    ) -> None:
        """Combine the parts.

        Args:
            sender: Provides store writer and stop signal.
            store: Read to find earlier replies.
            config: Rubric, params and endpoint of the run.
            labeller: Labels one post.
            outstanding: Batches whose requests must not be sent.
        """
        self.counts = LabelCounts()
        self._sender, self._store, self._config = sender, store, config
        self._labeller, self._outstanding = labeller, outstanding
        self._seen_keys: set[str] = set()
        self._has_labels = False

    async def run(self, requests: Iterable[LabelRequest], repeat: int) -> None:
        """Process all requests that have no final reply yet.

        Args:
            requests: In any order; read in another thread.
            repeat: Number of the repetition, from 0.

        Raises:
            StorageError: If a reply cannot be stored.
            PostbiasError: If the posts cannot be read.
        """
        n_workers = _WORKERS_PER_SLOT * self._config.params.limits.concurrency
        jobs: asyncio.Queue[tuple[LabelRequest, asyncio.Future[tuple[str, ...]]] | None]
        jobs = asyncio.Queue(maxsize=n_workers)
        self._seen_keys.clear()
        pool = ThreadPoolExecutor(_ENCODER_THREADS, thread_name_prefix="encode")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(iter(requests), repeat, jobs, pool, n_workers))
                for _ in range(n_workers):
                    group.create_task(self._work(jobs, repeat))
        except BaseExceptionGroup as failures:
            raise _most_telling(failures) from failures
        finally:
            pool.shutdown(cancel_futures=True)

    async def _feed(
        self,
        requests: Iterator[LabelRequest],
        repeat: int,
        jobs: asyncio.Queue[Any],
        pool: ThreadPoolExecutor,
        n_workers: int,
    ) -> None:
        loop = asyncio.get_running_loop()
        params = self._config.params.images
        while not self._sender.stop_reason:
            # In groups: a thread switch and a durable write per request would limit the rate.
            group = await asyncio.to_thread(lambda: list(islice(requests, _READ_AT_ONCE)))
            if not group:
                break
            await self._record_requested(group)
            for request in group:
                if not self._sender.stop_reason and self._is_due(request, repeat):
                    urls = loop.run_in_executor(pool, encode_images, request.images, params)
                    await jobs.put((request, urls))
        for _ in range(n_workers):
            await jobs.put(None)

    async def _record_requested(self, requests: Sequence[LabelRequest]) -> None:
        """Record which post each request is about, before it is sent."""
        query = "SELECT 1 FROM asked WHERE post_id = ? AND key = ?"
        pairs = [(request.post_id, request.key) for request in requests]
        new_pairs = [pair for pair in pairs if not self._store.rows(query, pair)]
        if new_pairs:
            sql = "INSERT OR IGNORE INTO asked VALUES (?, ?)"
            await self._sender.writer.write(lambda: [(sql, pair) for pair in new_pairs])

    def _is_due(self, request: LabelRequest, repeat: int) -> bool:
        """Return whether a request must be sent; False for the second of two equal posts."""
        if request.key in self._seen_keys:
            return False
        self._seen_keys.add(request.key)
        replies = self._store.replies(request.key, repeat)
        if is_final(replies, self._config):
            self.counts.known += 1
            self._has_labels |= any(reply.status == OK for reply in replies)
            return False
        if self._outstanding.covers((request.key, repeat)):
            return False
        self.counts.requested += 1
        return True

    async def _work(self, jobs: asyncio.Queue[Any], repeat: int) -> None:
        while (job := await jobs.get()) is not None:
            request, encoding = job
            urls = await encoding
            if self._sender.stop_reason:
                continue
            try:
                status = await self._labeller.label(request, urls, repeat)
            except RunStoppedError:
                continue
            if status == OK:
                self.counts.labelled += 1
                self._has_labels = True
            else:
                self.counts.rejected[status] += 1
                self._stop_without_labels()

    def _stop_without_labels(self) -> None:
        """Stop the run if the endpoint rejects post after post."""
        rejected = self.counts.rejected - Counter(self._labeller.without_content.values())
        if self._has_labels or rejected.total() < _MAX_REJECTS_WITHOUT_LABEL:
            return
        ((reason, _),) = rejected.most_common(1)
        reasons = ", ".join(f"{name} {n}" for name, n in rejected.most_common())
        self._sender.stop(
            f"none of the first {rejected.total()} posts got a valid reply ({reasons}); "
            f"{advise(RejectReason(reason), self._labeller.misplaced_field)}, then run "
            "`postbias replies prune --failed --yes`"
        )


def _most_telling(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return one of the failures of several tasks: an error with a message for the user first."""
    known = failures.subgroup(PostbiasError) or failures
    first = known.exceptions[0]
    return _most_telling(first) if isinstance(first, BaseExceptionGroup) else first
