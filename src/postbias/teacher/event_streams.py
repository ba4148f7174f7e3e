"""Join the chunks of an event stream, which some gateways send although none was requested."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

_FIELDS = ("data:", "event:", "id:", "retry:", ":")
_END = "[DONE]"


def parse_event_stream(text: str) -> list[Any] | None:
    """Parse the events of a stream, server-sent or one JSON object per line; None for other text.

    Args:
        text: A response body.

    Returns:
        The chunks.

    Raises:
        ValueError: If an event is not JSON, or the stream breaks off before its end.
    """
    if text.startswith(_FIELDS):
        events = list(_server_sent_events(text.splitlines()))
        if not events:
            raise ValueError("no data in the event stream")
        chunks = [json.loads(data) for data in events if data != _END]
        is_complete = events[-1] == _END or any(_is_last(chunk) for chunk in chunks)
    elif text.startswith("{") and "\n" in text:
        chunks = _json_lines(text)
        is_complete = any(_is_last(chunk) for chunk in chunks)
        if len(chunks) < 2:
            return None
    else:
        return None
    if not is_complete:
        raise ValueError("the event stream breaks off")
    return chunks


def join_chunks(chunks: Sequence[Any]) -> dict[str, Any]:
    """Join the chunks of a streamed chat completion into the body of an unstreamed one.

    An error among the chunks becomes the `error` of the body.
    """
    body: dict[str, Any] = {}
    choice: dict[str, Any] = {}
    message: dict[str, Any] = {"role": "assistant", "content": None}
    logprobs: list[Any] = []
    for chunk in chunks:
        if not isinstance(chunk, dict):
            continue
        body |= {name: v for name, v in chunk.items() if v and name not in {"choices", "message"}}
        for part in _first_choices(chunk) or [{"delta": chunk.get("message")}]:
            choice |= {name: v for name, v in part.items() if v and name != "delta"}
            logprobs += _token_logprobs(part)
            _append(message, part.get("delta"))
    if logprobs:
        choice["logprobs"] = {"content": logprobs}
    has_choice = bool(choice) or any(value for name, value in message.items() if name != "role")
    if not has_choice:
        return body
    return {**body, "choices": [{"message": message, **choice}]}


def _server_sent_events(lines: Iterable[str]) -> Iterator[str]:
    """Yield the data of each event; lines of one event belong together."""
    data: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("data:"):
            data.append(line.removeprefix("data:").strip())
        elif not line.strip() and data:
            yield "\n".join(data)
            data = []


def _json_lines(text: str) -> list[Any]:
    try:
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except ValueError:
        return []  # one object over several lines


def _is_last(chunk: object) -> bool:
    if not isinstance(chunk, dict):
        return False
    return bool(
        chunk.get("done")
        or chunk.get("error")
        or any(part.get("finish_reason") or part.get("message") for part in _first_choices(chunk))
    )


def _first_choices(chunk: dict[str, Any]) -> list[dict[str, Any]]:
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return []
    return [part for part in choices if isinstance(part, dict) and not part.get("index")]


def _token_logprobs(part: dict[str, Any]) -> list[Any]:
    logprobs = part.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    return tokens if isinstance(tokens, list) else []


def _append(message: dict[str, Any], delta: object) -> None:
    """Append the text of a delta to each text field of the message."""
    if not isinstance(delta, dict):
        return
    for name, value in delta.items():
        if isinstance(value, str) and name != "role":
            message[name] = (message.get(name) or "") + value
        elif name == "tool_calls" and isinstance(value, list):
            _append_calls(message, value)
        elif value:
            message[name] = value


def _append_calls(message: dict[str, Any], parts: Sequence[Any]) -> None:
    """Append the arguments of each tool call; chunks name the call by its index."""
    calls: list[Any] = message.setdefault("tool_calls", [])
    for part in parts:
        function = part.get("function") if isinstance(part, dict) else None
        if not isinstance(function, dict):
            continue
        index = part.get("index")
        if not isinstance(index, int) or index >= len(calls):
            index = len(calls)
            calls.append({"function": {"arguments": ""}})
        calls[index]["function"]["arguments"] += str(function.get("arguments") or "")
