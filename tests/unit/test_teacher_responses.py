"""Decoding of responses: errors with status 200, event streams, values that cannot be stored."""

from __future__ import annotations

import json
from typing import Any

import pytest

from postbias.posts.reasons import RejectReason
from postbias.teacher.chat_responses import count_tokens, decode_response, misplaced_answer_field
from postbias.teacher.request_failures import NextStep, RequestFailedError, RequestFailure

ANSWER = '{"bias": 3, "orientation": 5, "reason": "It is a plain caption."}'


def completion(**message: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def decode(body: object) -> dict[str, Any]:
    return decode_response(json.dumps(body).encode())


def failure(body: object) -> RequestFailure:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(RequestFailedError) as caught:
        decode_response(raw)
    return caught.value.failure


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Provider returned error", "code": 502}},
        {"error": {"code": "503"}, "choices": []},
        {"error": "err.supplier_error", "status": "FAILED"},
        {"error": True, "message": "no", "code": 500},
        {"errors": [{"message": "upstream"}]},
        {"object": "error", "message": "overloaded", "code": 503},
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        {"choices": [{"error": {"code": 502}, "message": {"content": ""}}]},
        {"choices": [{"finish_reason": "error", "message": {"content": '{"bias": 3, "or'}}]},
        {"choices": [{"finish_reason": "abort", "message": {"content": ANSWER}}]},
        {"choices": [{"finish_reason": "insufficient_system_resource", "message": None}]},
        {"choices": None},
        {"detail": "Internal error"},
        {},
    ],
)
def test_an_error_of_the_gateway_with_status_200_is_retried_and_may_be_billed(body: object) -> None:
    found = failure(body)
    assert (found.next_step, found.reason) == (NextStep.RETRY, RejectReason.SERVER_ERROR)
    assert found.may_be_billed


@pytest.mark.parametrize(
    ("error", "next_step"),
    [
        ({"code": 429}, NextStep.SLOW_DOWN),
        ({"code": "429"}, NextStep.SLOW_DOWN),
        ({"type": "rate_limit_error"}, NextStep.SLOW_DOWN),
        ({"code": "Throttling.RateQuota"}, NextStep.SLOW_DOWN),
        ({"code": 401}, NextStep.ABORT),
        ({"code": "insufficient_quota"}, NextStep.ABORT),
        ({"code": 400}, NextStep.CHECK_ENDPOINT),
        ({"code": "content_filter"}, NextStep.CHECK_ENDPOINT),
        ({"code": 10**30}, NextStep.RETRY),
    ],
)
def test_the_code_of_an_error_with_status_200_determines_the_next_step(
    error: dict[str, Any], next_step: NextStep
) -> None:
    assert failure({"error": error}).next_step is next_step
    assert failure({"object": "error", **error}).next_step is next_step


@pytest.mark.parametrize("raw", [b"", b"null", b"[]", b"{", b"\xff\xfe", b"[" * 100_000, b"data:"])
def test_a_body_that_is_not_json_is_damaged(raw: bytes) -> None:
    found = failure(raw)
    assert (found.next_step, found.reason) == (NextStep.RETRY, RejectReason.DAMAGED_REPLY)


def test_a_page_in_place_of_an_answer_is_named() -> None:
    assert failure(b"<html>Sign in</html>").detail == "the answer is HTML, not JSON"


@pytest.mark.parametrize("wrapper", ["output", "data", "response"])
def test_a_wrapped_completion_is_read(wrapper: str) -> None:
    assert decode({"code": 200, wrapper: completion(content=ANSWER)})["choices"]
    assert decode([completion(content=ANSWER)])["choices"]


def chunk(delta: dict[str, Any], finish: str | None = None, **fields: Any) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return json.dumps({"object": "chat.completion.chunk", "choices": [choice], **fields})


PARTS = [
    chunk({"role": "assistant", "content": ANSWER[:20]}, model="m-1"),
    chunk({"content": ANSWER[20:]}),
    chunk({}, "stop", usage={"prompt_tokens": 900, "completion_tokens": 60}),
]


@pytest.mark.parametrize(
    "stream",
    [
        "".join(f"data: {part}\n\n" for part in PARTS) + "data: [DONE]\n\n",
        "".join(f"data:{part}\r\n\r\n" for part in PARTS),
        ": keep-alive\n\n" + "".join(f"event: message\ndata: {part}\n\n" for part in PARTS),
        "\n".join(PARTS),
    ],
)
def test_an_event_stream_that_was_not_requested_is_joined(stream: str) -> None:
    body = decode_response(stream.encode())
    assert body["choices"][0]["message"]["content"] == ANSWER
    assert body["model"] == "m-1"
    assert body["choices"][0]["finish_reason"] == "stop"
    assert count_tokens(body) == (900, 60)


def test_tool_calls_and_token_probabilities_of_a_stream_are_joined() -> None:
    calls = [
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": text}}]})
        for text in (ANSWER[:9], ANSWER[9:])
    ]
    body = decode_response(("".join(f"data: {c}\n\n" for c in calls) + "data: [DONE]").encode())
    (call,) = body["choices"][0]["message"]["tool_calls"]
    assert call["function"]["arguments"] == ANSWER
    tokens = [
        json.dumps(
            {"choices": [{"delta": {"content": t}, "logprobs": {"content": [{"token": t}]}}]}
        )
        for t in "ab"
    ]
    body = decode_response(("".join(f"data: {t}\n\n" for t in tokens) + "data: [DONE]").encode())
    assert body["choices"][0]["logprobs"]["content"] == [{"token": "a"}, {"token": "b"}]


def test_a_stream_that_breaks_off_or_holds_an_error_is_no_answer() -> None:
    assert failure(f"data: {PARTS[0]}\n\n".encode()).reason is RejectReason.DAMAGED_REPLY
    broken = f'data: {PARTS[0]}\n\ndata: {{"error": {{"code": 502}}}}\n\n'
    assert failure(broken.encode()).reason is RejectReason.SERVER_ERROR


@pytest.mark.parametrize(
    "text", ["a \\ud83d b", "\\udc00", "\\ud83d\\ud83d\\ude00", "\ufeff caf\u00e9"]
)
def test_all_text_of_a_response_can_be_stored(text: str) -> None:
    raw = json.dumps(completion(content="@@", model="@@")).replace("@@", text).encode()
    body = decode_response(raw)
    assert json.dumps(body, ensure_ascii=False).encode()
    pair = decode_response(json.dumps(completion(content="\U0001f600")).encode())
    assert pair["choices"][0]["message"]["content"] == "\U0001f600"
    invalid = decode_response(json.dumps(completion(content="@@")).encode().replace(b"@@", b"\xe9"))
    assert invalid["choices"][0]["message"]["content"] == "\ufffd"


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"prompt_tokens": 900, "completion_tokens": 60}, (900, 60)),
        ({"prompt_tokens": 900.0, "completion_tokens": "60"}, (900, 60)),
        ({"prompt_tokens": 900, "completion_tokens": 60, "total_tokens": 1500}, (900, 600)),
        ({"prompt_tokens": 10**30, "completion_tokens": -1}, (None, None)),
        ({"prompt_tokens": 0, "completion_tokens": True}, (None, None)),
        ({"prompt_tokens": float("inf"), "completion_tokens": float("nan")}, (None, None)),
        ({"prompt_tokens": "9" * 5000, "completion_tokens": [1]}, (None, None)),
        (None, (None, None)),
        ("many", (None, None)),
    ],
)
def test_token_counts_are_read_where_they_are_possible(
    usage: object, tokens: tuple[int | None, int | None]
) -> None:
    assert count_tokens({"usage": usage}) == tokens


def test_text_in_a_reasoning_field_beside_an_empty_content_is_found() -> None:
    assert misplaced_answer_field(completion(content=None, reasoning="So")) == "reasoning"
    assert misplaced_answer_field(completion(content=ANSWER, reasoning="So")) is None
    assert misplaced_answer_field({"choices": []}) is None
