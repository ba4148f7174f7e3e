"""Find the JSON object with the scores in the text of an answer.

A draft must never become a label: objects that disagree, or a broken object beside a complete one,
are a fault. Nothing is ever chosen among them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import json5

from postbias.teacher.reasoning_markers import is_reasoning_name

#: Limits on the work that a reply can cause; an answer has a few hundred characters. After a broken
#: object no object counts, so that the search can stop.
_MAX_REPAIR_CHARS = 8_000
_MAX_REPAIRS = 10
_MAX_BROKEN = 100
#: A brace followed by a key or a comment.
_OBJECT_START = re.compile(r"\{\s*(?:[\"'\u201c\u2018]|[\w$]+\s*:|//|/\*|#)")
#: float() would also read `1_0`, `infinity` and digits of other scripts.
_PLAIN_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_SCORE_KEYS = ("score", "value", "rating")
#: A key that may state another scale, as in `{"score": 3, "out_of": 5}`.
_SCALE_KEY = re.compile(r"scale|range|max|min|out.?of|total|denominator|bound|limit|lowest|highest")
#: What may stand between the name of an axis and its score in prose or a table.
_LINK = (
    r"[\"'`*|\s]{0,9}(?:\([^()\n]{0,20}\))?"
    r"(?:[\"'`*|\s]{0,9}(?:score|rating|is|was|be|of|to|at|as|should|would|could|rather|now|instead"
    r"|[=:]|->|\u2192)){0,6}[\"'`*|\s]{0,9}"
)
_STATED = r"(?P<score>[+-]?[0-9]+(?:\.[0-9]+)?)(?!\s*(?:-|\u2013|to\b|\.\.)\s*[0-9])"

#: Replaces the value of a key that occurs twice with different values.
_CONFLICT = object()


class AmbiguousAnswerError(Exception):
    """The text contains no single answer."""


@dataclass(frozen=True, slots=True)
class TextObject:
    """A JSON object in a text.

    Attributes:
        start: Index of its opening brace.
        end: Index after its closing brace.
        value: The object with case-folded keys; None if it cannot be parsed.
        is_repaired: Whether it is JSON5 and not JSON.
    """

    start: int
    end: int
    value: dict[str, Any] | None
    is_repaired: bool = False


def find_objects(text: str, *, can_repair: bool = True) -> Iterator[TextObject]:
    """Find the outermost objects of a text, and the starts of objects that cannot be parsed.

    Args:
        text: Any text.
        can_repair: Whether to accept JSON5: trailing commas, single quotes, comments and unquoted
            keys. Its grammar adds no value that is not in the text; json-repair would also complete
            `{"bias": 1`, the first half of a 10.

    Yields:
        The objects in text order.
    """
    n_broken, n_repairs, position = 0, 0, text.find("{")
    while position >= 0 and n_broken < _MAX_BROKEN:
        found = _parse_json(text, position)
        if found is None and _OBJECT_START.match(text, position):
            if can_repair and n_repairs < _MAX_REPAIRS:
                n_repairs += 1
                found = _parse_json5(text, position)
            if found is None:
                n_broken += 1
                found = TextObject(position, position + 1, None)
        if found is not None:
            yield found
        position = text.find("{", position + 1 if found is None else found.end)


def find_answer(text: str, axis_names: Sequence[str]) -> dict[str, Any] | None:
    """Find the object with the axes as keys, at the top level or inside objects and lists.

    Args:
        text: The text of a reply without the reasoning.
        axis_names: The axes.

    Returns:
        The values of the axes that the object has, and its `reason`; None if there is no object.

    Raises:
        AmbiguousAnswerError: If there are several answers that disagree, or broken ones.
    """
    text = _unquote(text)
    objects = list(find_objects(text))
    answers = [
        answer
        for found in objects
        if found.value is not None
        for answer in _answers_in(found.value, axis_names)
    ]
    if not answers:
        return None
    if any(found.value is None for found in objects):
        raise AmbiguousAnswerError("it contains an object that is not valid JSON")
    for found in objects:
        if found.is_repaired and _has_repeated_key(text[found.start : found.end], axis_names):
            raise AmbiguousAnswerError("it is not valid JSON")
    answers = _drop_forms(answers, axis_names)
    if any(_has_conflict(answers, name) for name in axis_names):
        raise AmbiguousAnswerError(
            "it contains several answers that disagree; reply with a single JSON object"
        )
    _check_remainder(text[objects[-1].end :], answers[-1], axis_names)
    complete = [answer for answer in answers if all(name in answer for name in axis_names)]
    return (complete or answers)[-1]


def plain_number(value: object) -> float | None:
    """Return the number that a value states, as in `3`, `"3.5"` or `{"score": 3}`; else None."""
    if isinstance(value, dict):
        if any(_SCALE_KEY.search(key) for key in value):
            return None
        scores = [value[key] for key in _SCORE_KEYS if key in value]
        value = scores[0] if len(scores) == 1 else None
    if isinstance(value, str) and _PLAIN_NUMBER.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        return float(value) + 0.0  # turns -0.0 into 0.0
    except OverflowError:
        return None


def _to_dict(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, value in pairs:
        name = key.strip().casefold()
        values[name] = _CONFLICT if name in values and values[name] != value else value
    return values


_DECODER = json.JSONDecoder(strict=False, object_pairs_hook=_to_dict)


def _parse_json(text: str, position: int) -> TextObject | None:
    try:
        value, end = _DECODER.raw_decode(text, position)
    except (ValueError, RecursionError):
        return None
    return TextObject(position, end, value)


def _parse_json5(text: str, position: int) -> TextObject | None:
    try:
        value, error, length = json5.parse(
            text[position : position + _MAX_REPAIR_CHARS],
            strict=False,
            object_pairs_hook=_to_dict,
            consume_trailing=False,
        )
    except (ValueError, RecursionError):
        return None
    return None if error else TextObject(position, position + length, value, is_repaired=True)


def _unquote(text: str) -> str:
    """Decode a text that is one JSON string with an object inside."""
    if (quoted := text.strip()).startswith('"{'):
        try:
            return str(json.loads(quoted, strict=False))
        except ValueError:
            return text
    return text


def _answers_in(value: dict[str, Any], axis_names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Yield the objects that name an axis, each with the nearest `reason` at or above it."""
    stack: list[tuple[Any, Any]] = [(value, None)]
    while stack:
        node, reason = stack.pop()
        if isinstance(node, str) and node.lstrip().startswith("{"):
            nested = _parse_json(node.strip(), 0)
            node = nested.value if nested else None
        if isinstance(node, list):
            stack += [(child, reason) for child in reversed(node)]
        elif isinstance(node, dict):
            reason = node.get("reason", reason)
            axes = {name: node[name] for name in axis_names if name in node}
            if axes:
                yield {**axes, "reason": reason}
            stack += [
                (child, reason)
                for key, child in reversed(node.items())
                if key not in axes and not is_reasoning_name(key)
            ]


def _has_repeated_key(source: str, axis_names: Sequence[str]) -> bool:
    """Return whether a comment may contain another score."""
    patterns = [rf"\b{name}\b[\"']?\s*:" for name in axis_names]
    return any(len(re.findall(pattern, source, re.IGNORECASE)) > 1 for pattern in patterns)


def _drop_forms(answers: list[dict[str, Any]], axis_names: Sequence[str]) -> list[dict[str, Any]]:
    """Drop objects without a number before the answer: an echoed schema or an empty form."""
    for i, answer in enumerate(answers):
        if any(plain_number(answer.get(name)) is not None for name in axis_names):
            return answers[i:]
    return answers[-1:]


def _has_conflict(answers: Sequence[dict[str, Any]], name: str) -> bool:
    values = [answer[name] for answer in answers if name in answer]
    is_twofold = any(value is _CONFLICT for value in values)
    return is_twofold or len({plain_number(value) for value in values}) > 1


def _check_remainder(text: str, answer: dict[str, Any], axis_names: Sequence[str]) -> None:
    """Refuse an answer that the text after it revises, as in "Wait, the bias should be 3"."""
    for name in axis_names:
        pattern = rf"\b{name.replace('_', '[_ ]')}\b{_LINK}{_STATED}"
        for match in re.finditer(pattern, text, re.IGNORECASE):
            if float(match["score"]) != plain_number(answer.get(name)):
                raise AmbiguousAnswerError("the text after its JSON object states another score")
