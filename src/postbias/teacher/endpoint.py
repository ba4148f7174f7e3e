"""The endpoint teacher: everything from a sample to the labels that its replies make.

Holds a run together: one process at a time, what a crash left in flight counted as spent, the
probe, the passes over the posts, Ctrl-C, and the message when it stops early. Writes the reply
store only.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass

import numpy as np
from filelock import FileLock, Timeout

from postbias.errors import TeacherError
from postbias.params import EndpointParams, Params
from postbias.paths import Paths
from postbias.posts.reasons import Reason
from postbias.teacher.api_errors import StoppedError
from postbias.teacher.batch import Batches
from postbias.teacher.budget import Budget
from postbias.teacher.client import Client
from postbias.teacher.endpoint_probe import probe
from postbias.teacher.labelling_progress import Progress
from postbias.teacher.labels import OK, Answers, Label, Reject
from postbias.teacher.prompts import Question, instructions, iter_questions
from postbias.teacher.reply import add_total
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.reply_validation import prepare
from postbias.teacher.request_loop import Caller
from postbias.teacher.rubric import Rubric
from postbias.teacher.run_summary import describe_run
from postbias.teacher.scheduler import Interview
from postbias.teacher.store_writer import Writer
from postbias.teacher.stored_answers import Setting, label_of, repeats_of
from postbias.teacher.token_estimates import Meter

logger = logging.getLogger(__name__)

_PROGRESS_S = 0.5


@dataclass(frozen=True, slots=True)
class Run:
    """An open run.

    Attributes:
        paths: The repository.
        setting: What is asked, and of whom.
        caller: The way out.
        store: For reading.
        meter: What questions take.
        interview: Who asks.
    """

    paths: Paths
    setting: Setting
    caller: Caller
    store: ReplyStore
    meter: Meter
    interview: Interview


def ask_endpoint(paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]) -> Answers:
    """Ask the endpoint about all sampled posts, as far as the store does not know the answers.

    Args:
        paths: The repository.
        params: Its parameters.
        rubric: What is asked.
        post_ids: The sampled posts.

    Returns:
        A label or reject for every post.

    Raises:
        TeacherError: If there is no endpoint, it is down or refuses, the cap is reached or the user
            interrupts; what was answered until then is kept.
        StorageError: If the reply store cannot be written.
        CorpusError: If there are no posts.
    """
    with alone(paths):
        return asyncio.run(_ask_all(paths, params, rubric, frozenset(post_ids)))


async def _ask_all(
    paths: Paths, params: Params, rubric: Rubric, post_ids: frozenset[str]
) -> Answers:
    async with open_run(paths, params, rubric) as run:
        keys: dict[str, str] = {}
        await _ask_passes(run, post_ids, keys)
        labels = [label for post_id in post_ids if (label := _label(run, post_id, keys))]
        if run.caller.stopped:
            raise TeacherError(_stopped(run, labels, len(post_ids)))
        report = describe_run(run.store, run.setting, keys, run.caller.budget)
    teacher = f"openai:{run.setting.params.model}"
    rejects = [
        Reject(teacher, label.post_id, Reason(label.status), label.reason)
        for label in sorted(labels, key=lambda label: label.post_id)
        if label.status != OK
    ]
    return Answers(labels, rejects, report)


async def _ask_passes(run: Run, post_ids: frozenset[str], keys: dict[str, str]) -> None:
    """Ask every post once, then the repeated ones again: a later reply also shows drift."""
    params = run.setting.params
    with Progress(len(post_ids), run.interview.tally, run.caller.budget) as progress:
        ticker = asyncio.create_task(_tick(progress))
        try:
            await _ask_pass(run, post_ids, 0, keys)
            for repeat in range(1, params.repeats):
                again = frozenset(p for p, key in keys.items() if repeats_of(key, params) > repeat)
                if again and not run.caller.stopped:
                    progress.extend(len(again))
                    await _ask_pass(run, again, repeat, keys)
        finally:
            ticker.cancel()


async def _ask_pass(run: Run, post_ids: frozenset[str], repeat: int, keys: dict[str, str]) -> None:
    if run.setting.params.mode == "batch":
        folder = run.paths.store / "batches"
        batches = Batches(run.caller, run.store, run.setting, run.meter, folder)
        try:
            await batches.run(questions_of(run, post_ids, keys), repeat)
        except StoppedError:
            return
    await run.interview.run(questions_of(run, post_ids, keys), repeat)


@asynccontextmanager
async def open_run(paths: Paths, params: Params, rubric: Rubric) -> AsyncIterator[Run]:
    """Open everything a run needs, and close it again.

    Args:
        paths: The repository.
        params: Its parameters.
        rubric: What is asked.

    Yields:
        The run, the endpoint probed.

    Raises:
        TeacherError: If there is no endpoint or it takes no question.
        StorageError: If the reply store cannot be opened.
    """
    asked = params.annotate.endpoint
    client = Client.open(asked.limits.timeout_s, asked.limits.concurrency)
    writer = Writer(paths.replies)
    store = ReplyStore.open(paths.replies)
    try:
        await _count_lost(writer, store)
        if rubric.reply.language:
            await asyncio.to_thread(prepare)
        budget = Budget(asked.cost, store.total("spent_usd"))
        rng = np.random.default_rng(params.seed)
        caller = Caller(client, writer, budget, asked.limits, rng)
        with _stopping_on_signals(caller):
            try:
                found = await probe(caller, store, rubric, asked)
            except StoppedError as error:
                raise TeacherError(f"stopped before the first post: {caller.stopped}") from error
            caller.set_canary(asked.model, found.abilities.limit_key)
            setting = Setting(rubric, asked, found)
            system = instructions(rubric, found.abilities.format)
            meter = Meter(asked, found.tokens_in, len(system.encode()))
            interview = Interview(caller, store, setting, meter)
            yield Run(paths, setting, caller, store, meter, interview)
    finally:
        await writer.close()
        store.close()
        await client.close()


async def _count_lost(writer: Writer, store: ReplyStore) -> None:
    """Count what was in flight when a run was killed as spent: it may have been billed."""
    (n, worst_usd), *_ = store.rows("SELECT count(*), total(worst_usd) FROM sent")
    if n:
        await writer.write(
            lambda: [
                ("DELETE FROM sent", ()),
                add_total("spent_usd", worst_usd),
                add_total("requests", n),
            ]
        )
        logger.info("%d requests were in flight when the last run was killed", n)


@contextmanager
def alone(paths: Paths) -> Iterator[None]:
    """Let one process at a time ask: two would pay twice.

    Args:
        paths: The repository.

    Yields:
        When no other process asks.
    """
    paths.store.mkdir(parents=True, exist_ok=True)
    lock = FileLock(paths.store / "replies.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.warning("another process is asking the teacher; waiting until it has ended")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _stopping_on_signals(caller: Caller) -> Iterator[None]:
    """Finish what is in flight on the first Ctrl-C or SIGTERM, drop everything on the second."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()

    def stop(name: str) -> None:
        if caller.stopped is None:
            sys.stderr.write(f"\n{name}: finishing what is in flight; again to drop it\n")
            caller.stop(f"interrupted by {name}")
        elif task is not None:
            task.cancel()

    signals = [signal.SIGINT, signal.SIGTERM]
    try:
        for number in signals:
            loop.add_signal_handler(number, stop, number.name)
    except (RuntimeError, NotImplementedError, ValueError):
        signals = []  # not the main thread, or Windows: the process's own handling stands
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)


async def _tick(progress: Progress) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_S)
        progress.update()


def questions_of(run: Run, post_ids: frozenset[str], keys: dict[str, str]) -> Iterator[Question]:
    """Go through the questions of some posts, noting their keys on the way.

    Args:
        run: An open run.
        post_ids: The posts.
        keys: Filled with the question's key by post.

    Yields:
        The questions, in the order of the shards.
    """
    setting = run.setting
    for question in iter_questions(run.paths.posts, post_ids, setting.rubric, setting.params):
        keys[question.post_id] = question.key
        yield question


def _label(run: Run, post_id: str, keys: dict[str, str]) -> Label | None:
    teacher = f"openai:{run.setting.params.model}"
    if post_id not in keys:
        return None
    if (reason := run.interview.unaskable.get(keys[post_id])) is not None:
        return Label.rejected(post_id, reason, "neither caption nor readable picture", teacher)
    return label_of(post_id, keys[post_id], run.store, run.setting)


def _stopped(run: Run, labels: Sequence[Label], n_posts: int) -> str:
    """Say where a run stands that stopped early."""
    n_ok = sum(label.status == OK for label in labels)
    left = n_posts - len(labels)
    budget = run.caller.budget
    said = f"{run.caller.stopped}; {n_ok} of {n_posts} posts are labelled"
    if len(labels) > n_ok:
        said += f", {len(labels) - n_ok} rejected"
    if budget.has_prices and n_ok:
        each_usd = budget.spent_usd / max(1.0, run.store.total("requests"))
        said += f", ${budget.spent_usd:.4f} spent; the other {left} would cost about "
        said += f"${each_usd * left * _asks_per_post(run.setting.params):.4f}"
    return f"{said}; nothing is lost: run it again to go on"


def _asks_per_post(params: EndpointParams) -> float:
    return 1 + params.repeat_share * (params.repeats - 1)
