"""Client for an endpoint's files and batches API.

A call that fails in transit is repeated until the endpoint has been silent for `outage_s`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import httpx2
import openai
from openai.types import Batch as RemoteBatch

from postbias.errors import TeacherError
from postbias.teacher.request_failures import NextStep, RunStoppedError, failure_from_exception
from postbias.teacher.request_sender import RequestSender

logger = logging.getLogger(__name__)

_TAG_KEY = "postbias"
#: Batches searched for a tag, newest first.
_MAX_LISTED = 1000
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 30.0
T = TypeVar("T")


class BatchClient:
    """Upload request files, follow their batches and download the replies."""

    def __init__(self, sender: RequestSender, outage_s: float) -> None:
        """Use the connection of a run.

        Args:
            sender: Provides the HTTP client and the stop signal.
            outage_s: How long the endpoint may be silent before the run stops.
        """
        self._sender, self._client, self._outage_s = sender, sender.client.openai, outage_s

    async def submit(self, path: Path, tag: str) -> str:
        """Upload a file of requests and create a batch from it.

        Args:
            path: Requests, one JSON object per line.
            tag: Our name of the batch, stored at the endpoint so that `find_by_tag` finds it.

        Returns:
            The endpoint's id of the batch.

        Raises:
            TeacherError: If the endpoint does not support batches.
            RunStoppedError: If the run stops or the endpoint is down.
        """
        file = await self._retry(lambda: self._client.files.create(file=path, purpose="batch"))
        batch = await self._retry(
            lambda: self._client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TAG_KEY: tag},
            )
        )
        return batch.id

    async def find_by_tag(self, tag: str) -> str | None:
        """Return the id of the batch with a tag; None if the endpoint has no such batch.

        Args:
            tag: As passed to `submit`.

        Returns:
            The id of the batch.

        Raises:
            TeacherError: If the endpoint does not support batches.
            RunStoppedError: If the run stops or the endpoint is down.
        """

        async def search() -> str | None:
            n_seen = 0
            async for batch in self._client.batches.list(limit=100):
                n_seen += 1
                if (batch.metadata or {}).get(_TAG_KEY) == tag:
                    return batch.id
                if n_seen >= _MAX_LISTED:
                    break
            return None

        return await self._retry(lambda: _none_if_missing(search()))

    async def retrieve(self, batch_id: str) -> RemoteBatch | None:
        """Fetch the state of a batch; None if the endpoint does not have it.

        Args:
            batch_id: The endpoint's id.

        Returns:
            Its state.

        Raises:
            TeacherError: If the endpoint does not support batches.
            RunStoppedError: If the run stops or the endpoint is down.
        """
        return await self._retry(lambda: _none_if_missing(self._client.batches.retrieve(batch_id)))

    async def download(self, file_id: str, path: Path) -> bool:
        """Download a file.

        Args:
            file_id: The endpoint's id.
            path: Destination.

        Returns:
            Whether the endpoint has it.

        Raises:
            TeacherError: If the endpoint rejects the request.
            RunStoppedError: If the run stops or the endpoint is down.
        """

        async def stream_to_disk() -> bool:
            with path.open("wb") as file:
                async with self._client.files.with_streaming_response.content(file_id) as response:
                    async for chunk in response.iter_bytes():
                        file.write(chunk)
            return True

        return bool(await self._retry(lambda: _none_if_missing(stream_to_disk())))

    async def delete_file(self, file_id: str | None) -> None:
        """Delete a file at the endpoint, if allowed, because it contains captions; ignore None."""
        if file_id is None:
            return
        try:
            await self._client.files.delete(file_id)
        except (openai.APIError, httpx2.HTTPError):
            logger.warning("cannot delete batch file %s at the endpoint; delete it there", file_id)

    async def _retry(self, call: Callable[[], Awaitable[T]]) -> T:
        silent_since, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while not self._sender.stop_reason:
            try:
                return await call()
            except (openai.APIError, httpx2.HTTPError, httpx2.StreamError) as error:
                failure = failure_from_exception(error, time.time())
            message = f"{failure.detail} {self._sender.client.redact(failure.hint)}".strip()
            if failure.next_step in {NextStep.CHECK_ENDPOINT, NextStep.ABORT}:
                raise TeacherError(
                    f"the endpoint rejects batch requests: {message}",
                    do="set annotate.endpoint.mode: live",
                )
            if time.monotonic() - silent_since > self._outage_s:
                self._sender.stop(f"the endpoint is down: {message}")
                break
            await self._sender.sleep(failure.retry_after_s or pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        raise RunStoppedError


async def _none_if_missing(call: Awaitable[T]) -> T | None:
    try:
        return await call
    except openai.NotFoundError:
        return None
