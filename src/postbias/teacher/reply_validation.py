"""Validate a teacher's reply: extract its scores, or say why it cannot be used.

A valid reply has a finite score in range for every axis and a reason in the required language.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

from postbias.posts.reasons import RejectReason
from postbias.teacher.rubric import Rubric, RubricAxis
from postbias.teacher.token_probabilities import expected_score

_REASONING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_REFUSAL = re.compile(
    r"^\W*(i.?m (very )?sorry|sorry,|i (can.?t|cannot|can not|won.?t|am (un|not )able)|"
    r"i.?m (unable|not able)|as an ai\b|unfortunately, i)",
    re.IGNORECASE,
)
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
        message = choice.get("message") or {}
        text = str(message.get("content") or "")
        if (name := reply.get("model")) and not any(is_same_model(m, str(name)) for m in models):
            raise _UnusableError(
                RejectReason.WRONG_MODEL, "another model than the one asked for answered"
            )
        modes, reason = _parse_message(choice, message, text, rubric)
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


def is_same_model(requested: str, returned: str) -> bool:
    """Check whether two model names denote the same model.

    Endpoints add a vendor, a date or a quantisation: `gpt-4o` replies as `gpt-4o-2024-08-06`.

    Args:
        requested: The name in the request.
        returned: The name in the reply.

    Returns:
        Whether the returned name is the requested one with a vendor prefix or a suffix.
    """
    a, b = (name.casefold().rstrip("/").rsplit("/", 1)[-1] for name in (requested, returned))
    return a == b or (b.startswith(a) and not b[len(a)].isalnum() and b[len(a)] != ".")


def _first_choice(reply: dict[str, Any]) -> dict[str, Any]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _UnusableError(RejectReason.EMPTY_REPLY, "it holds no answer")
    return choices[0]


def _parse_message(
    choice: dict[str, Any], message: dict[str, Any], text: str, rubric: Rubric
) -> tuple[tuple[float, ...], str]:
    finish = choice.get("finish_reason")
    if message.get("refusal"):
        raise _UnusableError(RejectReason.REFUSED, "the model refused to judge this post")
    if finish == "content_filter":
        raise _UnusableError(RejectReason.FILTERED, "the endpoint's content filter stopped it")
    answer = _REASONING.sub("", text).strip()
    values = _find_object(answer, rubric)
    if values is None:
        if finish == "length":
            raise _UnusableError(RejectReason.CUT_OFF, "it was cut off before its end; be brief")
        if not answer:
            raise _UnusableError(RejectReason.EMPTY_REPLY, "it is empty")
        if _REFUSAL.match(answer):
            raise _UnusableError(RejectReason.REFUSED, "the model refused to judge this post")
        raise _UnusableError(
            RejectReason.INVALID_REPLY, "it holds no JSON object with the axes as keys"
        )
    modes = tuple(_parse_score(values, axis) for axis in rubric.axes)
    return modes, _parse_reason(values, rubric.reply.language)


def _find_object(text: str, rubric: Rubric) -> dict[str, Any] | None:
    """Find the first JSON object that names an axis; models add fences and text around it."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            values, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if any(axis.name in values for axis in rubric.axes):
                return dict(values)
        start = text.find("{", end)
    return None


def _parse_score(values: dict[str, Any], axis: RubricAxis) -> float:
    if axis.name not in values:
        raise _UnusableError(RejectReason.INVALID_REPLY, f"the score `{axis.name}` is missing")
    value = values[axis.name]
    try:
        if isinstance(value, bool):
            raise ValueError
        score = float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise _UnusableError(
            RejectReason.NOT_A_NUMBER, f"`{axis.name}` is not a plain number"
        ) from error
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
