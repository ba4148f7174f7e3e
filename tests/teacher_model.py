"""The model behind the test server: its answers, faults and prices.

Answers depend only on the post, so that requests in any order give the same labels.
"""

# ruff: noqa: D102, D107 - small methods with telling names

from __future__ import annotations

import base64
import hashlib
import io
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

MODEL = "test-vl"
#: Transport faults, and the reject reason of a post that always meets one.
TRANSPORT = {
    "500": "server_error",
    "503_retry_after": "server_error",
    "error_200": "server_error",
    "hang": "timeout",
    "drip": "timeout",
    "reset": "disconnected",
    "reset_early": "disconnected",
    "wrong_json": "damaged_reply",
    "gzip": "damaged_reply",
    "huge": "reply_too_large",
}
#: Unusable answers, and the reject reason.
CONTENT = {
    "nan": "not_a_number",
    "score_8_of_10": "not_a_number",
    "out_of_range": "out_of_range",
    "missing_axis": "invalid_reply",
    "no_reason": "invalid_reply",
    "prose": "invalid_reply",
    "refusal": "refused",
    "refusal_text": "refused",
    "filter": "filtered",
    "empty_choices": "empty_reply",
    "empty": "empty_reply",
    "cut_off": "cut_off",
    "other_language": "other_language",
    "wrong_model": "wrong_model",
}
#: Rate limits: all requests pause, no post is rejected.
RATE = ("429", "429_retry_after")
#: Refusals of one post, and the reject reason.
REFUSALS = {"400": "bad_request", "403": "filtered", "400_filter": "filtered"}


@dataclass
class ServerConfig:
    """How the server behaves."""

    latency_s: float = 0.0
    fault_rate: float = 0.0
    faults: tuple[str, ...] = ()
    always: str | None = None
    axes: tuple[str, ...] = ("bias", "orientation")
    #: Whether a request always meets the same fault, as with a model at temperature 0.
    is_deterministic: bool = False
    has_schema: bool = True
    has_json: bool = True
    has_logprobs: bool = False
    has_vision: bool = True
    takes_max_tokens: bool = True
    takes_temperature: bool = True
    has_usage: bool = True
    noise: float = 0.0
    drift: float = 0.0
    #: Model name in replies; None repeats the requested one.
    model: str | None = None
    key: str | None = None
    batch_polls: int = 1
    batch_fail_share: float = 0.0
    batch_state: str = "completed"
    usd_per_million: tuple[float, float] = (1.0, 4.0)
    max_in_flight: int = 10_000
    echo: bool = False
    #: How many times more output tokens are billed than the text has.
    output_factor: int = 1
    #: Whether failed requests are billed too, as where a proxy fails after the model has run.
    bills_failures: bool = False
    #: Rewrites a response to a post before it is sent; may return bytes.
    rewrite: Callable[[dict[str, Any]], Any] | None = None


@dataclass
class ServerStats:
    """What the server counted."""

    requests: int = 0
    in_flight: int = 0
    peak_in_flight: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float = 0.0
    by_question: Counter[str] = field(default_factory=Counter)
    sent: dict[str, list[str]] = field(default_factory=dict)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    last_at: float = 0.0


class FakeTeacher:
    """The model behind the server."""

    def __init__(self, config: ServerConfig, *, keeps_bodies: bool = True) -> None:
        self.config, self.stats, self.keeps_bodies = config, ServerStats(), keeps_bodies
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.ids = itertools.count()

    def question(self, body: dict[str, Any]) -> str:
        """Return a digest of the first user message, which identifies the post."""
        content = json.dumps(body["messages"][1 if len(body["messages"]) > 1 else 0])
        return hashlib.sha256(content.encode()).hexdigest()

    def score(self, question: str, axis: str, nth: int) -> float:
        digest = hashlib.sha256(f"{question}{axis}".encode()).digest()
        score = digest[0] % 11
        if self.config.noise:
            jitter = hashlib.sha256(f"{question}{axis}{nth}".encode()).digest()[0] / 255 - 0.5
            score = round(min(10, max(0, score + 2 * self.config.noise * jitter)))
        return min(10, max(0, score + self.config.drift * (nth - 1)))

    def fault(self, body: dict[str, Any], question: str, nth: int) -> str | None:
        text = json.dumps(body["messages"][-1 if len(body["messages"]) == 1 else 1])
        if (match := re.search(r"POISON:([a-z0-9_]+)", text)) is not None:
            return match.group(1)
        if "Reply with the word: ready" in text:
            return self.config.always
        if self.config.always:
            return self.config.always
        if not self.config.faults:
            return None
        salt = json.dumps(body["messages"]) if self.config.is_deterministic else str(nth)
        digest = hashlib.sha256(f"{question}{salt}".encode()).digest()
        if digest[0] / 256 >= self.config.fault_rate:
            return None
        return self.config.faults[int.from_bytes(digest[1:5]) % len(self.config.faults)]

    def unsupported(self, body: dict[str, Any]) -> str | None:
        kind = (body.get("response_format") or {}).get("type")
        if kind == "json_schema" and not self.config.has_schema:
            return "response_format json_schema is not supported"
        if kind == "json_object" and not self.config.has_json:
            return "response_format json_object is not supported"
        if "max_tokens" in body and not self.config.takes_max_tokens:
            return "max_tokens is not supported, use max_completion_tokens"
        if "temperature" in body and not self.config.takes_temperature:
            return "temperature does not support 0 with this model"
        if not self.config.has_vision and "image_url" in json.dumps(body["messages"]):
            return "this model takes no images"
        return None

    def answer(
        self, body: dict[str, Any], question: str, nth: int, fault: str | None
    ) -> dict[str, Any]:
        scores: dict[str, Any] = {
            axis: self.score(question, axis, nth) for axis in self.config.axes
        }
        reply: dict[str, Any] = {
            "reason": "The caption is plain and names nobody at all.",
            **scores,
        }
        first = self.config.axes[0]
        if fault == "nan":
            reply[first] = float("nan")
        elif fault == "score_8_of_10":
            reply[first] = "8/10"
        elif fault == "out_of_range":
            reply[first] = 85
        elif fault == "missing_axis":
            del reply[first]
        elif fault == "no_reason":
            del reply["reason"]
        elif fault == "other_language":
            reply["reason"] = "帖子内容中没有明显的性别倾向元素 仅表达了对甜甜圈的渴望 与性别无关。"
        text = json.dumps(reply, ensure_ascii=False)
        text = {
            "prose": "I would say this is about a seven.",
            "refusal_text": "I'm sorry, but I can't help with that.",
            "refusal": None,
            "empty": "",
            "cut_off": text[:20],
        }.get(fault or "", text)
        message = {"role": "assistant", "content": text}
        if fault == "refusal":
            message["refusal"] = "I can't judge this."
        finish = {"cut_off": "length", "filter": "content_filter"}.get(fault or "", "stop")
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": finish}
        if body.get("logprobs") and self.config.has_logprobs and text and fault is None:
            choice["logprobs"] = {"content": logprobs(text, scores)}
        model = "another-model" if fault == "wrong_model" else self.config.model or body["model"]
        response: dict[str, Any] = {
            "id": f"chatcmpl-{question[:8]}-{nth}",
            "object": "chat.completion",
            "created": 0,
            "model": model,
            "choices": [] if fault == "empty_choices" else [choice],
        }
        tokens_in, tokens_out = count_tokens(body), len(text or "") // 4 + 8
        tokens_out *= self.config.output_factor
        if self.config.has_usage:
            response["usage"] = {
                "prompt_tokens": tokens_in,
                "completion_tokens": tokens_out,
                "total_tokens": tokens_in + tokens_out,
            }
        return response

    def bill(self, tokens_in: int, tokens_out: int, factor: float = 1.0) -> None:
        price_in, price_out = self.config.usd_per_million
        self.stats.tokens_in += tokens_in
        self.stats.tokens_out += tokens_out
        self.stats.cost_usd += factor * (tokens_in * price_in + tokens_out * price_out) / 1e6


def logprobs(text: str, scores: dict[str, Any]) -> list[dict[str, Any]]:
    """One token per character; at each score, the next lower one has probability 1/3."""
    positions = {}
    for axis, score in scores.items():
        at = text.index(f'"{axis}": ') + len(axis) + 4
        if 0 < score < 10:
            positions[at] = str(score - 1)
    tokens = []
    for i, char in enumerate(text):
        own = math.log(2 / 3) if i in positions else 0.0
        top = [{"token": char, "logprob": own}]
        if i in positions:
            top.append({"token": positions[i], "logprob": math.log(1 / 3)})
        tokens.append({"token": char, "logprob": own, "top_logprobs": top})
    return tokens


def count_tokens(body: dict[str, Any]) -> int:
    """Count text by length and images by area, as Qwen-VL does."""
    from PIL import Image

    tokens = 0
    for message in body["messages"]:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            if part["type"] == "text":
                tokens += len(part["text"].encode()) // 4 + 4
            else:
                data = base64.b64decode(part["image_url"]["url"].partition(",")[2])
                width, height = Image.open(io.BytesIO(data)).size
                tokens += math.ceil(width / 28) * math.ceil(height / 28) + 2
    return tokens
