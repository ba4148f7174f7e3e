"""Download one image: requests and redirects, checks of address, size and content."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import NamedTuple

import httpcore2
import httpx2

from postbias.posts.fetching.checked_connections import CheckedBackend
from postbias.posts.fetching.fetch_failures import FetchError, FetchLimits
from postbias.posts.fetching.host_limits import HostLimits
from postbias.posts.fetching.media_signatures import HEAD_BYTES, VIDEO_SUFFIXES, media_suffix
from postbias.posts.reasons import RejectReason

_MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
_DEFAULT_PORTS = {"http": 80, "https": 443}

# Servers close idle connections, many after 5 s: a request sent at that moment fails.
_KEEPALIVE_S = 4.0


class Downloaded(NamedTuple):
    """A downloaded image.

    Attributes:
        suffix: Suffix of its format, by content.
        n_bytes: Size.
    """

    suffix: str
    n_bytes: int


class ImageDownloader:
    """Downloads images with the connections of one pool."""

    def __init__(self, limits: FetchLimits) -> None:
        """Open no connection yet."""
        self._limits = limits
        self._hosts = HostLimits(limits)
        self._headers: dict[str | bytes, str | bytes] = {
            "User-Agent": limits.user_agent,
            "Accept": "image/*,video/*;q=0.9,*/*;q=0.5",
            "Accept-Encoding": "identity",
        }
        # Sends no cookies and no credentials, and follows no redirects by itself.
        self._pool = httpcore2.AsyncConnectionPool(
            max_connections=limits.concurrency,
            keepalive_expiry=_KEEPALIVE_S,
            network_backend=CheckedBackend(allows_private=limits.allows_private),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    async def download(self, address: str, target: Path) -> Downloaded:
        """Download an image to a file; try again after temporary failures.

        Args:
            address: Its address.
            target: The file to write; incomplete after an error.

        Returns:
            Format and size.

        Raises:
            FetchError: If it cannot be downloaded.
            OSError: If the file cannot be written.
        """
        url = _parse_address(address, self._limits)
        delay_s = self._limits.backoff_s
        for attempt in range(self._limits.n_retries + 1):
            try:
                return await self._try(url, target)
            except FetchError as error:
                if not error.is_temporary or attempt == self._limits.n_retries:
                    self._hosts.count_failure(error)
                    raise
            await asyncio.sleep(delay_s)
            delay_s *= 2
        raise AssertionError("the last attempt returns or raises")

    async def _try(self, url: httpx2.URL, target: Path) -> Downloaded:
        try:
            async with asyncio.timeout(self._limits.deadline_s):
                return await self._follow(url, target)
        except TimeoutError as error:
            raise FetchError(
                RejectReason.TIMEOUT,
                f"not complete after {self._limits.deadline_s:.0f} s",
                is_temporary=True,
            ) from error

    async def _follow(self, url: httpx2.URL, target: Path) -> Downloaded:
        for _ in range(_MAX_REDIRECTS + 1):
            async with self._hosts.request_slot(url.host):
                result = await self._request(url, target)
            if isinstance(result, Downloaded):
                return result
            url = result
        raise FetchError(RejectReason.HTTP_ERROR, f"more than {_MAX_REDIRECTS} redirects")

    async def _request(self, url: httpx2.URL, target: Path) -> Downloaded | httpx2.URL:
        """Send one request; return the address of a redirect, or the image that was written."""
        timeout_s = self._limits.timeout_s
        try:
            async with self._pool.stream(
                "GET",
                httpcore2.URL(
                    scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
                ),
                headers={"Host": url.netloc.decode("ascii"), **self._headers},
                extensions={
                    "timeout": {"connect": timeout_s, "read": timeout_s, "write": timeout_s}
                },
            ) as response:
                headers = {name.lower(): value for name, value in response.headers}
                if response.status in _REDIRECTS:
                    location = headers.get(b"location", b"").decode("utf-8", "replace")
                    return _parse_redirect(url, location, self._limits)
                _check_status(response.status, headers.get(b"retry-after", b""))
                return await _write_body(response, headers, target, self._limits)
        except httpcore2.TimeoutException as error:
            raise FetchError(
                RejectReason.TIMEOUT, f"no answer for {timeout_s:.0f} s", is_temporary=True
            ) from error
        except (httpcore2.NetworkError, httpcore2.ProtocolError, OSError) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # the file
            detail = " ".join(str(error).split())[:120] or type(error).__name__
            raise FetchError(RejectReason.DISCONNECTED, detail, is_temporary=True) from error


def _parse_address(address: str, limits: FetchLimits) -> httpx2.URL:
    try:
        url = httpx2.URL(f"https:{address}" if address.startswith("//") else address)
    except (httpx2.InvalidURL, ValueError) as error:
        raise FetchError(RejectReason.BAD_ADDRESS, f"no valid address: {error}"[:120]) from error
    return _check_url(url, limits)


def _parse_redirect(url: httpx2.URL, location: str, limits: FetchLimits) -> httpx2.URL:
    try:
        target = url.join(location)
    except (httpx2.InvalidURL, ValueError) as error:
        raise FetchError(RejectReason.BAD_ADDRESS, "redirect to an invalid address") from error
    return _check_url(target, limits)


def _check_url(url: httpx2.URL, limits: FetchLimits) -> httpx2.URL:
    if url.scheme not in _DEFAULT_PORTS or not url.host:
        raise FetchError(
            RejectReason.BAD_ADDRESS, f"scheme {url.scheme[:20]!r}, allowed: http, https"
        )
    if url.userinfo:
        raise FetchError(RejectReason.BAD_ADDRESS, "credentials in an address are not sent")
    port = url.port or _DEFAULT_PORTS[url.scheme]
    if port not in limits.ports:
        allowed = ", ".join(map(str, sorted(limits.ports)))
        # Whether a name is private is not known before it is resolved.
        private = "" if limits.allows_private else ", with --allow-private if the host is private"
        raise FetchError(
            RejectReason.BLOCKED_ADDRESS,
            f"port {port}, allowed: {allowed}; --allow-port {port} permits it{private}",
        )
    return url


def _check_status(status: int, retry_after: bytes) -> None:
    if status == 200:
        return
    reason = RejectReason.HTTP_ERROR
    wait_s = None
    if status in {429, 503}:
        wait_s = _parse_retry_after(retry_after.decode("latin-1"))
    if status == 429:
        reason = RejectReason.RATE_LIMITED
    elif status >= 500:
        reason = RejectReason.SERVER_ERROR
    raise FetchError(
        reason, f"HTTP status {status}", is_temporary=status in _TEMPORARY, retry_after_s=wait_s
    )


def _parse_retry_after(text: str) -> float | None:
    """Parse the header `Retry-After`: seconds, or a date."""
    text = text.strip()
    if text.isdecimal() and text.isascii():
        return float(text[:9])
    try:
        time = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    time = time.replace(tzinfo=UTC) if time.tzinfo is None else time
    return max(0.0, (time - datetime.now(UTC)).total_seconds())


async def _write_body(
    response: httpcore2.Response, headers: dict[bytes, bytes], target: Path, limits: FetchLimits
) -> Downloaded:
    """Write the body to a file; stop as soon as it is too large or no image."""
    stated = headers.get(b"content-length", b"")
    n_stated = int(stated[:18]) if stated.isdigit() else 0
    encoding = headers.get(b"content-encoding", b"")
    # Images are smaller than videos: the limit of an image counts once its format is known.
    max_bytes = max(limits.max_bytes, limits.max_video_bytes)
    head, suffix, n_bytes = b"", None, 0
    with target.open("wb") as file:
        async for chunk in _decode(response, encoding, max_bytes):
            n_bytes += len(chunk)
            head = head if suffix else (head + chunk)[:HEAD_BYTES]
            if suffix is None and len(head) == HEAD_BYTES:
                suffix = _check_head(head, headers)
                is_video = suffix in VIDEO_SUFFIXES
                max_bytes = limits.max_video_bytes if is_video else limits.max_bytes
            if max(n_bytes, n_stated) > max_bytes:
                raise _too_large(max_bytes)
            file.write(chunk)
        return Downloaded(suffix or _check_head(head, headers), n_bytes)


def _check_head(head: bytes, headers: dict[bytes, bytes]) -> str:
    if not head:
        raise FetchError(RejectReason.TRUNCATED, "an empty file", is_temporary=True)
    suffix = media_suffix(head)
    if suffix is None:
        kind = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip()[:60]
        raise FetchError(
            RejectReason.UNKNOWN_FORMAT, f"neither an image nor a video; the server says {kind!r}"
        )
    return suffix


def _too_large(max_bytes: int) -> FetchError:
    return FetchError(RejectReason.TOO_LARGE, f"more than {max_bytes} bytes")


async def _decode(
    response: httpcore2.Response, encoding: bytes, max_bytes: int
) -> AsyncIterator[bytes]:
    """Yield the content; a server may compress it although it was asked not to."""
    name = encoding.decode("latin-1").strip().lower()
    if name in {"", "identity"}:
        async for chunk in response.aiter_stream():
            yield chunk
        return
    if name not in {"gzip", "x-gzip", "deflate"}:
        raise FetchError(RejectReason.UNKNOWN_FORMAT, f"content encoding {name[:40]!r}")
    decoder = zlib.decompressobj(wbits=47)  # gzip or zlib
    n_received = 0
    async for chunk in response.aiter_stream():
        n_received += len(chunk)
        if n_received > max_bytes:
            raise _too_large(max_bytes)
        for part in _decompress(decoder, chunk):
            yield part
    if not decoder.eof:
        raise FetchError(RejectReason.TRUNCATED, "compressed data ends early", is_temporary=True)


def _decompress(decoder: zlib._Decompress, chunk: bytes) -> Iterator[bytes]:
    try:
        while chunk and not decoder.eof:
            # A part at a time: a small chunk can expand a thousandfold.
            yield decoder.decompress(chunk, 2**16)
            chunk = decoder.unconsumed_tail
    except zlib.error as error:
        raise FetchError(RejectReason.DAMAGED, f"compressed data: {error}") from error
