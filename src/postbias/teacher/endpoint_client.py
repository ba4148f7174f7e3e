"""HTTP client for an OpenAI-compatible endpoint: one request, one reply or one failure.

URL and key come only from `OPENAI_BASE_URL` and `OPENAI_API_KEY` and are never shown. Retries,
pacing and budget are in `postbias.teacher.request_sender`.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import re
import ssl
import time
from collections.abc import Sequence
from typing import Any

import httpx2
import openai

from postbias.errors import TeacherError
from postbias.posts.reasons import RejectReason
from postbias.teacher.chat_responses import ChatResponse, decode_response
from postbias.teacher.request_failures import (
    NextStep,
    RequestFailedError,
    RequestFailure,
    failure_from_exception,
)

#: A reply is a few kilobytes, some hundred with token probabilities.
MAX_REPLY_BYTES = 4 * 2**20

_PLACEHOLDER_KEY = "none"
#: Less than the 5 s after which common servers close idle connections: a request sent at that
#: moment would fail.
_KEEPALIVE_S = 4.0
_URL = re.compile(r"\bhttps?://[^\s,;]+")
_KEY = re.compile(r"\b(sk|key|Bearer)[-_ ][A-Za-z0-9*_-]{6,}")


class EndpointClient:
    """Connections to the endpoint named by the environment."""

    def __init__(self, clients: Sequence[openai.AsyncOpenAI], timeout_s: float) -> None:
        """Wrap clients of the `openai` package.

        Args:
            clients: Clients without retries, one per request in flight: a connection pool scans
                all its connections for each request, which costs more than the request itself.
            timeout_s: Time limit for a whole request.
        """
        self.openai = clients[0]
        # Reuse the client used last, so that few connections are open and none goes stale.
        self._clients, self._free = clients, list(clients)
        self._timeout_s = timeout_s

    @classmethod
    def open(cls, timeout_s: float, concurrency: int = 1) -> EndpointClient:
        """Connect to the endpoint in the environment; close the client in the same event loop.

        Args:
            timeout_s: Time limit for a whole request.
            concurrency: Maximum number of requests in flight.

        Raises:
            TeacherError: If the environment names no endpoint.
        """
        key, url = os.environ.get("OPENAI_API_KEY"), os.environ.get("OPENAI_BASE_URL")
        if not key and not url:
            raise TeacherError(
                "no endpoint: neither OPENAI_API_KEY nor OPENAI_BASE_URL is set",
                do="export OPENAI_API_KEY, and OPENAI_BASE_URL unless the endpoint is OpenAI "
                "(see docs/teacher.md)",
            )
        # These libraries log captions and the URL at levels that --verbose shows.
        for name in ("openai", "httpx2", "httpcore2", "httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        ssl_context = httpx2.create_ssl_context()
        first = openai.AsyncOpenAI(
            api_key=key or _PLACEHOLDER_KEY,
            base_url=url or None,
            max_retries=0,
            timeout=timeout_s,
            http_client=_http_client(timeout_s, ssl_context),
        )
        others = [
            first.copy(http_client=_http_client(timeout_s, ssl_context))
            for _ in range(concurrency - 1)
        ]
        return cls([first, *others], timeout_s)

    @property
    def digest(self) -> str:
        """Hash of the address, for use where the address itself must not appear."""
        return hashlib.sha256(str(self.openai.base_url).encode()).hexdigest()[:16]

    async def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            await client.close()

    async def send(self, body: dict[str, Any]) -> ChatResponse:
        """Send one chat completion request.

        Raises:
            RequestFailedError: If there is no reply; its failure says what to do next.
        """
        started = time.perf_counter()
        # Requests beyond the expected concurrency share the first client.
        client = self._free.pop() if self._free else self.openai
        try:
            async with asyncio.timeout(self._timeout_s):
                raw = await self._receive(client, body)
        except (openai.APIError, httpx2.HTTPError, httpx2.StreamError, TimeoutError) as error:
            raise RequestFailedError(failure_from_exception(error, time.time())) from None
        finally:
            self._free.append(client)
        return ChatResponse(decode_response(raw), raw, time.perf_counter() - started)

    async def _receive(self, client: openai.AsyncOpenAI, body: dict[str, Any]) -> bytes:
        received = bytearray()
        # `extra_body` bypasses the client's transformation of typed arguments, which walks through
        # the images too and takes two of the five milliseconds that a request costs.
        # Streaming bounds the memory that a reply can take.
        async with client.chat.completions.with_streaming_response.create(
            model=body["model"], messages=[], extra_body=body
        ) as response:
            async for chunk in response.iter_bytes():
                received += chunk
                if len(received) > MAX_REPLY_BYTES:
                    raise RequestFailedError(
                        RequestFailure(
                            NextStep.RETRY,
                            RejectReason.REPLY_TOO_LARGE,
                            f"the answer is larger than {MAX_REPLY_BYTES >> 20} MiB",
                            may_be_billed=True,
                        )
                    )
        return bytes(received)

    def redact(self, message: str) -> str:
        """Shorten an endpoint's message to one line and remove keys and addresses.

        The message must be about a request without a post: captions are not removed.
        """
        line = _URL.sub("...", " ".join(message.split()))
        for secret in (
            self.openai.api_key,
            str(self.openai.base_url),
            str(self.openai.base_url.host),
        ):
            line = line.replace(secret, "...") if secret and secret != _PLACEHOLDER_KEY else line
        return _KEY.sub("...", line)[:240]


def _http_client(timeout_s: float, ssl_context: ssl.SSLContext) -> openai.DefaultAsyncHttpxClient:
    limits = httpx2.Limits(
        max_connections=None, max_keepalive_connections=None, keepalive_expiry=_KEEPALIVE_S
    )
    return openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout_s, verify=ssl_context)
