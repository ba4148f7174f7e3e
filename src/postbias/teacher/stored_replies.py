"""Decide what stored replies mean: whether a request needs no further reply, and its label."""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from postbias.params import EndpointParams
from postbias.posts.reasons import RejectReason
from postbias.teacher.endpoint_probe import EndpointProfile
from postbias.teacher.labels import OK, Label
from postbias.teacher.prompts import LabelRequest, reword_request, reworded_key
from postbias.teacher.reply import Reply, increment_total, insert_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.reply_validation import parse_reply
from postbias.teacher.rubric import Rubric
from postbias.teacher.store_writer import SqlStatements


@dataclass(frozen=True, slots=True)
class LabellingConfig:
    """What all requests of a run have in common.

    Attributes:
        rubric: The scoring instructions.
        params: The model and how it is called.
        profile: What the endpoint supports.
    """

    rubric: Rubric
    params: EndpointParams
    profile: EndpointProfile

    @property
    def models(self) -> frozenset[str]:
        """Model names that replies may contain."""
        return frozenset({str(self.params.model), self.profile.model})

    @property
    def is_reworded(self) -> bool:
        """Whether repeats reword the prompt: at temperature 0 nothing else would differ."""
        return self.params.temperature == 0 and self.profile.capabilities.has_temperature

    def request_repeat(self, request: LabelRequest, repeat: int) -> LabelRequest:
        """Return the request to send for a repetition of a request."""
        return reword_request(request, repeat) if self.is_reworded else request

    def reply_key(self, key: str, repeat: int) -> str:
        """Return the key under which the replies to a repetition of a request are stored."""
        return reworded_key(key, repeat) if self.is_reworded else key

    @property
    def delivery(self) -> str:
        """Digest of the request options; unusable replies to other options are not counted."""
        options = {**asdict(self.profile.capabilities), "max_tokens": self.params.max_tokens}
        return hashlib.sha256(json.dumps(options, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Rubric, model and delivery in one line."""
        return f"{self.rubric.ref} {self.params.model} {self.delivery}"


@dataclass(frozen=True, slots=True)
class ReceivedReply:
    """A response body received for a request.

    Attributes:
        key: Key of the request.
        repeat: Number of the repetition, from 0.
        body: The decoded JSON object.
        raw: The body as received.
        source: `live` or `batch`.
    """

    key: str
    repeat: int
    body: dict[str, Any]
    raw: bytes
    source: str


@dataclass(frozen=True, slots=True)
class ReplyCost:
    """What a reply took.

    Attributes:
        tokens_in: Input tokens, if reported.
        tokens_out: Output tokens, if reported.
        usd: Price, if known.
        latency_s: Time from sending to the last byte, if measured.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    usd: float | None = None
    latency_s: float | None = None


def build_reply(received: ReceivedReply, config: LabellingConfig, cost: ReplyCost) -> Reply:
    """Validate a received reply and return the row to store, usable or not."""
    verdict = parse_reply(received.body, config.rubric, config.models)
    return Reply(
        key=received.key,
        repeat=received.repeat,
        delivery=config.delivery,
        status=OK if verdict.fault is None else verdict.fault.value,
        detail=verdict.detail,
        scores=verdict.scores,
        modes=verdict.modes,
        reason=verdict.reason,
        text=verdict.text,
        raw=received.raw,
        rubric=config.rubric.ref,
        asked_model=str(config.params.model),
        model=str(received.body.get("model") or ""),
        finish=_finish_reason(received.body),
        source=received.source,
        tokens_in=cost.tokens_in,
        tokens_out=cost.tokens_out,
        cost_usd=cost.usd,
        latency_s=cost.latency_s,
        asked_at=_now(),
    )


def build_failed_reply(
    key: str, repeat: int, config: LabellingConfig, reason: RejectReason, detail: str
) -> Reply:
    """Return a row without content, which marks a request as finally rejected.

    Args:
        key: Key of the request.
        repeat: Number of the repetition, from 0.
        config: Rubric, params and endpoint of the run.
        reason: The reject reason.
        detail: The reason in words.

    Returns:
        The row.
    """
    return Reply(
        key=key,
        repeat=repeat,
        delivery=config.delivery,
        status=reason.value,
        detail=detail,
        scores=(),
        modes=(),
        reason="",
        text="",
        raw=b"",
        rubric=config.rubric.ref,
        asked_model=str(config.params.model),
        model="",
        finish="",
        source="live",
        tokens_in=None,
        tokens_out=None,
        cost_usd=None,
        latency_s=None,
        asked_at=_now(),
    )


def insert_reply_with_totals(reply: Reply) -> SqlStatements:
    """Return the statements that store a reply and add its tokens to the totals."""
    return [
        insert_reply(reply),
        increment_total("tokens_in", reply.tokens_in or 0),
        increment_total("tokens_out", reply.tokens_out or 0),
    ]


def matching_replies(replies: Sequence[Reply], config: LabellingConfig) -> list[Reply]:
    """Select the replies that count as attempts: those requested with the same options."""
    return [reply for reply in replies if reply.delivery == config.delivery]


def is_final(replies: Sequence[Reply], config: LabellingConfig) -> bool:
    """Return whether a request with these replies need not be sent again.

    It has a valid reply, has used up its attempts, or was rejected.
    """
    if any(reply.status == OK for reply in replies):
        return True
    attempts = matching_replies(replies, config)
    return len(attempts) >= config.params.attempts or any(not reply.raw for reply in attempts)


def repeat_count(key: str, params: EndpointParams) -> int:
    """Return how often a request is sent: 1 or `repeats`, decided by its key alone."""
    is_repeated = int(key[:8], 16) / 2**32 < params.repeat_share
    return params.repeats if is_repeated else 1


def reason_without_content(request: LabelRequest) -> RejectReason:
    """Return the reject reason of a post with neither caption nor readable image."""
    return RejectReason.UNREADABLE if request.images else RejectReason.NO_CONTENT


def label_from_replies(
    post_id: str, key: str, store: ReplyStore, config: LabellingConfig
) -> Label | None:
    """Compute the label of a post from its stored replies.

    Args:
        key: Key of its request.
        store: The replies.
        config: Rubric, params and endpoint of the run.

    Returns:
        The mean over its repetitions, or a reject; None if replies are missing.
    """
    teacher = f"openai:{config.params.model}"
    valid: list[Reply] = []
    for repeat in range(repeat_count(key, config.params)):
        replies = store.replies(config.reply_key(key, repeat), repeat)
        if not is_final(replies, config):
            return None
        valid += [reply for reply in replies if reply.status == OK][:1]
    if not valid:
        last = matching_replies(store.replies(key, 0), config)[-1]
        return Label.rejected(post_id, RejectReason(last.status), last.detail, teacher)
    scores = list(zip(*(reply.scores for reply in valid), strict=True))
    return Label(
        post_id,
        tuple(statistics.fmean(values) for values in scores),
        tuple(statistics.stdev(values) if len(values) > 1 else None for values in scores),
        len(valid),
        valid[0].reason,
        teacher,
        OK,
    )


def _finish_reason(body: dict[str, Any]) -> str:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return str(first.get("finish_reason") or "") if isinstance(first, dict) else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
