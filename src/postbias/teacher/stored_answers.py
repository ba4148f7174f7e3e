"""What the store knows of a question: whether its answer is final, and which label it makes.

Turns raw replies into stored ones and stored ones into labels. Asks nobody.
"""

from __future__ import annotations

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from postbias.params import EndpointParams
from postbias.posts.reasons import Reason
from postbias.teacher.endpoint_probe import Probe
from postbias.teacher.labels import OK, Label
from postbias.teacher.prompts import Question
from postbias.teacher.reply import Reply, add_total, keep_reply
from postbias.teacher.reply_store import ReplyStore
from postbias.teacher.reply_validation import judge
from postbias.teacher.rubric import Rubric
from postbias.teacher.store_writer import Statements


@dataclass(frozen=True, slots=True)
class Setting:
    """What stays the same for all questions of a run.

    Attributes:
        rubric: What is asked.
        params: Who is asked.
        probe: What the endpoint can do.
    """

    rubric: Rubric
    params: EndpointParams
    probe: Probe

    @property
    def models(self) -> frozenset[str]:
        """Names under which the model may answer."""
        return frozenset({str(self.params.model), self.probe.model})

    @property
    def delivery(self) -> str:
        """Digest of how questions are asked: unusable replies to another way do not count."""
        how = {**asdict(self.probe.abilities), "max_tokens": self.params.max_tokens}
        return hashlib.sha256(json.dumps(how, sort_keys=True).encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """Rubric, model and delivery in one line."""
        return f"{self.rubric.ref} {self.params.model} {self.delivery}"


@dataclass(frozen=True, slots=True)
class Answer:
    """A body that came back for a question.

    Attributes:
        key: The question.
        repeat: Which repetition it answers.
        body: Decoded.
        raw: As received.
        source: `live` or `batch`.
    """

    key: str
    repeat: int
    body: dict[str, Any]
    raw: bytes
    source: str


@dataclass(frozen=True, slots=True)
class Cost:
    """What an answer took.

    Attributes:
        tokens_in: Input tokens, if told.
        tokens_out: Output tokens, if told.
        usd: Its price, if known.
        latency_s: From request to the last byte, if measured.
    """

    tokens_in: int | None = None
    tokens_out: int | None = None
    usd: float | None = None
    latency_s: float | None = None


def read_reply(answer: Answer, setting: Setting, cost: Cost) -> Reply:
    """Judge an answer and make of it what the store keeps.

    Args:
        answer: What came back.
        setting: What was asked, and of whom.
        cost: What it took.

    Returns:
        The reply, usable or not.
    """
    verdict = judge(answer.body, setting.rubric, setting.models)
    return Reply(
        key=answer.key,
        repeat=answer.repeat,
        delivery=setting.delivery,
        status=OK if verdict.fault is None else verdict.fault.value,
        detail=verdict.detail,
        scores=verdict.scores,
        modes=verdict.modes,
        reason=verdict.reason,
        text=verdict.text,
        raw=answer.raw,
        rubric=setting.rubric.ref,
        asked_model=str(setting.params.model),
        model=str(answer.body.get("model") or ""),
        finish=_finish(answer.body),
        source=answer.source,
        tokens_in=cost.tokens_in,
        tokens_out=cost.tokens_out,
        cost_usd=cost.usd,
        latency_s=cost.latency_s,
        asked_at=_now(),
    )


def no_reply(key: str, repeat: int, setting: Setting, reason: Reason, detail: str) -> Reply:
    """Note that a question will bring no reply.

    Args:
        key: The question.
        repeat: Which repetition.
        setting: What was asked, and of whom.
        reason: Why.
        detail: The same in words.

    Returns:
        A reply without content, which is final.
    """
    return Reply(
        key,
        repeat,
        setting.delivery,
        reason.value,
        detail,
        (),
        (),
        "",
        "",
        b"",
        setting.rubric.ref,
        str(setting.params.model),
        "",
        "",
        "live",
        None,
        None,
        None,
        None,
        _now(),
    )


def kept_with_totals(reply: Reply) -> Statements:
    """Write the statements that keep a reply and count its tokens.

    Args:
        reply: The reply.

    Returns:
        SQL and values.
    """
    return [
        keep_reply(reply),
        add_total("tokens_in", reply.tokens_in or 0),
        add_total("tokens_out", reply.tokens_out or 0),
    ]


def own(replies: Sequence[Reply], setting: Setting) -> list[Reply]:
    """Pick the replies that count against the number of attempts.

    Args:
        replies: To one asking of a question.
        setting: How it is asked now.

    Returns:
        Those that were asked in the same way.
    """
    return [reply for reply in replies if reply.delivery == setting.delivery]


def is_final(replies: Sequence[Reply], setting: Setting) -> bool:
    """Tell whether a question need not be asked again.

    Args:
        replies: To one asking of it.
        setting: How it is asked now.

    Returns:
        Whether it has a valid reply, no attempt left, or will bring none.
    """
    if any(reply.status == OK for reply in replies):
        return True
    mine = own(replies, setting)
    return len(mine) >= setting.params.attempts or any(not reply.raw for reply in mine)


def repeats_of(key: str, params: EndpointParams) -> int:
    """Say how often a question is asked; its own key decides, whatever else is asked.

    Args:
        key: The question.
        params: Which share of the questions is repeated, and how often.

    Returns:
        1, or `repeats`.
    """
    is_repeated = int(key[:8], 16) / 2**32 < params.repeat_share
    return params.repeats if is_repeated else 1


def unaskable(question: Question) -> Reason:
    """Say why a post without caption and readable picture cannot be asked about.

    Args:
        question: The post.

    Returns:
        The reason of the reject.
    """
    return Reason.UNREADABLE if question.images else Reason.NO_CONTENT


def label_of(post_id: str, key: str, store: ReplyStore, setting: Setting) -> Label | None:
    """Make the label of a post from what the store knows.

    Args:
        post_id: The post.
        key: Its question.
        store: The replies.
        setting: How it is asked now.

    Returns:
        The mean over its repetitions, or a reject; None if it has not been asked to the end.
    """
    teacher = f"openai:{setting.params.model}"
    valid: list[Reply] = []
    for repeat in range(repeats_of(key, setting.params)):
        replies = store.replies(key, repeat)
        if not is_final(replies, setting):
            return None
        valid += [reply for reply in replies if reply.status == OK][:1]
    if not valid:
        last = own(store.replies(key, 0), setting)[-1]
        return Label.rejected(post_id, Reason(last.status), last.detail, teacher)
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


def _finish(body: dict[str, Any]) -> str:
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    return str(first.get("finish_reason") or "") if isinstance(first, dict) else ""


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
