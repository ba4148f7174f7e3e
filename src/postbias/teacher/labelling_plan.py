"""What labelling would take, from a few measured requests: posts, tokens, price, time.

The posts asked are posts of the sample, so their replies are kept and not asked for again. The
rest is extrapolated by size: captions and numbers of pictures are known without reading a picture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq

from postbias.errors import TeacherError
from postbias.params import EndpointParams, Params
from postbias.paths import Paths
from postbias.posts.shards import list_shards
from postbias.teacher.labelling_run import (
    LabellingRun,
    hold_store_lock,
    open_labelling_run,
    iter_run_requests,
)
from postbias.teacher.labels import OK
from postbias.teacher.reply import Reply
from postbias.teacher.rubric import Rubric
from postbias.teacher.stored_replies import is_final, repeat_count

#: Enough for the price to be within a few per cent where posts differ by a factor of two or three.
MEASURED = 16


@dataclass(frozen=True, slots=True)
class LabellingPlan:
    """What labelling would take.

    Attributes:
        n_posts: Posts of the sample.
        n_requests: Requests still to be made: posts without an answer, and their repeats.
        tokens_in: Input tokens of these.
        tokens_out: Output tokens of these.
        cost_usd: Their price; None without prices.
        spent_usd: All that was ever spent from the reply store, the measuring included.
        time_s: How long they take live, as fast as limits allow.
        n_measured: Requests that this rests on.
        n_unusable: Of these, replies that could not be used.
        cap_usd: What may be spent in all.
    """

    n_posts: int
    n_requests: int
    tokens_in: float
    tokens_out: float
    cost_usd: float | None
    spent_usd: float
    time_s: float
    n_measured: int
    n_unusable: int
    cap_usd: float | None

    def describe(self) -> str:
        """Write it out.

        Returns:
            A few lines for a person.
        """
        hours, minutes = divmod(round(self.time_s / 60), 60)
        lines = [
            f"posts in the sample      {self.n_posts:>12,}",
            f"requests still to make   {self.n_requests:>12,}",
            f"input tokens             {self.tokens_in:>12,.0f}",
            f"output tokens            {self.tokens_out:>12,.0f}",
        ]
        if self.cost_usd is None:
            lines.append("price                         unknown: set annotate.endpoint.cost")
        else:
            lines.append(f"price                    {f'${self.cost_usd:,.2f}':>12}")
            lines.append(f"spent until now          {f'${self.spent_usd:,.2f}':>12}")
        lines.append(f"time, live               {f'{hours} h {minutes:02} min':>12}")
        said = f"measured on {self.n_measured} requests; their replies are kept"
        if self.n_unusable:
            said += f"; {self.n_unusable} of them could not be used"
        lines.append(said)
        if self.cap_usd is not None and self.spent_usd + (self.cost_usd or 0.0) > self.cap_usd:
            lines.append(f"max_cost_usd (${self.cap_usd:,.2f}) will stop this before its end")
        return "\n".join(lines)


def plan_labelling(paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]) -> LabellingPlan:
    """Measure a few requests and extrapolate.

    Args:
        paths: The repository.
        params: Its parameters.
        rubric: What would be asked.
        post_ids: The sampled posts.

    Returns:
        What the rest would take.

    Raises:
        TeacherError: If there is no endpoint, it is down or refuses, or tells no usage.
        CorpusError: If there are no posts.
        StorageError: If the reply store cannot be written.
    """
    with hold_store_lock(paths):
        return asyncio.run(_plan(paths, params, rubric, frozenset(post_ids)))


async def _plan(paths: Paths, params: Params, rubric: Rubric, post_ids: frozenset[str]) -> LabellingPlan:
    asked = params.annotate.endpoint
    weights = dict(_weights(paths.posts, post_ids, asked))
    async with open_labelling_run(paths, params, rubric) as run:
        keys: dict[str, str] = {}
        await run.scheduler.run(iter_run_requests(run, _spread(weights), keys), 0)
        if run.sender.stop_reason:
            raise TeacherError(f"{run.sender.stop_reason}; nothing is lost: run it again to go on")
        measured = [
            (weights[post_id], reply)
            for post_id, key in keys.items()
            for reply in run.store.replies(key, 0)
            if reply.tokens_in is not None and reply.latency_s is not None
        ]
        if not measured:
            raise TeacherError("the endpoint tells no usage, so there is nothing to plan with")
        return _extrapolate(run, weights, measured, len(keys), _todo(run, post_ids))


def _weights(
    folder: Path, post_ids: frozenset[str], params: EndpointParams
) -> Iterator[tuple[str, float]]:
    """Weigh posts by size, relative to one another, without reading a picture."""
    wanted = pc.cast(sorted(post_ids), "string")
    columns = ["post_id", "caption", "images.list.element.path"]
    side = params.images.max_side_px / 28
    for shard in list_shards(folder):
        with pq.ParquetFile(shard) as file:
            for batch in file.iter_batches(columns=columns):
                table = batch.filter(pc.is_in(batch["post_id"], value_set=wanted))
                pictures = pc.list_value_length(table["images"]).to_pylist()
                sizes = pc.binary_length(table["caption"]).to_pylist()
                for post_id, n, size in zip(
                    table["post_id"].to_pylist(), pictures, sizes, strict=True
                ):
                    yield post_id, size / 3.5 + min(n or 0, params.images.max_images) * side * side


def _spread(weights: dict[str, float]) -> frozenset[str]:
    """Choose posts of all sizes: the middle one of each of so many equal parts."""
    ordered = sorted(weights, key=lambda post_id: (weights[post_id], post_id))
    n = min(MEASURED, len(ordered))
    return frozenset(ordered[int((i + 0.5) * len(ordered) / n)] for i in range(n))


def _todo(run: LabellingRun, post_ids: frozenset[str]) -> list[str]:
    """List the posts still to be asked about, each as often as it is to be asked."""
    todo: list[str] = []
    seen: set[str] = set()
    for question in iter_run_requests(run, post_ids, {}):
        is_empty = not question.images and not question.caption.strip()
        if is_empty or question.key in seen:
            continue  # nothing to show, or another post shows the very same
        seen.add(question.key)
        todo += [
            question.post_id
            for repeat in range(repeat_count(question.key, run.config.params))
            if not is_final(run.store.replies(question.key, repeat), run.config)
        ]
    return todo


def _extrapolate(
    run: LabellingRun,
    weights: dict[str, float],
    measured: Sequence[tuple[float, Reply]],
    n_asked: int,
    todo: Sequence[str],
) -> LabellingPlan:
    params, budget = run.config.params, run.sender.budget
    # Instructions are a constant and pictures and captions a slope: a line through the sizes.
    sizes = np.array([weight for weight, _ in measured])
    tokens = np.array([float(reply.tokens_in or 0) for _, reply in measured])
    slope, base = np.polyfit(sizes, tokens, 1) if np.ptp(sizes) > 0 else (0.0, tokens.mean())
    per_question = len(measured) / n_asked
    n_requests = per_question * len(todo)
    tokens_in = per_question * sum(max(0.0, base + slope * weights[post_id]) for post_id in todo)
    tokens_out = n_requests * float(np.mean([reply.tokens_out or 0 for _, reply in measured]))
    latency_s = float(np.median([reply.latency_s or 0.0 for _, reply in measured]))
    is_batch = params.mode == "batch"
    cost_usd = budget.cost_usd(tokens_in, tokens_out, is_batch=is_batch)
    return LabellingPlan(
        n_posts=len(weights),
        n_requests=round(n_requests),
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost_usd=cost_usd if budget.has_prices else None,
        spent_usd=budget.spent_usd,
        time_s=_time_s(params, n_requests, tokens_in + tokens_out, latency_s),
        n_measured=len(measured),
        n_unusable=sum(reply.status != OK for _, reply in measured),
        cap_usd=params.cost.max_cost_usd,
    )


def _time_s(params: EndpointParams, n_requests: float, tokens: float, latency_s: float) -> float:
    limits = params.limits
    times_s = [n_requests * latency_s / limits.concurrency]
    if limits.requests_per_minute:
        times_s.append(60 * n_requests / limits.requests_per_minute)
    if limits.tokens_per_minute:
        times_s.append(60 * tokens / limits.tokens_per_minute)
    return max(times_s)
