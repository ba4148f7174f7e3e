"""Ask the teacher about many posts at once, each until it has a valid reply or a reason for none.

Posts flow through in constant memory: read, turned into questions, pictures encoded in threads a
little ahead, then asked by as many workers as there may be requests in flight. Every reply is in
the store before the next thing happens to its post, so that stopping at any moment loses nothing.
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

from postbias.posts.reasons import Reason
from postbias.teacher.api_errors import RejectError, StoppedError
from postbias.teacher.client import RawReply
from postbias.teacher.image_payloads import data_urls
from postbias.teacher.labels import OK
from postbias.teacher.prompts import Question, request_body, with_correction
from postbias.teacher.reply import Reply, keep_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.request_loop import Caller
from postbias.teacher.store_writer import Statements
from postbias.teacher.stored_answers import (
    Answer,
    Cost,
    Setting,
    is_final,
    kept_with_totals,
    no_reply,
    own,
    read_reply,
    unaskable,
)
from postbias.teacher.token_estimates import Meter, Shape

logger = logging.getLogger(__name__)

_ENCODERS = 2
_READ_AT_ONCE = 16
#: A model that refused or said nothing is not shown its reply again.
_UNSHOWN = frozenset({Reason.REFUSED, Reason.FILTERED, Reason.EMPTY_REPLY, Reason.WRONG_MODEL})


@dataclass(slots=True)
class Tally:
    """What became of the questions of a run.

    Attributes:
        asked: Questions that needed an answer.
        labelled: Questions answered in this run.
        known: Questions answered or given up in an earlier run.
        rejected: Questions given up in this run, by reason.
    """

    asked: int = 0
    labelled: int = 0
    known: int = 0
    rejected: Counter[str] = field(default_factory=Counter)


class Interview:
    """Asks questions and keeps the answers."""

    def __init__(self, caller: Caller, store: ReplyStore, setting: Setting, meter: Meter) -> None:
        """Put the parts together.

        Args:
            caller: The way out.
            store: For reading what is known.
            setting: What stays the same.
            meter: What questions take.
        """
        self.tally = Tally()
        #: Questions with nothing to show, which the store does not know.
        self.unaskable: dict[str, Reason] = {}
        self._caller, self._store, self._setting, self._meter = caller, store, setting, meter
        self._busy: set[str] = set()

    async def run(self, questions: Iterable[Question], repeat: int) -> None:
        """Ask all questions that have no final answer yet.

        Args:
            questions: In any order; read in another thread.
            repeat: Which repetition of them this is.

        Raises:
            StorageError: If a reply cannot be kept.
        """
        width = self._setting.params.limits.concurrency
        line: asyncio.Queue[tuple[Question, asyncio.Future[tuple[str, ...]]] | None]
        line = asyncio.Queue(maxsize=width)
        self._busy.clear()
        with ThreadPoolExecutor(_ENCODERS, thread_name_prefix="encode") as pool:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._feed(iter(questions), repeat, line, pool))
                for _ in range(width):
                    group.create_task(self._work(line, repeat))

    async def _feed(
        self,
        questions: Iterator[Question],
        repeat: int,
        line: asyncio.Queue[Any],
        pool: ThreadPoolExecutor,
    ) -> None:
        loop = asyncio.get_running_loop()
        params = self._setting.params.images
        while not self._caller.stopped:
            # Some at a time: a thread's turn and a durable write for each would bound the rate.
            some = await asyncio.to_thread(lambda: list(islice(questions, _READ_AT_ONCE)))
            if not some:
                break
            await self._note(some)
            for question in some:
                if not self._caller.stopped and self._is_new(question, repeat):
                    urls = loop.run_in_executor(pool, data_urls, question.images, params)
                    await line.put((question, urls))
        for _ in range(self._setting.params.limits.concurrency):
            await line.put(None)

    async def _note(self, questions: Sequence[Question]) -> None:
        """Note who asks what, before it is asked."""
        known = "SELECT 1 FROM asked WHERE post_id = ? AND key = ?"
        asked = [(question.post_id, question.key) for question in questions]
        new = [pair for pair in asked if not self._store.rows(known, pair)]
        if new:
            sql = "INSERT OR IGNORE INTO asked VALUES (?, ?)"
            await self._caller.writer.write(lambda: [(sql, pair) for pair in new])

    def _is_new(self, question: Question, repeat: int) -> bool:
        """Tell whether a question is to be asked (now, by this post)."""
        if question.key in self._busy:
            return False
        self._busy.add(question.key)
        replies = self._store.replies(question.key, repeat)
        if is_final(replies, self._setting):
            self.tally.known += 1
            return False
        self.tally.asked += 1
        return True

    async def _work(self, line: asyncio.Queue[Any], repeat: int) -> None:
        while (job := await line.get()) is not None:
            question, encoding = job
            urls = await encoding
            if self._caller.stopped:
                continue
            try:
                status = await self.ask(question, urls, repeat)
            except StoppedError:
                continue
            if status == OK:
                self.tally.labelled += 1
            else:
                self.tally.rejected[status] += 1

    async def ask(self, question: Question, urls: tuple[str, ...], repeat: int) -> str:
        """Ask one question until it has a final answer.

        Args:
            question: The post.
            urls: Its pictures as data URLs.
            repeat: Which repetition this is.

        Returns:
            `ok` or the `Reason` of the reject.

        Raises:
            StoppedError: If everything stops first.
        """
        if not urls and not question.caption.strip():
            reason = unaskable(question)
            self.unaskable[question.key] = reason
            return reason.value
        setting = self._setting
        body = request_body(question, urls, setting.rubric, setting.params, setting.probe.abilities)
        past = own(self._store.replies(question.key, repeat), setting)
        while len(past) < setting.params.attempts:
            last = past[-1] if past else None
            request, extra = body, 0
            if last is not None:
                shown = None if last.status in _UNSHOWN else last.text
                request = with_correction(body, shown, last.detail)
                extra = sum(len(m["content"].encode()) for m in request["messages"][2:])
            shape = Shape(len(question.caption.encode()) + extra, len(urls))
            size = self._meter.size(shape)
            try:
                raw, ticket = await self._caller.call(request, size)
            except RejectError as error:
                fault = error.fault
                failed = no_reply(question.key, repeat, setting, fault.reason, fault.detail)
                await self._caller.writer.write(partial(_kept, failed))
                return failed.status
            reply = self._read(question, repeat, raw)
            if not self._meter.learn(shape, reply.tokens_in, reply.tokens_out):
                logger.warning("a request took more tokens than thought possible; bounds raised")
            cost_usd = ticket.worst_usd if reply.cost_usd is None else reply.cost_usd
            await self._caller.settle(ticket, cost_usd, partial(kept_with_totals, reply))
            if reply.status == OK:
                return OK
            past.append(reply)
        return past[-1].status

    def _read(self, question: Question, repeat: int, raw: RawReply) -> Reply:
        tokens_in, tokens_out = raw.tokens
        cost_usd = None
        if tokens_in is not None and tokens_out is not None:
            cost_usd = self._caller.budget.cost_usd(tokens_in, tokens_out)
        cost = Cost(tokens_in, tokens_out, cost_usd, raw.latency_s)
        return read_reply(
            Answer(question.key, repeat, raw.body, raw.raw, "live"), self._setting, cost
        )


def _kept(reply: Reply) -> Statements:
    return [keep_reply(reply)]
