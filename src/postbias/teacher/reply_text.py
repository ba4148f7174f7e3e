"""Read the text of an answer from a choice of a chat completion."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from postbias.teacher.answer_objects import find_objects
from postbias.teacher.reasoning_markers import is_reasoning_name

#: Fields in which a server may put the whole answer when it takes it for reasoning.
REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
_ANSWER_TYPES = frozenset({"text", "output_text", "input_text", "json", "output_json", "message"})
_TEXT_KEYS = ("text", "value", "json", "parts", "content")
_MAX_DEPTH = 5


def message_of(choice: dict[str, Any]) -> dict[str, Any]:
    """Return the message of a choice; a plain text is its content."""
    for key in ("message", "delta", "text"):
        message = choice.get(key)
        if isinstance(message, dict):
            return message
        if isinstance(message, (str, list)) and message:
            return {"content": message}
    return {}


def answer_text(
    message: dict[str, Any], axis_names: Sequence[str], *, is_cut_off: bool = False
) -> str:
    """Return the text of an answer.

    Args:
        message: The message of a choice.
        axis_names: Keys of an answer, by which an object as content is recognised.
        is_cut_off: Whether the reply ended at its maximum length.

    Returns:
        The content, read by type if it has parts; else the arguments of tool calls; else a field
        for reasoning whose value is one JSON object and nothing else, unless the reply was cut off:
        the object is then a draft.
    """
    text = content_text(message.get("content"), axis_names)
    if text.strip():
        return text
    if arguments := _tool_arguments(message):
        return arguments
    return text if is_cut_off else _whole_object(message) or text


def has_refusal(message: dict[str, Any]) -> bool:
    """Return whether a message says that the model refused."""
    content = message.get("content")
    parts = content if isinstance(content, list) else []
    return bool(message.get("refusal")) or any(
        isinstance(part, dict) and part.get("type") == "refusal" for part in parts
    )


def content_text(content: object, axis_names: Sequence[str], depth: int = 0) -> str:
    """Return the text of a content: a string, an object, or parts of which some are reasoning."""
    if isinstance(content, str):
        return content
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(content, list):
        return "".join(content_text(part, axis_names, depth + 1) for part in content)
    if not isinstance(content, dict):
        return ""
    if any(name in content for name in axis_names):
        return json.dumps(content)
    kind, channel = (str(content.get(key) or "") for key in ("type", "channel"))
    is_reasoning = is_reasoning_name(channel) or content.get("thought") is True
    if is_reasoning or (kind and kind not in _ANSWER_TYPES):
        return ""
    for key in _TEXT_KEYS:
        if key in content:
            return content_text(content[key], axis_names, depth + 1)
    return "" if kind else json.dumps(content)


def _tool_arguments(message: dict[str, Any]) -> str:
    calls = message.get("tool_calls")
    calls = calls if isinstance(calls, list) else []
    functions = [call.get("function") for call in calls if isinstance(call, dict)]
    functions.append(message.get("function_call"))
    arguments = [function.get("arguments") for function in functions if isinstance(function, dict)]
    return "\n".join(a if isinstance(a, str) else json.dumps(a) for a in arguments if a)


def _whole_object(message: dict[str, Any]) -> str:
    details = message.get("reasoning_details")
    texts = [message.get(name) for name in REASONING_FIELDS]
    if isinstance(details, list):
        texts += [
            "".join(str(part.get("text") or "") for part in details if isinstance(part, dict))
        ]
    for text in texts:
        stripped = text.strip() if isinstance(text, str) else ""
        # Anything beside the object may be a draft's reasoning.
        if [(found.start, found.end) for found in find_objects(stripped)] == [(0, len(stripped))]:
            return stripped
    return ""
