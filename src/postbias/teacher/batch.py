"""Batch mode: files of requests, answered within a day at about half the price.

A batch is noted in the reply store before it is sent, with the questions in it and the most that it
can cost, and carries its tag to the endpoint: after a restart it is looked up, not sent again.
Lines that bring no usable reply are left to the live interview that follows. Files are deleted at
the endpoint once their replies are kept.
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
from postbias.teacher.api_errors import StoppedError
from postbias.teacher.batch_client import Courier
from postbias.teacher.client import RawReply
from postbias.teacher.image_payloads import data_urls
from postbias.teacher.prompts import Question, request_body
from postbias.teacher.reply import Reply, add_total
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_loop import Caller
from postbias.teacher.store_writer import Statements
from postbias.teacher.stored_answers import (
    Answer,
    Cost,
    Setting,
    is_final,
    kept_with_totals,
    read_reply,
)
from postbias.teacher.token_estimates import Meter, Shape

logger = logging.getLogger(__name__)

_ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
_KEPT_AT_ONCE = 200
_MB = 1_000_000

#: Key and repetition: what is asked in one line.
Asked = tuple[str, int]


@dataclass(slots=True)
class Batch:
    """A file of requests.

    Attributes:
        tag: Ours; the endpoint keeps it beside its own id.
        id: The endpoint's; None until it is known to have the batch.
        worst_usd: The most it can cost.
        lines: What is asked.
        posts: Who asks it, by post id and key; empty for a batch read from the store.
    """

    tag: str
    id: str | None = None
    worst_usd: float = 0.0
    lines: list[Asked] = field(default_factory=list)
    posts: list[tuple[str, str]] = field(default_factory=list)


class Batches:
    """All batches of a run."""

    def __init__(
        self, caller: Caller, store: ReplyStore, setting: Setting, meter: Meter, folder: Path
    ) -> None:
        """Put the parts together.

        Args:
            caller: For the budget, the writer and stopping.
            store: For reading what is known.
            setting: What stays the same.
            meter: What questions take.
            folder: For files on their way.
        """
        self._caller, self._store, self._setting, self._meter = caller, store, setting, meter
        self._folder, self._limits = folder, setting.params.batch
        self._courier = Courier(caller, setting.params.limits.outage_s)
        #: The question that no longer fitted into the last file, and whether the cap was why.
        self._left: Question | None = None
        self._is_capped = False

    async def run(self, questions: Iterable[Question], repeat: int) -> None:
        """Collect the batches of earlier runs, then send and collect new ones.

        Args:
            questions: In any order.
            repeat: Which repetition of them this is.

        Raises:
            StoppedError: If everything stops; batches on their way stay noted.
            TeacherError: If the endpoint takes no batches.
            StorageError: If the store cannot be written.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        waiting = [batch for batch in self._noted() if await self._take_up(batch)]
        covered = {asked for batch in waiting for asked in batch.lines}
        rest = iter(questions)
        while True:
            batch = await asyncio.to_thread(self._build, rest, repeat, covered)
            if batch.lines:
                await self._send(batch)
                waiting.append(batch)
            else:
                self._path(batch).unlink()
            if self._left is None:
                break
            if self._is_capped and not waiting:
                self._caller.stop("the next request may pass max_cost_usd, even in a batch")
                raise StoppedError
            if self._is_capped:
                await self._collect(waiting.pop(0))
        for batch in waiting:
            await self._collect(batch)

    def _noted(self) -> list[Batch]:
        """Return the batches of earlier runs; those of another rubric or model wait for it."""
        rows = self._store.rows(
            "SELECT tag, id, worst_usd, lines FROM batches WHERE setting = ? ORDER BY tag",
            (self._setting.name,),
        )
        (others,) = self._store.rows(
            "SELECT count(*) FROM batches WHERE setting != ?", (self._setting.name,)
        )[0]
        if others:
            logger.warning(
                "%d batches asked in another way are still on their way; they are collected when "
                "rubric, model and endpoint parameters are set back",
                others,
            )
        return [
            Batch(tag, batch_id, worst_usd, [(key, n) for key, n in json.loads(lines)])
            for tag, batch_id, worst_usd, lines in rows
        ]

    async def _take_up(self, batch: Batch) -> bool:
        """Find a batch of an earlier run at the endpoint; forget it if it never got there."""
        if batch.id is None:
            batch.id = await self._courier.find(batch.tag)
        if batch.id is None:
            await self._write([("DELETE FROM batches WHERE tag = ?", (batch.tag,))])
            self._path(batch).unlink(missing_ok=True)
            return False
        if not await self._caller.budget.reserve(batch.worst_usd):
            self._caller.stop("batches on their way may already cost max_cost_usd")
            raise StoppedError
        logger.info("taking up a batch of %d requests of an earlier run", len(batch.lines))
        return True

    def _build(self, questions: Iterator[Question], repeat: int, covered: set[Asked]) -> Batch:
        """Write the next file, up to its limits and the cap."""
        batch, size = Batch(uuid.uuid4().hex), 0
        first = [] if self._left is None else [self._left]
        self._left, self._is_capped = None, False
        with self._path(batch).open("wb") as file:
            for question in chain(first, questions):
                asked = (question.key, repeat)
                replies = self._store.replies(*asked)
                # One that was answered unusably is for the live interview.
                if asked in covered or replies or is_final(replies, self._setting):
                    continue
                line, worst_usd = self._line(question, repeat)
                self._is_capped = not self._caller.budget.fits(batch.worst_usd + worst_usd)
                is_full = size + len(line) > self._limits.max_mb * _MB and batch.lines
                if self._is_capped or is_full or len(batch.lines) == self._limits.max_requests:
                    self._left = question
                    break
                if not line:
                    continue
                covered.add(asked)
                batch.lines.append(asked)
                batch.posts.append((question.post_id, question.key))
                batch.worst_usd += worst_usd
                size += file.write(line)
        return batch

    def _line(self, question: Question, repeat: int) -> tuple[bytes, float]:
        setting = self._setting
        urls = data_urls(question.images, setting.params.images)
        if not urls and not question.caption.strip():
            return b"", 0.0
        body = request_body(question, urls, setting.rubric, setting.params, setting.probe.abilities)
        request = {
            "custom_id": f"{question.key}:{repeat}",
            "method": "POST",
            "url": "/v1/chat/completions",
            "body": body,
        }
        size = self._meter.size(Shape(len(question.caption.encode()), len(urls)))
        worst_usd = self._caller.budget.cost_usd(size.worst_in, size.worst_out, is_batch=True)
        return json.dumps(request).encode() + b"\n", worst_usd

    async def _send(self, batch: Batch) -> None:
        await self._caller.budget.reserve(batch.worst_usd)
        lines = json.dumps(batch.lines)
        values = (batch.tag, self._setting.name, batch.worst_usd, lines)
        note = ("INSERT INTO batches VALUES (?, NULL, ?, ?, ?)", values)
        posts = [("INSERT OR IGNORE INTO asked VALUES (?, ?)", pair) for pair in batch.posts]
        await self._write([note, *posts])
        path = self._path(batch)
        batch.id = await self._courier.send(path, batch.tag)
        await self._write([("UPDATE batches SET id = ? WHERE tag = ?", (batch.id, batch.tag))])
        path.unlink(missing_ok=True)
        logger.info("sent a batch of %d requests", len(batch.lines))

    async def _collect(self, batch: Batch) -> None:
        """Wait for a batch and keep its replies; what has none is asked live afterwards."""
        found = await self._courier.state(str(batch.id))
        while found.status not in _ENDED:
            await self._caller.sleep(self._limits.poll_s)
            found = await self._courier.state(str(batch.id))
        if found.status == "failed":
            await self._drop(batch, found)
        cost_usd, path = 0.0, self._path(batch)
        if found.output_file_id:
            await self._courier.fetch(found.output_file_id, path)
            cost_usd = await self._keep(path, batch)
        path.unlink(missing_ok=True)
        await self._write(
            [
                ("DELETE FROM batches WHERE tag = ?", (batch.tag,)),
                add_total("spent_usd", cost_usd),
                add_total("requests", len(batch.lines)),
            ]
        )
        self._caller.budget.settle(batch.worst_usd, cost_usd)
        for file_id in (found.input_file_id, found.output_file_id, found.error_file_id):
            await self._courier.forget(file_id)

    async def _drop(self, batch: Batch, found: RemoteBatch) -> None:
        await self._write([("DELETE FROM batches WHERE tag = ?", (batch.tag,))])
        errors = (found.errors and found.errors.data) or []
        codes = sorted({str(error.code) for error in errors if error.code})
        raise TeacherError(
            "the endpoint rejected a batch as a whole",
            seen=", ".join(codes)[:200] or None,
            do="lower endpoint.batch.max_requests or max_mb, or set endpoint.mode: live",
        )

    async def _keep(self, path: Path, batch: Batch) -> float:
        """Keep the replies of an output file, skipping those kept before a crash."""
        wanted, cost_usd = set(batch.lines), 0.0
        statements: list[Any] = []
        with path.open("rb") as file:
            for line in file:
                answer = _answer_of(line)
                if answer is None or (answer.key, answer.repeat) not in wanted:
                    continue
                reply = self._read(answer, batch)
                cost_usd += reply.cost_usd or 0.0
                known = self._store.replies(answer.key, answer.repeat)
                if not any(old.raw == reply.raw for old in known):
                    statements += kept_with_totals(reply)
                if len(statements) >= _KEPT_AT_ONCE:
                    await self._write(statements)
                    statements = []
        await self._write(statements)
        return cost_usd

    def _read(self, answer: Answer, batch: Batch) -> Reply:
        tokens_in, tokens_out = RawReply(answer.body, answer.raw, 0.0).tokens
        usd = batch.worst_usd / len(batch.lines)
        if tokens_in is not None and tokens_out is not None:
            usd = self._caller.budget.cost_usd(tokens_in, tokens_out, is_batch=True)
        return read_reply(answer, self._setting, Cost(tokens_in, tokens_out, usd))

    async def _write(self, statements: Statements) -> None:
        await self._caller.writer.write(partial(list, statements))

    def _path(self, batch: Batch) -> Path:
        return self._folder / f"{batch.tag}.jsonl"


def _answer_of(line: bytes) -> Answer | None:
    """Read a line of an output file; None if the request of this line failed."""
    try:
        found = json.loads(line)
        key, _, repeat = str(found["custom_id"]).partition(":")
        body = found["response"]["body"]
        if found["response"]["status_code"] != 200 or not isinstance(body, dict):
            return None
        return Answer(key, int(repeat), body, json.dumps(body).encode(), "batch")
    except (ValueError, KeyError, TypeError):
        return None
