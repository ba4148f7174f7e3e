"""Validate a teacher's reply: extract its scores, or say why it cannot be used.

A valid reply has a finite score in range for every axis and a reason in the required language.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from postbias.posts.reasons import RejectReason
from postbias.teacher.answer_objects import (
    AmbiguousAnswerError,
    find_answer,
    find_objects,
    plain_number,
)
from postbias.teacher.model_names import is_same_model
from postbias.teacher.reasoning_markers import cut_reasoning, find_reasoning_markers
from postbias.teacher.reply_text import answer_text, has_refusal, message_of
from postbias.teacher.rubric import Rubric, RubricAxis
from postbias.teacher.token_probabilities import expected_score

_REFUSAL = re.compile(
    r"^\W*(i.?m (very )?sorry|sorry,|i (can.?t|cannot|can not|won.?t|am (un|not )able)|"
    r"i.?m (unable|not able)|as an ai\b|unfortunately, i)",
    re.IGNORECASE,
)
#: Finish reasons, of several vendors, of an answer that reached its maximum length.
_LENGTH = frozenset(
    {
        *("length", "max_length", "max_tokens", "max_output_tokens", "token_limit"),
        *("model_length", "model_context_window_exceeded", "context_length_exceeded"),
    }
)
#: Finish reasons of an answer that a content filter stopped or changed.
_FILTERED = frozenset(
    {
        *("content_filter", "content_filtered", "safety", "image_safety", "sensitive", "spii"),
        *("prohibited_content", "blocklist", "recitation", "guardrail_intervened"),
    }
)
#: Fences, tags and brackets around an object.
_WRAPPING = re.compile(r"```\w*|<[^<>]{1,40}>|\[/?[A-Z_ ]{1,40}\]")
#: Longer replies, and longer answers after the reasoning, are not searched.
_MAX_CHARS, _MAX_ANSWER_CHARS = 400_000, 50_000
#: Languages of shorter or less certain texts are not checked: names and quotations dominate there.
_MIN_LETTERS = 24
_MIN_CERTAINTY = 0.8


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """The content of a reply, or its fault.

    Attributes:
        scores: One per axis in rubric order, the expected score where the endpoint returned token
            probabilities; empty if the reply is unusable.
        modes: The scores as written in the reply.
        reason: The teacher's reason.
        text: The text of the reply, quoted when the request is repeated.
        fault: Why the reply is unusable; None if it is valid.
        detail: The fault in words, for the model and for reports; never quotes the reply.
    """

    scores: tuple[float, ...]
    modes: tuple[float, ...]
    reason: str
    text: str
    fault: RejectReason | None
    detail: str


class _UnusableError(Exception):
    def __init__(self, fault: RejectReason, detail: str) -> None:
        self.fault, self.detail = fault, detail


def parse_reply(reply: dict[str, Any], rubric: Rubric, models: frozenset[str]) -> ParsedReply:
    """Parse and validate a reply.

    Args:
        reply: The decoded body of a chat completion.
        rubric: The rubric of the request.
        models: Model names that the reply may contain (see `is_same_model`).

    Returns:
        The scores, or the fault of the reply.
    """
    text = ""
    try:
        choice = _first_choice(reply)
        message = message_of(choice)
        finish = str(choice.get("finish_reason") or "").casefold()
        is_cut_off = finish in _LENGTH
        text = answer_text(message, rubric.axis_names, is_cut_off=is_cut_off)
        if (name := reply.get("model")) and not any(is_same_model(m, str(name)) for m in models):
            raise _UnusableError(
                RejectReason.WRONG_MODEL, "another model than the one asked for answered"
            )
        if has_refusal(message) or finish == "refusal":
            raise _UnusableError(RejectReason.REFUSED, "the model refused to judge this post")
        if finish in _FILTERED:
            raise _UnusableError(RejectReason.FILTERED, "the endpoint's content filter stopped it")
        values = _read_answer(text, rubric, is_cut_off=is_cut_off)
        modes = tuple(_parse_score(values, axis) for axis in rubric.axes)
        reason = _parse_reason(values, rubric.reply.language)
        scores = tuple(
            _expected_score(choice.get("logprobs"), axis, mode)
            for axis, mode in zip(rubric.axes, modes, strict=True)
        )
    except _UnusableError as unusable:
        return ParsedReply((), (), "", text, unusable.fault, unusable.detail)
    return ParsedReply(scores, modes, reason, text, None, "")


def load_language_identifier() -> None:
    """Load the language identifier, so that the first reply does not wait for it."""
    _language_identifier()


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _first_choice(reply: dict[str, Any]) -> dict[str, Any]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not all(map(_is_object, choices)):
        raise _UnusableError(RejectReason.EMPTY_REPLY, "it holds no answer")
    first: dict[str, Any] = choices[0]
    for other in choices[1:]:
        has_own_index = isinstance(other.get("index"), int) and other["index"] != first.get("index")
        if not has_own_index and message_of(other) != message_of(first):
            raise _UnusableError(
                RejectReason.INVALID_REPLY, "it contains several answers that disagree"
            )
    return first


def _read_answer(text: str, rubric: Rubric, *, is_cut_off: bool) -> dict[str, Any]:
    """Find the answer after the reasoning, or say why there is none."""
    answer = _without_reasoning(text) if len(text) <= _MAX_CHARS else text
    if len(answer or "") > _MAX_ANSWER_CHARS:
        raise _UnusableError(RejectReason.INVALID_REPLY, "it is far too long; be brief")
    try:
        values = find_answer(answer or "", rubric.axis_names)
        fault, detail = RejectReason.INVALID_REPLY, "it holds no JSON object with the axes as keys"
    except AmbiguousAnswerError as error:
        values, fault, detail = None, RejectReason.INVALID_REPLY, str(error)
    # A draft may be the last object before the limit: only an answer without other text counts.
    if is_cut_off and (values is None or _has_other_text(answer or "")):
        raise _UnusableError(RejectReason.CUT_OFF, "it was cut off before its end; be brief")
    if values is not None:
        return values
    if answer is None:
        raise _UnusableError(RejectReason.EMPTY_REPLY, "it holds reasoning but no answer")
    if not answer.strip():
        raise _UnusableError(RejectReason.EMPTY_REPLY, "it is empty")
    if _REFUSAL.match(answer.strip()):
        raise _UnusableError(RejectReason.REFUSED, "the model refused to judge this post")
    raise _UnusableError(fault, detail)


def _without_reasoning(text: str) -> str | None:
    if not find_reasoning_markers(text):
        return text
    # A reason may quote a marker.
    objects = find_objects(text, can_repair=False)
    return cut_reasoning(text, [(f.start, f.end) for f in objects if f.value is not None])


def _has_other_text(answer: str) -> bool:
    for found in reversed(list(find_objects(answer))):
        answer = answer[: found.start] + answer[found.end :]
    return any(map(str.isalnum, _WRAPPING.sub("", answer)))


def _parse_score(values: dict[str, Any], axis: RubricAxis) -> float:
    if axis.name not in values:
        raise _UnusableError(RejectReason.INVALID_REPLY, f"the score `{axis.name}` is missing")
    score = plain_number(values[axis.name])
    if score is None:
        raise _UnusableError(RejectReason.NOT_A_NUMBER, f"`{axis.name}` is not a plain number")
    if not math.isfinite(score):
        raise _UnusableError(RejectReason.NOT_A_NUMBER, f"`{axis.name}` is not a finite number")
    if not axis.low <= score <= axis.high:
        allowed = f"{axis.low:g} to {axis.high:g}"
        raise _UnusableError(RejectReason.OUT_OF_RANGE, f"`{axis.name}` is not within {allowed}")
    return score


def _parse_reason(values: dict[str, Any], language: str | None) -> str:
    reason = values.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise _UnusableError(RejectReason.INVALID_REPLY, "the `reason` is missing")
    if language and sum(map(str.isalpha, reason)) >= _min_letters(reason):
        identified, certainty = _language_identifier().classify(reason)
        if identified != language and certainty >= _MIN_CERTAINTY:
            detail = f"its `reason` is in another language than `{language}`"
            raise _UnusableError(RejectReason.OTHER_LANGUAGE, detail)
    return reason.strip()


def _min_letters(text: str) -> int:
    """Return a lower minimum for scripts whose letters stand for syllables or words."""
    return _MIN_LETTERS if text.isascii() or max(text) < "\u2e80" else _MIN_LETTERS // 4


@cache
def _language_identifier() -> Any:  # noqa: ANN401 - py3langid has no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _expected_score(logprobs: object, axis: RubricAxis, mode: float) -> float:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return mode
    score = expected_score(tokens, axis, mode)
    return mode if score is None else score
