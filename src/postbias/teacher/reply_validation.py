"""From a raw reply to scores, or to what is wrong with it.

Knows the protocol's shape of a reply and the rubric, no network and no store. A reply counts only
if it has every axis in range and finite, and a reason in the language asked for. Where the endpoint
gave probabilities of tokens, a score is their expectation, and the mode is kept beside it.
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

_THINKING = re.compile(r"<think>.*?(</think>|\Z)", re.DOTALL)
_REFUSAL = re.compile(
    r"^\W*(i.?m (very )?sorry|sorry,|i (can.?t|cannot|can not|won.?t|am (un|not )able)|"
    r"i.?m (unable|not able)|as an ai\b|unfortunately, i)",
    re.IGNORECASE,
)
# Below these a language cannot be told: names and quotations dominate.
_MIN_LETTERS = 24
_MIN_CERTAINTY = 0.8


@dataclass(frozen=True, slots=True)
class ParsedReply:
    """What a reply is worth.

    Attributes:
        scores: One per axis in rubric order; empty if the reply cannot be used.
        modes: The scores as written in the reply.
        reason: The teacher's reason.
        text: The text of the reply, for asking again.
        fault: Why it cannot be used; None if it can.
        detail: The fault in words fit for the model and for a report; quotes nothing.
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
    """Judge a reply.

    Args:
        reply: The decoded body of a chat completion.
        rubric: What was asked.
        models: Names under which the model may answer (see `is_same_model`).

    Returns:
        Its scores, or its fault.
    """
    text = ""
    try:
        choice = _choice(reply)
        message = choice.get("message") or {}
        text = str(message.get("content") or "")
        if (name := reply.get("model")) and not any(is_same_model(m, str(name)) for m in models):
            raise _UnusableError(
                RejectReason.WRONG_MODEL, "another model than the one asked for answered"
            )
        modes, reason = _read(choice, message, text, rubric)
        scores = tuple(
            _expected(choice.get("logprobs"), axis, mode)
            for axis, mode in zip(rubric.axes, modes, strict=True)
        )
    except _UnusableError as unusable:
        return ParsedReply((), (), "", text, unusable.fault, unusable.detail)
    return ParsedReply(scores, modes, reason, text, None, "")


def load_language_identifier() -> None:
    """Load the language model, so that the first reply does not wait for it."""
    _identifier()


def is_same_model(asked: str, answered: str) -> bool:
    """Tell whether an answer's model name may stand for the one asked for.

    Endpoints add a date, a vendor or a quantisation: `gpt-4o` answers as `gpt-4o-2024-08-06`.

    Args:
        asked: The name in the request.
        answered: The name in the reply.

    Returns:
        Whether one is the other with a vendor in front or a suffix behind.
    """
    a, b = (name.casefold().rstrip("/").rsplit("/", 1)[-1] for name in (asked, answered))
    return a == b or (b.startswith(a) and not b[len(a)].isalnum() and b[len(a)] != ".")


def _choice(reply: dict[str, Any]) -> dict[str, Any]:
    choices = reply.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise _UnusableError(RejectReason.EMPTY_REPLY, "it holds no answer")
    return choices[0]


def _read(
    choice: dict[str, Any], message: dict[str, Any], text: str, rubric: Rubric
) -> tuple[tuple[float, ...], str]:
    finish = choice.get("finish_reason")
    if message.get("refusal"):
        raise _UnusableError(RejectReason.REFUSED, "the model refused to judge this post")
    if finish == "content_filter":
        raise _UnusableError(RejectReason.FILTERED, "the endpoint's content filter stopped it")
    spoken = _THINKING.sub("", text).strip()
    found = _find_object(spoken, rubric)
    if found is None:
        if finish == "length":
            raise _UnusableError(RejectReason.CUT_OFF, "it was cut off before its end; be brief")
        if not spoken:
            raise _UnusableError(RejectReason.EMPTY_REPLY, "it is empty")
        if _REFUSAL.match(spoken):
            raise _UnusableError(RejectReason.REFUSED, "the model refused to judge this post")
        raise _UnusableError(
            RejectReason.INVALID_REPLY, "it holds no JSON object with the axes as keys"
        )
    modes = tuple(_score(found, axis) for axis in rubric.axes)
    return modes, _reason(found, rubric.reply.language)


def _find_object(text: str, rubric: Rubric) -> dict[str, Any] | None:
    """Find the first JSON object that names an axis: models put fences and talk around it."""
    decoder, start = json.JSONDecoder(), text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            if any(axis.name in found for axis in rubric.axes):
                return dict(found)
        start = text.find("{", end)
    return None


def _score(found: dict[str, Any], axis: RubricAxis) -> float:
    if axis.name not in found:
        raise _UnusableError(RejectReason.INVALID_REPLY, f"the score `{axis.name}` is missing")
    value = found[axis.name]
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


def _reason(found: dict[str, Any], language: str | None) -> str:
    reason = found.get("reason")
    if not isinstance(reason, str) or not reason.strip():
        raise _UnusableError(RejectReason.INVALID_REPLY, "the `reason` is missing")
    if language and sum(map(str.isalpha, reason)) >= _min_letters(reason):
        spoken, certainty = _identifier().classify(reason)
        if spoken != language and certainty >= _MIN_CERTAINTY:
            detail = f"its `reason` is in another language than `{language}`"
            raise _UnusableError(RejectReason.OTHER_LANGUAGE, detail)
    return reason.strip()


def _min_letters(text: str) -> int:
    """Ask for fewer letters of a script in which one stands for a syllable or a word."""
    return _MIN_LETTERS if text.isascii() or max(text) < "\u2e80" else _MIN_LETTERS // 4


@cache
def _identifier() -> Any:  # noqa: ANN401 - py3langid has no types
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


def _expected(logprobs: object, axis: RubricAxis, mode: float) -> float:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list) or not tokens:
        return mode
    found = expected_score(tokens, axis, mode)
    return mode if found is None else found
