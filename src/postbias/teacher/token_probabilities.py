"""Compute expected scores from the token probabilities of a reply.

Teachers heap: 37% of the scores in one real label set are 8.5. The expectation over the scores that
the model considered is finer. At each token of the written number, every alternative token stands
for the scores on the scale that begin with it; if there are several (`1` begins 1 and 10), for the
one nearest to the written score.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from postbias.teacher.rubric import RubricAxis

#: With less probability on valid scores, the model was not choosing among scores.
_MIN_VALID_MASS = 0.5
_NUMBER = re.compile(rb"[-+]?[0-9]*\.?[0-9]*")


def expected_score(
    tokens: Sequence[dict[str, Any]], axis: RubricAxis, written: float
) -> float | None:
    """Compute the expected score of one axis.

    Args:
        tokens: `logprobs.content` of a reply.
        axis: The axis; its name is the JSON key before the number.
        written: The score as written in the reply.

    Returns:
        The expectation over the scores on the scale; None if the number is not found or most of the
        probability is not on scores.
    """
    try:
        token_bytes = [_to_bytes(token) for token in tokens]
        text = b"".join(token_bytes)
        span = _find_number(text, axis.name)
        if span is None or float(text[slice(*span)]) != written:
            return None
        return _expectation(_WrittenNumber(text, *span, axis, written), tokens, token_bytes)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None  # malformed probabilities: keep the score as written


@dataclass(frozen=True, slots=True)
class _WrittenNumber:
    text: bytes
    start: int
    end: int
    axis: RubricAxis
    written: float


def _to_bytes(token: dict[str, Any]) -> bytes:
    raw = token.get("bytes")
    return bytes(raw) if raw else str(token["token"]).encode()


def _find_number(text: bytes, name: str) -> tuple[int, int] | None:
    matches = list(re.finditer(rb'"%s"\s*:\s*"?(-?[0-9][0-9.]*)' % name.encode(), text))
    return matches[-1].span(1) if matches else None


def _expectation(
    number: _WrittenNumber, tokens: Sequence[dict[str, Any]], token_bytes: list[bytes]
) -> float | None:
    total = valid_mass = invalid_mass = 0.0
    # Probability of the number as written up to the current token.
    prefix_probability, offset = 1.0, 0
    for token, piece in zip(tokens, token_bytes, strict=True):
        start, offset = offset, offset + len(piece)
        # Include the token after the number: it decides that 1 does not become 10.
        if offset <= number.start or start > number.end:
            continue
        for candidate in token.get("top_logprobs") or ():
            alternative = _to_bytes(candidate)
            if alternative == piece:
                continue
            probability = prefix_probability * math.exp(float(candidate["logprob"]))
            score = _alternative_score(number, start, piece, alternative)
            if score is None:
                invalid_mass += probability
            else:
                total, valid_mass = total + probability * score, valid_mass + probability
        prefix_probability *= math.exp(float(token["logprob"]))
    total, valid_mass = total + prefix_probability * number.written, valid_mass + prefix_probability
    if not math.isfinite(total) or valid_mass < _MIN_VALID_MASS or invalid_mass > valid_mass:
        return None
    return min(max(total / valid_mass, number.axis.low), number.axis.high)


def _alternative_score(
    number: _WrittenNumber, start: int, piece: bytes, alternative: bytes
) -> float | None:
    """Return the score that an alternative token begins or ends, nearest to the written one."""
    lead = piece[: max(0, number.start - start)]
    rest = alternative.removeprefix(lead).lstrip(b' "')
    match = _NUMBER.match(rest)
    digits = match.group() if match else b""
    if not digits and start >= number.end:
        return number.written
    before = number.text[number.start : max(start, number.start)]
    prefix = (before + digits).decode("ascii", "replace")
    has_ended = len(digits) < len(rest) or not digits
    candidates = [
        point
        for point in number.axis.points
        for spelling in (f"{point:g}", f"{point:.1f}")
        if (spelling == prefix if has_ended else spelling.startswith(prefix))
    ]
    return min(candidates, key=lambda point: abs(point - number.written), default=None)
