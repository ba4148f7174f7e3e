"""The expected score under the probabilities of a reply's tokens.

Real teachers heap: 37% of one real set is 8.5. Between two heaps lies what the model was unsure of,
and its token probabilities still know it. Follows the tokens of a number as it was written; at each
of them the alternatives stand for the scores on the rubric's scale that they begin. Where one
begins several (`1` begins 1 and 10), it stands for the one nearest to what was written.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from postbias.teacher.rubric import RubricAxis

#: Alternatives that are no score say that the model was not choosing among scores.
_MIN_LEGAL_MASS = 0.5
_NUMBER = re.compile(rb"[-+]?[0-9]*\.?[0-9]*")


def expected_score(
    tokens: Sequence[dict[str, Any]], axis: RubricAxis, written: float
) -> float | None:
    """Compute the expected score of one axis.

    Args:
        tokens: `logprobs.content` of a reply.
        axis: The axis, whose name is the key before the number.
        written: The score that the reply states.

    Returns:
        The expectation over the scores on the scale; None if the number cannot be found or the
        probabilities are not about scores.
    """
    try:
        pieces = [_bytes(token) for token in tokens]
        text = b"".join(pieces)
        span = _find_number(text, axis.name)
        if span is None or float(text[slice(*span)]) != written:
            return None
        return _expectation(_Number(text, *span, axis, written), tokens, pieces)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        return None  # malformed probabilities: the score as written stands


@dataclass(frozen=True, slots=True)
class _Number:
    text: bytes
    first: int
    last: int
    axis: RubricAxis
    written: float


def _bytes(token: dict[str, Any]) -> bytes:
    given = token.get("bytes")
    return bytes(given) if given else str(token["token"]).encode()


def _find_number(text: bytes, name: str) -> tuple[int, int] | None:
    found = list(re.finditer(rb'"%s"\s*:\s*"?(-?[0-9][0-9.]*)' % name.encode(), text))
    return found[-1].span(1) if found else None


def _expectation(
    number: _Number, tokens: Sequence[dict[str, Any]], pieces: list[bytes]
) -> float | None:
    total = mass = illegal = 0.0
    # Probability of the number as written so far.
    reach, at = 1.0, 0
    for token, piece in zip(tokens, pieces, strict=True):
        start, at = at, at + len(piece)
        # The token after the number counts: it says that 1 did not become 10.
        if at <= number.first or start > number.last:
            continue
        for other in token.get("top_logprobs") or ():
            alternative = _bytes(other)
            if alternative == piece:
                continue
            share = reach * math.exp(float(other["logprob"]))
            value = _value(number, start, piece, alternative)
            if value is None:
                illegal += share
            else:
                total, mass = total + share * value, mass + share
        reach *= math.exp(float(token["logprob"]))
    total, mass = total + reach * number.written, mass + reach
    if not math.isfinite(total) or mass < _MIN_LEGAL_MASS or illegal > mass:
        return None
    return min(max(total / mass, number.axis.low), number.axis.high)


def _value(number: _Number, start: int, piece: bytes, alternative: bytes) -> float | None:
    """Return the score that an alternative token begins or ends, nearest to the one written."""
    lead = piece[: max(0, number.first - start)]
    rest = alternative.removeprefix(lead).lstrip(b' "')
    match = _NUMBER.match(rest)
    digits = match.group() if match else b""
    if not digits and start >= number.last:
        return number.written
    before = number.text[number.first : max(start, number.first)]
    prefix = (before + digits).decode("ascii", "replace")
    is_ended = len(digits) < len(rest) or not digits
    fits = [
        point
        for point in number.axis.points
        for spelling in (f"{point:g}", f"{point:.1f}")
        if (spelling == prefix if is_ended else spelling.startswith(prefix))
    ]
    return min(fits, key=lambda point: abs(point - number.written), default=None)
