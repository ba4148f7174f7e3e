"""Batch mode: files of requests, answered within a day at about half the price.

A batch is recorded in the store before it is sent, and tagged at the endpoint: a resumed run looks
it up instead of sending it again. Lines without a usable reply are sent live afterwards.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from openai.types import Batch as RemoteBatch

from postbias.errors import TeacherError
from postbias.teacher.batch_client import BatchClient
from postbias.teacher.batch_files import BatchFiles, read_replies
from postbias.teacher.chat_responses import count_tokens
from postbias.teacher.outstanding_batches import OutstandingBatches, RequestBatch, count_lines
from postbias.teacher.prompts import LabelRequest
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
)
from postbias.teacher.token_estimates import TokenEstimator, keep_excess

logger = logging.getLogger(__name__)

_END_STATES = frozenset({"completed", "failed", "expired", "cancelled"})
_STATEMENTS_PER_WRITE = 200


class BatchRunner:
    """Send and collect all batches of a run, and those that earlier runs left."""

    def __init__(
        self,
        sender: RequestSender,
        store: ReplyStore,
        config: LabellingConfig,
        estimator: TokenEstimator,
        folder: Path,
    ) -> None:
        """Combine the parts; files being sent or received are in `folder`."""
        self.outstanding = OutstandingBatches(store)
        self._sender, self._store, self._config = sender, store, config
        self._estimator = estimator
        self._files = BatchFiles(store, config, estimator, self.outstanding, folder)
        self._client = BatchClient(sender, config.params.limits.outage_s)

    async def resume(self) -> None:
        """Collect the batches of earlier runs that have ended.

        Raises:
            RunStoppedError: If the run stops.
            TeacherError: If the endpoint rejects requests about batches.
            StorageError: If the store cannot be written.
        """
        if others := self.outstanding.others(self._config):
            logger.warning(
                "%d batches with another rubric or model are outstanding, up to $%.4f; restore "
                "those settings to collect them",
                len(others),
                sum(batch.worst_usd for batch in others),
            )
        for batch in self.outstanding.of(self._config):
            if batch.id is None:
                batch.id = await self._client.find_by_tag(batch.tag)
            if batch.id is None:  # it never arrived there
                await self._settle(batch, 0.0, n_requests=0)
            else:
                await self._collect_ended(batch)
        if waiting := self.outstanding.of(self._config):
            logger.info(
                "%d requests are in %d outstanding batches; they are not sent again (to send them "
                "live, cancel the batches at the endpoint)",
                count_lines(waiting),
                len(waiting),
            )

    async def run(self, requests: Iterable[LabelRequest], repeat: int) -> None:
        """Send all requests without a reply in batches, and collect them.

        Args:
            requests: Requests in any order.
            repeat: Number of the repetition, from 0.

        Raises:
            RunStoppedError: If the run stops; batches already sent stay recorded.
            TeacherError: If the endpoint does not support batches.
            StorageError: If the store cannot be written.
        """
        remaining, budget, stop = iter(requests), self._sender.budget, self._sender.stop_signal
        while True:
            batch = await asyncio.to_thread(self._files.write, remaining, repeat, budget, stop)
            if stop.reason or not batch.lines:
                self._files.path(batch).unlink()
            if stop.reason:
                raise RunStoppedError
            if batch.lines:
                await self._send(batch)
            if self._files.left_over is None:
                break
            if self._files.is_capped:
                await self._free_budget()
        await self.collect_all()

    async def collect_all(self) -> None:
        """Wait for all outstanding batches of this rubric and model.

        Raises:
            RunStoppedError: If the run stops.
            TeacherError: If the endpoint rejects requests about batches, or a whole batch.
            StorageError: If the store cannot be written.
        """
        while waiting := self.outstanding.of(self._config):
            await self._collect(waiting[0])

    async def _free_budget(self) -> None:
        """Collect a batch so that the next fits under the cap."""
        waiting = self.outstanding.of(self._config)
        if not waiting:
            budget = self._sender.budget.describe()
            self._sender.stop(f"the next batch may exceed max_cost_usd ({budget})")
            raise RunStoppedError
        await self._collect(waiting[0])

    async def _send(self, batch: RequestBatch) -> None:
        self._sender.budget.add_batch(batch.worst_usd)
        await self._write(self.outstanding.add(batch))
        path = self._files.path(batch)
        batch.id = await self._client.submit(path, batch.tag)
        await self._write([("UPDATE batches SET id = ? WHERE tag = ?", (batch.id, batch.tag))])
        path.unlink(missing_ok=True)
        logger.info("sent a batch of %d requests", len(batch.lines))

    async def _collect(self, batch: RequestBatch) -> None:
        while not await self._collect_ended(batch):
            await self._sender.sleep(self._config.params.batch.poll_s)

    async def _collect_ended(self, batch: RequestBatch) -> bool:
        """Store the replies of a batch if it has ended.

        Args:
            batch: An outstanding batch with an id.

        Returns:
            Whether it is no longer outstanding.
        """
        remote = await self._client.retrieve(str(batch.id))
        if remote is None:
            await self._write_off(batch)
            return True
        if remote.status not in _END_STATES:
            return False
        if remote.status == "failed":
            await self._drop(batch, remote)
            return True
        cost_usd, path = 0.0, self._files.path(batch)
        if remote.output_file_id:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not await self._client.download(remote.output_file_id, path):
                await self._write_off(batch)
                return True
            cost_usd = await self._store_replies(path, batch)
        await self._settle(batch, cost_usd, n_requests=len(batch.lines))
        for file_id in (remote.input_file_id, remote.output_file_id, remote.error_file_id):
            await self._client.delete_file(file_id)  # it contains captions
        return True

    async def _write_off(self, batch: RequestBatch) -> None:
        """Count a batch that the endpoint no longer has as spent in full."""
        logger.warning(
            "the endpoint no longer has a batch of %d requests (sent with another key or to "
            "another endpoint?); up to $%.4f count as spent, and its posts are requested again",
            len(batch.lines),
            batch.worst_usd,
        )
        await self._settle(batch, batch.worst_usd, n_requests=len(batch.lines))

    async def _drop(self, batch: RequestBatch, remote: RemoteBatch) -> None:
        await self._settle(batch, 0.0, n_requests=0)
        errors = (remote.errors and remote.errors.data) or []
        codes = sorted({str(error.code) for error in errors if error.code})
        message = "the endpoint rejected a whole batch"
        if self._config.params.mode == "live":
            logger.warning("%s (%s); its posts are requested live", message, ", ".join(codes)[:200])
            return
        raise TeacherError(
            message,
            seen=", ".join(codes)[:200] or None,
            do="lower endpoint.batch.max_requests or max_mb, or set endpoint.mode: live",
        )

    async def _settle(self, batch: RequestBatch, cost_usd: float, *, n_requests: int) -> None:
        totals = [increment_total("spent_usd", cost_usd), increment_total("requests", n_requests)]
        await self._write([*self.outstanding.remove(batch), *totals])
        self._sender.budget.settle_batch(batch.worst_usd, cost_usd)
        self._files.path(batch).unlink(missing_ok=True)

    async def _store_replies(self, path: Path, batch: RequestBatch) -> float:
        """Store the replies of an output file, without those stored before a crash.

        Args:
            path: The output file.
            batch: The batch that it answers.

        Returns:
            The cost of the whole file in US dollars.
        """
        cost_usd = 0.0
        statements: list[Any] = []
        for received in read_replies(path, batch):
            reply = self._build_reply(received, batch)
            cost_usd += reply.cost_usd or 0.0
            known = self._store.replies(received.key, received.repeat)
            if not any(old.raw == reply.raw for old in known):
                statements += insert_reply_with_totals(reply)
            if not self._estimator.learn_output(reply.tokens_out):
                statements += keep_excess(batch.setting, self._estimator.excess)
            if len(statements) >= _STATEMENTS_PER_WRITE:
                await self._write(statements)
                statements = []
        await self._write(statements)
        return cost_usd

    def _build_reply(self, received: ReceivedReply, batch: RequestBatch) -> Reply:
        tokens_in, tokens_out = count_tokens(received.body)
        usd = batch.worst_usd / len(batch.lines)
        if tokens_in is not None and tokens_out is not None:
            usd = self._sender.budget.cost_usd(tokens_in, tokens_out, is_batch=True)
        reply = build_reply(received, self._config, ReplyCost(tokens_in, tokens_out, usd))
        return dataclasses.replace(reply, delivery=batch.delivery)

    async def _write(self, statements: SqlStatements) -> None:
        await self._sender.writer.write(partial(list, statements))
