"""Label a sample with an endpoint: one run from the open store to the final labels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from postbias.errors import TeacherError
from postbias.params import EndpointParams, Params
from postbias.paths import Paths
from postbias.posts.reasons import RejectReason
from postbias.teacher.batch_mode import BatchRunner
from postbias.teacher.budget import Budget
from postbias.teacher.endpoint_client import EndpointClient
from postbias.teacher.endpoint_probe import probe_endpoint
from postbias.teacher.label_scheduler import LabelScheduler
from postbias.teacher.labelling_progress import LabellingProgress
from postbias.teacher.labels import OK, Label, LabelReject, SampleLabels
from postbias.teacher.outstanding_batches import OutstandingBatches
from postbias.teacher.post_labeller import PostLabeller
from postbias.teacher.prompts import LabelRequest, iter_label_requests, system_prompt
from postbias.teacher.reply import increment_total
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.reply_validation import load_language_identifier
from postbias.teacher.request_failures import RunStoppedError
from postbias.teacher.request_sender import RequestSender
from postbias.teacher.rubric import Rubric
from postbias.teacher.run_summary import summarise_run
from postbias.teacher.stop_signals import stopping_on_signals
from postbias.teacher.store_lock import hold_store_lock
from postbias.teacher.store_writer import StoreWriter
from postbias.teacher.stored_replies import LabellingConfig, label_from_replies, repeat_count
from postbias.teacher.token_estimates import TokenEstimator, read_excess

logger = logging.getLogger(__name__)

_PROGRESS_INTERVAL_S = 0.5
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LabellingRun:
    """An open run.

    Attributes:
        posts: Folder of shards with the posts to label.
        config: Rubric, params and endpoint.
        sender: Sends requests.
        store: For reading only; `sender.writer` writes.
        labeller: Labels one post.
        scheduler: Labels posts concurrently.
        batches: Sends and collects batches.
    """

    posts: Path
    config: LabellingConfig
    sender: RequestSender
    store: ReplyStore
    labeller: PostLabeller
    scheduler: LabelScheduler
    batches: BatchRunner


def label_with_endpoint(
    paths: Paths,
    params: Params,
    rubric: Rubric,
    post_ids: Sequence[str],
    *,
    posts: Path | None = None,
) -> SampleLabels:
    """Label posts; send only requests without a final reply in the store.

    Args:
        post_ids: The posts to label.
        posts: Folder of shards that contain them; the sampled posts by default.

    Returns:
        A label or reject for every post.

    Raises:
        TeacherError: If there is no endpoint, it is down or refuses, the cap is reached or the user
            interrupts; all replies so far are kept.
        StorageError: If the reply store cannot be written.
        CorpusError: If there are no posts.
    """
    with hold_store_lock(paths):
        return run_until_stopped(_label_all(paths, params, rubric, frozenset(post_ids), posts))


def run_until_stopped(main: Coroutine[None, None, T]) -> T:
    """Run a coroutine that opens a labelling run.

    Returns:
        Its result.

    Raises:
        TeacherError: If a signal cancels its requests in flight.
    """
    try:
        return asyncio.run(main)
    except asyncio.CancelledError as error:
        raise TeacherError(
            "interrupted; requests in flight were cancelled and count as spent",
            do="run again to continue: all replies so far are kept",
        ) from error


async def _label_all(
    paths: Paths, params: Params, rubric: Rubric, post_ids: frozenset[str], posts: Path | None
) -> SampleLabels:
    async with open_labelling_run(paths, params, rubric, posts=posts) as run:
        keys: dict[str, str] = {}
        await _run_passes(run, post_ids, keys)
        labels = [label for post_id in post_ids if (label := _label(run, post_id, keys))]
        if run.sender.stop_reason:
            raise TeacherError(_describe_stop(run, labels, len(post_ids)))
        report = summarise_run(run.store, run.config, keys, run.sender.budget)
    teacher = f"openai:{run.config.params.model}"
    rejects = [
        LabelReject(teacher, label.post_id, RejectReason(label.status), label.reason)
        for label in sorted(labels, key=lambda label: label.post_id)
        if label.status != OK
    ]
    return SampleLabels(labels, rejects, report)


async def _run_passes(run: LabellingRun, post_ids: frozenset[str], keys: dict[str, str]) -> None:
    """Request all posts once, then the repeated ones again: later replies also show drift."""
    params = run.config.params
    with LabellingProgress(len(post_ids), run.scheduler.counts, run.sender.budget) as progress:
        ticker = asyncio.create_task(_refresh(progress))
        try:
            await _run_pass(run, post_ids, 0, keys)
            for repeat in range(1, params.repeats):
                repeated = frozenset(
                    post_id for post_id, key in keys.items() if repeat_count(key, params) > repeat
                )
                if repeated and not run.sender.stop_reason:
                    progress.extend(len(repeated))
                    await _run_pass(run, repeated, repeat, keys)
        finally:
            ticker.cancel()


async def _run_pass(
    run: LabellingRun, post_ids: frozenset[str], repeat: int, keys: dict[str, str]
) -> None:
    try:
        await run.batches.resume()
        if run.config.params.mode == "batch":
            await run.batches.run(iter_run_requests(run, post_ids, keys, repeat), repeat)
        elif run.batches.outstanding.of(run.config):
            await run.scheduler.run(iter_run_requests(run, post_ids, keys, repeat), repeat)
            await run.batches.collect_all()
    except RunStoppedError:
        return
    await run.scheduler.run(iter_run_requests(run, post_ids, keys, repeat), repeat)


@asynccontextmanager
async def open_labelling_run(
    paths: Paths, params: Params, rubric: Rubric, *, posts: Path | None = None
) -> AsyncIterator[LabellingRun]:
    """Open everything a run needs, probe the endpoint, and close it all at the end.

    Args:
        posts: Folder of shards with the posts to label; the sampled posts by default.

    Yields:
        The run.

    Raises:
        TeacherError: If there is no endpoint or it accepts no request.
        StorageError: If the reply store cannot be opened.
    """
    endpoint = params.annotate.endpoint
    client = EndpointClient.open(endpoint.limits.timeout_s, endpoint.limits.concurrency)
    writer = StoreWriter(paths.replies)
    store = ReplyStore.open(paths.replies)
    try:
        await _count_unsettled(writer, store)
        if rubric.reply.language:
            await asyncio.to_thread(load_language_identifier)
        outstanding_usd = OutstandingBatches(store).worst_usd
        budget = Budget(endpoint.cost, store.total("spent_usd"), outstanding_usd)
        rng = np.random.default_rng(params.seed)
        sender = RequestSender(client, writer, budget, endpoint.limits, rng)
        with stopping_on_signals(sender.stop_signal):
            try:
                profile = await probe_endpoint(sender, store, rubric, endpoint)
            except RunStoppedError as error:
                reason = f"stopped before the first post: {sender.stop_reason}"
                raise TeacherError(reason) from error
            sender.set_control_request(endpoint.model, profile.capabilities.limit_key)
            config = LabellingConfig(rubric, endpoint, profile)
            batches = paths.store / "batches"
            run = _assemble_run(posts or paths.sampled_posts, batches, config, sender, store)
            yield run
    finally:
        await writer.close()
        store.close()
        await client.close()


def _assemble_run(
    posts: Path,
    batch_folder: Path,
    config: LabellingConfig,
    sender: RequestSender,
    store: ReplyStore,
) -> LabellingRun:
    system = system_prompt(config.rubric, config.profile.capabilities.format)
    estimator = TokenEstimator(
        config.params,
        config.profile.tokens_in,
        len(system.encode()),
        read_excess(store, config.name),
    )
    batches = BatchRunner(sender, store, config, estimator, batch_folder)
    labeller = PostLabeller(sender, store, config, estimator)
    scheduler = LabelScheduler(sender, store, config, labeller, batches.outstanding)
    return LabellingRun(posts, config, sender, store, labeller, scheduler, batches)


async def _count_unsettled(writer: StoreWriter, store: ReplyStore) -> None:
    """Count requests in flight when a run was killed as spent: they may have been billed."""
    (n, worst_usd), *_ = store.rows("SELECT count(*), total(worst_usd) FROM sent")
    if n:
        await writer.write(
            lambda: [
                ("DELETE FROM sent", ()),
                increment_total("spent_usd", worst_usd),
                increment_total("requests", n),
            ]
        )
        logger.info("%d requests were in flight when the last run was killed", n)


async def _refresh(progress: LabellingProgress) -> None:
    while True:
        await asyncio.sleep(_PROGRESS_INTERVAL_S)
        progress.update()


def iter_run_requests(
    run: LabellingRun, post_ids: frozenset[str], keys: dict[str, str], repeat: int = 0
) -> Iterator[LabelRequest]:
    """Build the requests for some posts of a run.

    Args:
        run: An open run.
        keys: Filled with the request key of each post.
        repeat: Number of the repetition, from 0.

    Yields:
        The requests in shard order.
    """
    config = run.config
    for request in iter_label_requests(run.posts, post_ids, config.rubric, config.params):
        keys[request.post_id] = request.key
        yield config.request_repeat(request, repeat)


def _label(run: LabellingRun, post_id: str, keys: dict[str, str]) -> Label | None:
    teacher = f"openai:{run.config.params.model}"
    if post_id not in keys:
        return None
    if (reason := run.labeller.without_content.get(keys[post_id])) is not None:
        return Label.rejected(post_id, reason, "neither caption nor readable picture", teacher)
    return label_from_replies(post_id, keys[post_id], run.store, run.config)


def _describe_stop(run: LabellingRun, labels: Sequence[Label], n_posts: int) -> str:
    """Say how far a run got that stopped early."""
    n_ok = sum(label.status == OK for label in labels)
    n_left = n_posts - len(labels)
    budget = run.sender.budget
    message = f"{run.sender.stop_reason}; {n_ok} of {n_posts} posts are labelled"
    if len(labels) > n_ok:
        message += f", {len(labels) - n_ok} rejected"
    if budget.has_prices and n_ok:
        usd_per_request = budget.spent_usd / max(1.0, run.store.total("requests"))
        left_usd = usd_per_request * n_left * _requests_per_post(run.config.params)
        message += f", ${budget.spent_usd:.4f} spent; the other {n_left} would cost about "
        message += f"${left_usd:.4f}"
    return f"{message}; nothing is lost: run again to continue"


def _requests_per_post(params: EndpointParams) -> float:
    return 1 + params.repeat_share * (params.repeats - 1)
