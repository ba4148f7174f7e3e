"""Estimate what labelling a sample would take from a few requests: posts, tokens, price and time.

The requests are about posts of the sample, so their replies are kept and not paid for again. The
rest is extrapolated by post size: length of the caption and number of images.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.compute as pc

from postbias.errors import TeacherError
from postbias.params import EndpointParams, Params
from postbias.paths import Paths
from postbias.posts.shards import list_shards, open_shard
from postbias.teacher.labelling_run import (
    LabellingRun,
    iter_run_requests,
    open_labelling_run,
    run_until_stopped,
)
from postbias.teacher.labels import OK
from postbias.teacher.reply import Reply
from postbias.teacher.rubric import Rubric
from postbias.teacher.store_lock import hold_store_lock
from postbias.teacher.stored_replies import is_final, repeat_count

#: Puts the price within a few per cent where post sizes differ by a factor of two or three.
MEASURED_POSTS = 16


@dataclass(frozen=True, slots=True)
class LabellingPlan:
    """Estimate of what labelling the rest of a sample takes.

    Attributes:
        n_posts: Posts of the sample.
        n_requests: Remaining requests, repeats included.
        tokens_in: Input tokens of these.
        tokens_out: Output tokens of these.
        cost_usd: Price of these; None without prices.
        spent_usd: Total spent with this reply store, including the measured requests.
        time_s: Duration in live mode, at the rate that the limits allow.
        n_measured: Measured requests.
        n_unusable: Measured requests with an unusable reply.
        cap_usd: The spending cap, if any.
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
        """Format the plan as a few lines of text."""
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
        basis = f"measured on {self.n_measured} requests; their replies are kept"
        if self.n_unusable:
            basis += f"; {self.n_unusable} of them could not be used"
        lines.append(basis)
        if self.cap_usd is not None and self.spent_usd + (self.cost_usd or 0.0) > self.cap_usd:
            lines.append(f"max_cost_usd (${self.cap_usd:,.2f}) will stop this before its end")
        return "\n".join(lines)


def plan_labelling(
    paths: Paths, params: Params, rubric: Rubric, post_ids: Sequence[str]
) -> LabellingPlan:
    """Measure a few requests and extrapolate to the sample.

    Args:
        paths: Locates the posts and the reply store.
        params: The endpoint params and the seed.
        post_ids: The sampled posts.

    Returns:
        The estimate for the rest of the sample.

    Raises:
        TeacherError: If there is no endpoint, it is down, or it refuses or reports no usage.
        CorpusError: If there are no posts.
        StorageError: If the reply store cannot be written.
    """
    with hold_store_lock(paths):
        return run_until_stopped(_measure(paths, params, rubric, frozenset(post_ids)))


async def _measure(
    paths: Paths, params: Params, rubric: Rubric, post_ids: frozenset[str]
) -> LabellingPlan:
    sizes = dict(_post_sizes(paths.sampled_posts, post_ids, params.annotate.endpoint))
    async with open_labelling_run(paths, params, rubric) as run:
        keys: dict[str, str] = {}
        await run.scheduler.run(iter_run_requests(run, _spread_over_sizes(sizes), keys), 0)
        if run.sender.stop_reason:
            raise TeacherError(f"{run.sender.stop_reason}; nothing is lost: run again to continue")
        measured = [
            (sizes[post_id], reply)
            for post_id, key in keys.items()
            for reply in run.store.replies(key, 0)
            if reply.tokens_in is not None and reply.latency_s is not None
        ]
        if not measured:
            raise TeacherError(
                "the endpoint reports no token usage, so nothing can be estimated",
                do="label 100 posts instead and look at the endpoint's own billing page",
            )
        return _extrapolate(run, sizes, measured, len(keys), _remaining_posts(run, post_ids))


def _post_sizes(
    folder: Path, post_ids: frozenset[str], params: EndpointParams
) -> Iterator[tuple[str, float]]:
    """Yield the approximate tokens of each post without reading its images."""
    selected = pc.cast(sorted(post_ids), "string")
    columns = ["post_id", "caption", "images.list.element.path"]
    # A Qwen-VL takes one token per 28 x 28 px; a token is about 3.5 bytes of text.
    side = params.images.max_side_px / 28
    for shard in list_shards(folder):
        with open_shard(shard) as file:
            for batch in file.iter_batches(columns=columns):
                table = batch.filter(pc.is_in(batch["post_id"], value_set=selected))
                n_images = pc.list_value_length(table["images"]).to_pylist()
                n_bytes = pc.binary_length(table["caption"]).to_pylist()
                for post_id, n, length in zip(
                    table["post_id"].to_pylist(), n_images, n_bytes, strict=True
                ):
                    tokens_of_images = min(n or 0, params.images.max_images) * side * side
                    yield post_id, length / 3.5 + tokens_of_images


def _spread_over_sizes(sizes: dict[str, float]) -> frozenset[str]:
    """Choose posts of all sizes: the middle post of each of `MEASURED_POSTS` equal parts."""
    ordered = sorted(sizes, key=lambda post_id: (sizes[post_id], post_id))
    n = min(MEASURED_POSTS, len(ordered))
    return frozenset(ordered[int((i + 0.5) * len(ordered) / n)] for i in range(n))


def _remaining_posts(run: LabellingRun, post_ids: frozenset[str]) -> list[str]:
    """List the posts without a final reply, once for each repetition that is missing."""
    remaining: list[str] = []
    seen_keys: set[str] = set()
    for request in iter_run_requests(run, post_ids, {}):
        is_empty = not request.images and not request.caption.strip()
        if is_empty or request.key in seen_keys:
            continue  # nothing to send, or the same request as for an earlier post
        seen_keys.add(request.key)
        remaining += [
            request.post_id
            for repeat in range(repeat_count(request.key, run.config.params))
            if not is_final(_stored(run, request.key, repeat), run.config)
        ]
    return remaining


def _stored(run: LabellingRun, key: str, repeat: int) -> list[Reply]:
    return run.store.replies(run.config.reply_key(key, repeat), repeat)


def _extrapolate(
    run: LabellingRun,
    sizes: dict[str, float],
    measured: Sequence[tuple[float, Reply]],
    n_requested: int,
    remaining: Sequence[str],
) -> LabellingPlan:
    params, budget = run.config.params, run.sender.budget
    # Linear in size: the instructions are the intercept, captions and images the slope.
    x = np.array([size for size, _ in measured])
    y = np.array([float(reply.tokens_in or 0) for _, reply in measured])
    slope, base = np.polyfit(x, y, 1) if np.ptp(x) > 0 else (0.0, y.mean())
    replies_per_request = len(measured) / n_requested
    n_requests = replies_per_request * len(remaining)
    tokens_in = replies_per_request * sum(
        max(0.0, base + slope * sizes[post_id]) for post_id in remaining
    )
    tokens_out = n_requests * float(np.mean([reply.tokens_out or 0 for _, reply in measured]))
    latency_s = float(np.median([reply.latency_s or 0.0 for _, reply in measured]))
    is_batch = params.mode == "batch"
    cost_usd = budget.cost_usd(tokens_in, tokens_out, is_batch=is_batch)
    return LabellingPlan(
        n_posts=len(sizes),
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
