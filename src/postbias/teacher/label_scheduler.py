"""Label many posts concurrently: request each until it has a valid reply or a final reject.

Posts stream through in constant memory: they are read, their images are encoded in threads slightly
ahead, and one worker per allowed request in flight sends them. Each reply is in the store before
its post is processed further, so stopping at any moment loses nothing.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

from postbias.posts.reasons import RejectReason
from postbias.teacher.endpoint_client import ChatResponse
from postbias.teacher.image_payloads import encode_images
from postbias.teacher.labels import OK
from postbias.teacher.prompts import LabelRequest, add_correction, chat_request_body
from postbias.teacher.reply import Reply, insert_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_failures import RequestRejectedError, RunStoppedError
from postbias.teacher.request_sender import RequestSender
from postbias.teacher.store_writer import SqlStatements
from postbias.teacher.stored_replies import (
    LabellingConfig,
    ReceivedReply,
    ReplyCost,
    build_failed_reply,
    build_reply,
    insert_reply_with_totals,
    is_final,
    matching_replies,
    reason_without_content,
)
from postbias.teacher.token_estimates import RequestShape, TokenEstimator

logger = logging.getLogger(__name__)

_ENCODER_THREADS = 2
_READ_AT_ONCE = 16
#: Replies of these kinds are not quoted in the correction.
_NOT_QUOTED = frozenset(
    {
        RejectReason.REFUSED,
        RejectReason.FILTERED,
        RejectReason.EMPTY_REPLY,
        RejectReason.WRONG_MODEL,
    }
)


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
        estimator: TokenEstimator,
    ) -> None:
        """Combine the parts.

        Args:
            sender: Sends the requests.
            store: Read to find earlier replies.
            config: Rubric, params and endpoint of the run.
            estimator: Estimates tokens and learns from replies.
        """
        self.counts = LabelCounts()
        #: Reject reasons, by key, of posts without caption and readable image; not in the store.
        self.without_content: dict[str, RejectReason] = {}
        self._sender, self._store, self._config = sender, store, config
        self._estimator = estimator
        self._seen_keys: set[str] = set()

    async def run(self, requests: Iterable[LabelRequest], repeat: int) -> None:
        """Process all requests that have no final reply yet.

        Args:
            requests: In any order; read in another thread.
            repeat: Number of the repetition, from 0.

        Raises:
            StorageError: If a reply cannot be stored.
        """
        n_workers = self._config.params.limits.concurrency
        jobs: asyncio.Queue[tuple[LabelRequest, asyncio.Future[tuple[str, ...]]] | None]
        jobs = asyncio.Queue(maxsize=n_workers)
        self._seen_keys.clear()
        with ThreadPoolExecutor(_ENCODER_THREADS, thread_name_prefix="encode") as pool:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(iter(requests), repeat, jobs, pool))
                for _ in range(n_workers):
                    group.create_task(self._work(jobs, repeat))

    async def _feed(
        self,
        requests: Iterator[LabelRequest],
        repeat: int,
        jobs: asyncio.Queue[Any],
        pool: ThreadPoolExecutor,
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
        for _ in range(self._config.params.limits.concurrency):
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
                status = await self.label(request, urls, repeat)
            except RunStoppedError:
                continue
            if status == OK:
                self.counts.labelled += 1
            else:
                self.counts.rejected[status] += 1

    async def label(self, request: LabelRequest, urls: tuple[str, ...], repeat: int) -> str:
        """Send one request until its reply is final.

        Args:
            request: The post.
            urls: Its images as data URLs.
            repeat: Number of the repetition, from 0.

        Returns:
            `ok` or the `RejectReason` of the reject.

        Raises:
            RunStoppedError: If the run stops first.
        """
        if not urls and not request.caption.strip():
            reason = reason_without_content(request)
            self.without_content[request.key] = reason
            return reason.value
        config = self._config
        first_body = chat_request_body(
            request, urls, config.rubric, config.params, config.profile.capabilities
        )
        replies = matching_replies(self._store.replies(request.key, repeat), config)
        while len(replies) < config.params.attempts:
            body, n_extra = first_body, 0
            if replies:
                last = replies[-1]
                quoted = None if last.status in _NOT_QUOTED else last.text
                body = add_correction(first_body, quoted, last.detail)
                n_extra = sum(len(m["content"].encode()) for m in body["messages"][2:])
            shape = RequestShape(len(request.caption.encode()) + n_extra, len(urls))
            try:
                response, reservation = await self._sender.send(
                    body, self._estimator.estimate(shape)
                )
            except RequestRejectedError as error:
                failure = error.failure
                failed = build_failed_reply(
                    request.key, repeat, config, failure.reason, failure.detail
                )
                await self._sender.writer.write(partial(_insert, failed))
                return failed.status
            reply = self._build_reply(request, repeat, response)
            if not self._estimator.learn(shape, reply.tokens_in, reply.tokens_out):
                logger.warning(
                    "a request took more tokens than its upper bound; later bounds are raised"
                )
            cost_usd = reservation.worst_usd if reply.cost_usd is None else reply.cost_usd
            await self._sender.settle(
                reservation, cost_usd, partial(insert_reply_with_totals, reply)
            )
            if reply.status == OK:
                return OK
            replies.append(reply)
        return replies[-1].status

    def _build_reply(self, request: LabelRequest, repeat: int, response: ChatResponse) -> Reply:
        tokens_in, tokens_out = response.tokens
        cost_usd = None
        if tokens_in is not None and tokens_out is not None:
            cost_usd = self._sender.budget.cost_usd(tokens_in, tokens_out)
        cost = ReplyCost(tokens_in, tokens_out, cost_usd, response.latency_s)
        received = ReceivedReply(request.key, repeat, response.body, response.raw, "live")
        return build_reply(received, self._config, cost)


def _insert(reply: Reply) -> SqlStatements:
    return [insert_reply(reply)]
