"""The line to an OpenAI-compatible endpoint: one request, one reply or one fault.

URL and key come from `OPENAI_BASE_URL` and `OPENAI_API_KEY` only and are shown nowhere. Does not
try again, wait or count: see `postbias.teacher.request_loop`.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import re
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx2
import openai

from postbias.errors import TeacherError
from postbias.posts.reasons import Reason
from postbias.teacher.api_errors import Fault, Next, RequestError, fault_of, fault_of_body

#: A reply is a few kilobytes; with probabilities of its tokens some hundred.
MAX_REPLY_BYTES = 4 * 2**20

_LOCAL_KEY = "none"
#: Below the 5 s after which common servers hang up, perhaps just as the next request leaves.
_IDLE_S = 4.0
_URL = re.compile(r"\bhttps?://[^\s,;]+")
_KEY = re.compile(r"\b(sk|key|Bearer)[-_ ][A-Za-z0-9*_-]{6,}")


@dataclass(frozen=True, slots=True)
class RawReply:
    """A reply as received.

    Attributes:
        body: Decoded.
        raw: As received.
        latency_s: From sending to the last byte.
    """

    body: dict[str, Any]
    raw: bytes
    latency_s: float

    @property
    def tokens(self) -> tuple[int | None, int | None]:
        """Input and output tokens, as told."""
        usage = self.body.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        found = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        good = [
            n if isinstance(n, int) and not isinstance(n, bool) and n >= 0 else None for n in found
        ]
        return good[0], good[1]


class Client:
    """A connection pool to the endpoint named by the environment."""

    def __init__(self, clients: Sequence[openai.AsyncOpenAI], timeout_s: float) -> None:
        """Wrap clients of the `openai` package.

        Args:
            clients: With retries off, one per request in flight: a pool looks at all its
                connections for each request, and many in one cost more than the request.
            timeout_s: For one whole request.
        """
        self.openai = clients[0]
        # The one used last is taken first, so that few connections are open and none goes stale.
        self._clients, self._free = clients, list(clients)
        self._timeout_s = timeout_s

    @classmethod
    def open(cls, timeout_s: float, concurrency: int = 1) -> Client:
        """Open the line.

        Args:
            timeout_s: For one whole request.
            concurrency: Requests in flight at most.

        Returns:
            The client; close it in the loop that used it.

        Raises:
            TeacherError: If the environment names no endpoint.
        """
        key, url = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
        if not key and not url:
            raise TeacherError(
                "no endpoint: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set",
                do="export OPENAI_API_KEY, and OPENAI_BASE_URL for another endpoint than OpenAI; "
                "docs/teacher.md shows both",
            )
        # These log requests, with captions and the URL, at levels that --verbose would show.
        for name in ("openai", "httpx2", "httpcore2", "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        certificates = httpx2.create_ssl_context()
        first = openai.AsyncOpenAI(
            api_key=key or _LOCAL_KEY,
            base_url=url or None,
            max_retries=0,
            timeout=timeout_s,
            http_client=_pool(timeout_s, certificates),
        )
        more = [
            first.copy(http_client=_pool(timeout_s, certificates)) for _ in range(concurrency - 1)
        ]
        return cls([first, *more], timeout_s)

    @property
    def digest(self) -> str:
        """What stands for the endpoint where its address must not appear."""
        return hashlib.sha256(str(self.openai.base_url).encode()).hexdigest()[:16]

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.close()

    async def ask(self, body: dict[str, Any]) -> RawReply:
        """Send one chat completion request.

        Args:
            body: As the protocol wants it.

        Returns:
            The reply, whatever it says.

        Raises:
            RequestError: If there is none; says what to do next.
        """
        started = time.perf_counter()
        client = self._free.pop() if self._free else self.openai  # more than expected share one
        try:
            async with asyncio.timeout(self._timeout_s):
                raw = await self._receive(client, body)
        except (openai.APIError, httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
            raise RequestError(fault_of(error, time.time())) from None
        finally:
            self._free.append(client)
        return RawReply(_decode(raw), raw, time.perf_counter() - started)

    async def _receive(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> bytes:
        received = bytearray()
        # All of the body goes around the client's typed arguments, which it would walk through,
        # pictures and all: two of the five milliseconds that a request costs.
        # Streamed only so that a reply of any size cannot fill the memory.
        async with client.chat.completions.with_streaming_response.create(
            model=body["model"], messages=[], extra_body=body
        ) as response:
            async for chunk in response.iter_bytes():
                received += chunk
                if len(received) > MAX_REPLY_BYTES:
                    raise RequestError(
                        Fault(
                            Next.AGAIN,
                            Reason.REPLY_TOO_LARGE,
                            f"the answer is larger than {MAX_REPLY_BYTES >> 20} MiB",
                            may_be_billed=True,
                        )
                    )
        return bytes(received)

    def redact(self, message: str) -> str:
        """Make an endpoint's message about a request without a post fit to be shown.

        Args:
            message: What it said.

        Returns:
            One short line without key and addresses.
        """
        line = _URL.sub("...", " ".join(message.split()))
        for secret in (
            self.openai.api_key,
            str(self.openai.base_url),
            str(self.openai.base_url.host),
        ):
            line = line.replace(secret, "...") if secret and secret != _LOCAL_KEY else line
        return _KEY.sub("...", line)[:240]


def _pool(timeout_s: float, certificates: ssl.SSLContext) -> openai.DefaultAsyncHttpxClient:
    limits = httpx2.Limits(
        max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE_S
    )
    return openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout_s, verify=certificates)


def _decode(raw: bytes) -> dict[str, Any]:
    try:
        body = json.loads(raw)
        if not isinstance(body, dict):
            raise ValueError
    except (ValueError, RecursionError) as error:
        raise RequestError(
            Fault(
                Next.AGAIN, Reason.DAMAGED_REPLY, "the answer is no JSON object", may_be_billed=True
            )
        ) from error
    if body.get("error") and not body.get("choices"):
        raise RequestError(fault_of_body(body["error"]))
    return body
