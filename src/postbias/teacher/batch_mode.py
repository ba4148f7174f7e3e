"""Batch mode: files of requests, answered within a day at about half the price.

A batch is recorded in the store before it is sent, and tagged at the endpoint: a resumed run looks
it up instead of sending it again. Lines without a usable reply are sent live afterwards.
"""

from __future__ import annotations

import asyncio
import json
import logging
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from openai.types import Batch as RemoteBatch

from postbias.errors import TeacherError
from postbias.teacher.batch_client import BatchClient
from postbias.teacher.endpoint_client import ChatResponse
from postbias.teacher.image_payloads import encode_images
from postbias.teacher.prompts import LabelRequest, chat_request_body
from postbias.teacher.reply import Reply, increment_total
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_failures import RunStoppedError
from postbias.teacher.request_sender import RequestSender
from postbias.teacher.store_writer import SqlStatements
from postbias.teacher.stored_replies import (
    LabellingConfig,
    ReceivedReply,
    ReplyCost,
    build_reply,
    insert_reply_with_totals,
    is_final,
)
from postbias.teacher.token_estimates import RequestShape, TokenEstimator

logger = logging.getLogger(__name__)

_END_STATES = frozenset({"completed", "failed", "expired", "cancelled"})
_STATEMENTS_PER_WRITE = 200
_MB = 1_000_000

#: Key and repetition of one line of a batch.
BatchLine = tuple[str, int]


@dataclass(slots=True)
class RequestBatch:
    """A file of requests.

    Attributes:
        tag: Our name of the batch; the endpoint stores it beside its own id.
        id: The endpoint's id; None until the endpoint is known to have the batch.
        worst_usd: The most it can cost.
        lines: Its requests.
        posts: Post id and key of each request; empty for a batch read from the store.
    """

    tag: str
    id: str | None = None
    worst_usd: float = 0.0
    lines: list[BatchLine] = field(default_factory=list)
    posts: list[tuple[str, str]] = field(default_factory=list)


class BatchRunner:
    """Send and collect all batches of a run."""

    def __init__(
        self,
        sender: RequestSender,
        store: ReplyStore,
        config: LabellingConfig,
        estimator: TokenEstimator,
        folder: Path,
    ) -> None:
        """Combine the parts; files being sent or received are in `folder`."""
        self._sender, self._store, self._config = sender, store, config
        self._estimator, self._folder, self._limits = estimator, folder, config.params.batch
        self._client = BatchClient(sender, config.params.limits.outage_s)
        #: The request that did not fit into the last file, and whether the cap was the cause.
        self._left_over: LabelRequest | None = None
        self._is_capped = False

    async def run(self, requests: Iterable[LabelRequest], repeat: int) -> None:
        """Collect the batches of earlier runs, then send and collect new ones.

        Args:
            requests: Requests in any order.
            repeat: Number of the repetition, from 0.

        Raises:
            RunStoppedError: If the run stops; batches already sent stay recorded.
            TeacherError: If the endpoint does not support batches.
            StorageError: If the store cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        waiting = [batch for batch in self._recorded() if await self._resume(batch)]
        covered = {line for batch in waiting for line in batch.lines}
        remaining = iter(requests)
        while True:
            batch = await asyncio.to_thread(self._build, remaining, repeat, covered)
            if batch.lines:
                await self._send(batch)
                waiting.append(batch)
            else:
                self._path(batch).unlink()
            if self._left_over is None:
                break
            if self._is_capped and not waiting:
                self._sender.stop("the next request may exceed max_cost_usd, even in a batch")
                raise RunStoppedError
            if self._is_capped:
                await self._collect(waiting.pop(0))
        for batch in waiting:
            await self._collect(batch)

    def _recorded(self) -> list[RequestBatch]:
        """Return the batches of earlier runs with the same rubric, model and options."""
        rows = self._store.rows(
            "SELECT tag, id, worst_usd, lines FROM batches WHERE setting = ? ORDER BY tag",
            (self._config.name,),
        )
        (n_others,) = self._store.rows(
            "SELECT count(*) FROM batches WHERE setting != ?", (self._config.name,)
        )[0]
        if n_others:
            logger.warning(
                "%d batches with another rubric, model or endpoint params are outstanding; "
                "restore those settings to collect them",
                n_others,
            )
        return [
            RequestBatch(tag, batch_id, worst_usd, [(key, n) for key, n in json.loads(lines)])
            for tag, batch_id, worst_usd, lines in rows
        ]

    async def _resume(self, batch: RequestBatch) -> bool:
        """Find a recorded batch at the endpoint; drop its record if it never arrived there."""
        if batch.id is None:
            batch.id = await self._client.find_by_tag(batch.tag)
        if batch.id is None:
            await self._write([("DELETE FROM batches WHERE tag = ?", (batch.tag,))])
            self._path(batch).unlink(missing_ok=True)
            return False
        if not await self._sender.budget.reserve(batch.worst_usd):
            self._sender.stop("outstanding batches may already cost max_cost_usd")
            raise RunStoppedError
        logger.info("resuming a batch of %d requests of an earlier run", len(batch.lines))
        return True

    def _build(
        self, requests: Iterator[LabelRequest], repeat: int, covered: set[BatchLine]
    ) -> RequestBatch:
        """Write the next file, up to its limits and the spending cap."""
        batch, n_bytes = RequestBatch(uuid.uuid4().hex), 0
        first = [] if self._left_over is None else [self._left_over]
        self._left_over, self._is_capped = None, False
        with self._path(batch).open("wb") as file:
            for request in chain(first, requests):
                batch_line = (request.key, repeat)
                replies = self._store.replies(*batch_line)
                # A request with an unusable reply is sent live, with a correction.
                if batch_line in covered or replies or is_final(replies, self._config):
                    continue
                line, worst_usd = self._line(request, repeat)
                self._is_capped = not self._sender.budget.fits(batch.worst_usd + worst_usd)
                is_full = n_bytes + len(line) > self._limits.max_mb * _MB and batch.lines
                if self._is_capped or is_full or len(batch.lines) == self._limits.max_requests:
                    self._left_over = request
                    break
                if not line:
                    continue
                covered.add(batch_line)
                batch.lines.append(batch_line)
                batch.posts.append((request.post_id, request.key))
                batch.worst_usd += worst_usd
                n_bytes += file.write(line)
        return batch

    def _line(self, request: LabelRequest, repeat: int) -> tuple[bytes, float]:
        config = self._config
        urls = encode_images(request.images, config.params.images)
        if not urls and not request.caption.strip():
            return b"", 0.0
        capabilities = config.profile.capabilities
        body = chat_request_body(request, urls, config.rubric, config.params, capabilities)
        line = {
            "custom_id": f"{request.key}:{repeat}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
        shape = RequestShape(len(request.caption.encode()), len(urls))
        estimate = self._estimator.estimate(shape)
        worst_usd = self._sender.budget.cost_usd(
            estimate.worst_in, estimate.worst_out, is_batch=True
        )
        return json.dumps(line).encode() + b"\n", worst_usd

    async def _send(self, batch: RequestBatch) -> None:
        await self._sender.budget.reserve(batch.worst_usd)
        lines = json.dumps(batch.lines)
        values = (batch.tag, self._config.name, batch.worst_usd, lines)
        record = ("INSERT INTO batches VALUES (?, NULL, ?, ?, ?)", values)
        posts = [("INSERT OR IGNORE INTO asked VALUES (?, ?)", pair) for pair in batch.posts]
        await self._write([record, *posts])
        batch.id = await self._client.submit(self._path(batch), batch.tag)
        await self._write([("UPDATE batches SET id = ? WHERE tag = ?", (batch.id, batch.tag))])
        self._path(batch).unlink(missing_ok=True)
        logger.info("sent a batch of %d requests", len(batch.lines))

    async def _collect(self, batch: RequestBatch) -> None:
        """Wait for a batch and store its replies."""
        remote = await self._client.retrieve(str(batch.id))
        while remote.status not in _END_STATES:
            await self._sender.sleep(self._limits.poll_s)
            remote = await self._client.retrieve(str(batch.id))
        if remote.status == "failed":
            await self._drop(batch, remote)
        cost_usd, path = 0.0, self._path(batch)
        if remote.output_file_id:
            await self._client.download(remote.output_file_id, path)
            cost_usd = await self._store_replies(path, batch)
        path.unlink(missing_ok=True)
        await self._write(
            [
                ("DELETE FROM batches WHERE tag = ?", (batch.tag,)),
                increment_total("spent_usd", cost_usd),
                increment_total("requests", len(batch.lines)),
            ]
        )
        self._sender.budget.settle(batch.worst_usd, cost_usd)
        for file_id in (remote.input_file_id, remote.output_file_id, remote.error_file_id):
            await self._client.delete_file(file_id)  # it holds captions

    async def _drop(self, batch: RequestBatch, remote: RemoteBatch) -> None:
        await self._write([("DELETE FROM batches WHERE tag = ?", (batch.tag,))])
        errors = (remote.errors and remote.errors.data) or []
        codes = sorted({str(error.code) for error in errors if error.code})
        raise TeacherError(
            "the endpoint rejected a whole batch",
            seen=", ".join(codes)[:200] or None,
            do="lower endpoint.batch.max_requests or max_mb, or set endpoint.mode: live",
        )

    async def _store_replies(self, path: Path, batch: RequestBatch) -> float:
        """Store the replies of an output file, without those stored before a crash.

        Returns:
            The cost of the whole file in US dollars.
        """
        expected, cost_usd = set(batch.lines), 0.0
        statements: list[Any] = []
        with path.open("rb") as file:
            for line in file:
                received = _parse_line(line)
                if received is None or (received.key, received.repeat) not in expected:
                    continue
                reply = self._build_reply(received, batch)
                cost_usd += reply.cost_usd or 0.0
                known = self._store.replies(received.key, received.repeat)
                if not any(old.raw == reply.raw for old in known):
                    statements += insert_reply_with_totals(reply)
                if len(statements) >= _STATEMENTS_PER_WRITE:
                    await self._write(statements)
                    statements = []
        await self._write(statements)
        return cost_usd

    def _build_reply(self, received: ReceivedReply, batch: RequestBatch) -> Reply:
        tokens_in, tokens_out = ChatResponse(received.body, received.raw, 0.0).tokens
        usd = batch.worst_usd / len(batch.lines)
        if tokens_in is not None and tokens_out is not None:
            usd = self._sender.budget.cost_usd(tokens_in, tokens_out, is_batch=True)
        return build_reply(received, self._config, ReplyCost(tokens_in, tokens_out, usd))

    async def _write(self, statements: SqlStatements) -> None:
        await self._sender.writer.write(partial(list, statements))

    def _path(self, batch: RequestBatch) -> Path:
        return self._folder / f"{batch.tag}.jsonl"


def _parse_line(line: bytes) -> ReceivedReply | None:
    """Parse a line of an output file; None if its request failed."""
    try:
        result = json.loads(line)
        key, _, repeat = str(result["custom_id"]).partition(":")
        body = result["response"]["body"]
        if result["response"]["status_code"] != 200 or not isinstance(body, dict):
            return None
        return ReceivedReply(key, int(repeat), body, json.dumps(body).encode(), "batch")
    except (ValueError, KeyError, TypeError):
        return None
