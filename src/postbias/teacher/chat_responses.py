"""Decode the responses of chat completion endpoints into the protocol's standard form.

Servers and gateways deviate from it: they send errors with status 200, event streams that nobody
requested, answers in other fields, and text and numbers that cannot be stored.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from postbias.posts.reasons import RejectReason
from postbias.teacher.event_streams import join_chunks, parse_event_stream
from postbias.teacher.reply_text import REASONING_FIELDS, content_text, message_of
from postbias.teacher.request_failures import (
    NextStep,
    RequestFailedError,
    RequestFailure,
    failure_from_error_body,
)

#: More tokens than any request takes: a larger count is an error of the server.
MAX_TOKEN_COUNT = 100_000_000
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")
#: Finish reasons of an answer that the server broke off.
_FAILED = frozenset({"error", "abort", "insufficient_system_resource"})
#: Keys under which some gateways wrap the response.
_WRAPPERS = ("output", "data", "result", "response", "body")


@dataclass(frozen=True, slots=True)
class ChatResponse:
    """The response to a chat completion request.

    Attributes:
        body: The decoded response in the protocol's standard form (see `normalize_body`).
        raw: The body as received.
        latency_s: Time from sending to the last byte.
    """

    body: dict[str, Any]
    raw: bytes
    latency_s: float

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Input and output tokens as reported; None where missing or impossible."""
        return count_tokens(self.body)


def count_tokens(body: dict[str, Any]) -> tuple[int | None, int | None]:
    """Read the input and output tokens of a response; None where missing or impossible.

    Reasoning tokens that are only part of `total_tokens` count as output.
    """
    usage = body.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    tokens_in = _token_count(usage.get("prompt_tokens"))
    tokens_out = _token_count(usage.get("completion_tokens"))
    total = _token_count(usage.get("total_tokens"))
    if tokens_in is not None and tokens_out is not None and total is not None:
        tokens_out = max(tokens_out, total - tokens_in)
    return tokens_in, tokens_out


def decode_response(raw: bytes) -> dict[str, Any]:
    """Decode a response body into the protocol's standard form.

    Text is repaired so that it can be stored: bytes that are not UTF-8 and lone surrogates become
    U+FFFD.

    Args:
        raw: The body as received.

    Raises:
        RequestFailedError: If the body is not a chat completion, or is an error of the gateway.
    """
    text = raw.decode(json.detect_encoding(raw), "replace").strip("\ufeff \t\r\n")
    try:
        chunks = parse_event_stream(text)
        body = json.loads(text) if chunks is None else join_chunks(chunks)
        if _SURROGATE_ESCAPE.search(text):
            body = replace_surrogates(body)
    except (ValueError, RecursionError) as error:
        detail = "the answer is no JSON object"
        if text.startswith("<"):
            detail = "the answer is HTML, not JSON"
        raise RequestFailedError(_damaged(detail)) from error
    return normalize_body(body)


def normalize_body(body: object) -> dict[str, Any]:
    """Return the chat completion in a decoded response, which some gateways wrap.

    Args:
        body: Any JSON value.

    Raises:
        RequestFailedError: If the body is not a chat completion, or is an error of the gateway.
    """
    if isinstance(body, list) and len(body) == 1:
        body = body[0]
    if not isinstance(body, dict):
        raise RequestFailedError(_damaged("the answer is no JSON object"))
    body = _sort_choices(_unwrap(body))
    if (failure := _find_failure(body)) is not None:
        raise RequestFailedError(failure)
    return body


def misplaced_answer_field(body: dict[str, Any]) -> str | None:
    """Return the reasoning field that holds text while the content of the message is empty."""
    choices = body.get("choices")
    message = message_of(choices[0]) if choices else {}
    if content_text(message.get("content"), ()).strip():
        return None
    texts = {name: message.get(name) for name in REASONING_FIELDS}
    return next((name for name, text in texts.items() if isinstance(text, str) and text), None)


def replace_surrogates(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Replace lone surrogates, which no file or database can store, by U+FFFD in a JSON value."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(v) for key, v in value.items()}
    return value


def _unwrap(body: dict[str, Any]) -> dict[str, Any]:
    if "choices" in body:
        return body
    for name in _WRAPPERS:
        inner = body.get(name)
        if isinstance(inner, dict) and isinstance(inner.get("choices"), list):
            return {**body, **inner}
    if isinstance(body.get("message"), dict) and "content" in body["message"]:
        return {**body, "choices": [{"message": body["message"], "finish_reason": None}]}
    return body


def _sort_choices(body: dict[str, Any]) -> dict[str, Any]:
    """Sort the choices by their index, which is not always their position."""
    choices = body.get("choices")
    if not isinstance(choices, list) or len(choices) < 2:
        return body
    indices = [choice.get("index") for choice in choices if isinstance(choice, dict)]
    if len(indices) < len(choices) or not all(isinstance(index, int) for index in indices):
        return body
    return {**body, "choices": sorted(choices, key=lambda choice: int(choice["index"]))}


def _find_failure(body: dict[str, Any]) -> RequestFailure | None:
    """Find the error in a response with status 200; None if it is a chat completion."""
    errors = body.get("errors")
    error = body.get("error") or (errors[0] if isinstance(errors, list) and errors else None)
    if error:
        return failure_from_error_body(body if error is True else error)
    if body.get("object") == "error" or body.get("type") == "error":
        return failure_from_error_body(body)
    choices = body.get("choices")
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        return failure_from_error_body(body)
    first = choices[0] if choices else {}
    if first.get("error") or str(first.get("finish_reason")).casefold() in _FAILED:
        return failure_from_error_body(first.get("error") or first)
    return None


def _token_count(value: object) -> int | None:
    """Read a positive count written as an integer, a whole float or a string of digits."""
    if isinstance(value, str) and value.strip().isdecimal() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 < value <= MAX_TOKEN_COUNT else None


def _damaged(detail: str) -> RequestFailure:
    return RequestFailure(NextStep.RETRY, RejectReason.DAMAGED_REPLY, detail, may_be_billed=True)
