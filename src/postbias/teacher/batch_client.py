"""The files and batches endpoints, asked with patience.

One call each for what batch mode needs; a call that fails on its way is made again until the
endpoint has been silent for `outage_s`. Knows nothing of posts, replies and the store.
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
from postbias.teacher.api_errors import Next, StoppedError, fault_of
from postbias.teacher.request_loop import Caller

logger = logging.getLogger(__name__)

_TAG = "postbias"
_LISTED = 1000
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 30.0
T = TypeVar("T")


class Courier:
    """Carries files of requests to the endpoint and brings files of replies back."""

    def __init__(self, caller: Caller, outage_s: float) -> None:
        """Use the line of a run.

        Args:
            caller: Its client, and whether everything stops.
            outage_s: How long the endpoint may be silent.
        """
        self._caller, self._client, self._outage_s = caller, caller.client.openai, outage_s

    async def send(self, path: Path, tag: str) -> str:
        """Upload a file and make a batch of it.

        Args:
            path: Requests, one per line.
            tag: By which the batch is found again.

        Returns:
            The endpoint's id of the batch.

        Raises:
            TeacherError: If the endpoint takes no batches.
            StoppedError: If everything stops, or the endpoint is down.
        """
        file = await self._patiently(lambda: self._client.files.create(file=path, purpose="batch"))
        batch = await self._patiently(
            lambda: self._client.batches.create(
                input_file_id=file.id,
                endpoint="/v1/chat/completions",
                completion_window="24h",
                metadata={_TAG: tag},
            )
        )
        return batch.id

    async def find(self, tag: str) -> str | None:
        """Look for a batch that may or may not have been made before a crash.

        Args:
            tag: Ours.

        Returns:
            The endpoint's id of it; None if it has none.

        Raises:
            TeacherError: If the endpoint takes no batches.
            StoppedError: If everything stops, or the endpoint is down.
        """

        async def search() -> str | None:
            seen = 0
            async for batch in self._client.batches.list(limit=100):
                seen += 1
                if (batch.metadata or {}).get(_TAG) == tag:
                    return batch.id
                if seen >= _LISTED:
                    break
            return None

        return await self._patiently(search)

    async def state(self, batch_id: str) -> RemoteBatch:
        """Look at a batch.

        Args:
            batch_id: The endpoint's.

        Returns:
            What it says of it.

        Raises:
            TeacherError: If it knows no such batch.
            StoppedError: If everything stops, or the endpoint is down.
        """
        return await self._patiently(lambda: self._client.batches.retrieve(batch_id))

    async def fetch(self, file_id: str, path: Path) -> None:
        """Bring a file back.

        Args:
            file_id: The endpoint's.
            path: Where to.

        Raises:
            TeacherError: If it has no such file.
            StoppedError: If everything stops, or the endpoint is down.
        """

        async def download() -> None:
            with path.open("wb") as file:
                async with self._client.files.with_streaming_response.content(file_id) as response:
                    async for chunk in response.iter_bytes():
                        file.write(chunk)

        await self._patiently(download)

    async def forget(self, file_id: str | None) -> None:
        """Delete a file at the endpoint, if it lets us: it holds captions.

        Args:
            file_id: The endpoint's; None for no file.
        """
        if file_id is None:
            return
        try:
            await self._client.files.delete(file_id)
        except (openai.APIError, httpx2.HTTPError):
            logger.warning("a batch file could not be deleted at the endpoint: %s", file_id)

    async def _patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        silent_since, pause_s = time.monotonic(), _FIRST_PAUSE_S
        while not self._caller.stopped:
            try:
                return await call()
            except (openai.APIError, httpx2.HTTPError, httpx2.StreamError) as error:
                fault = fault_of(error, time.time())
            said = f"{fault.detail} {self._caller.client.redact(fault.hint)}".strip()
            if fault.next in {Next.DOUBT, Next.STOP}:
                raise TeacherError(
                    f"the endpoint takes no batches: {said}",
                    do="set annotate.endpoint.mode: live",
                )
            if time.monotonic() - silent_since > self._outage_s:
                self._caller.stop(f"the endpoint is down: {said}")
                break
            await self._caller.sleep(fault.retry_after_s or pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)
        raise StoppedError
