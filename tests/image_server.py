"""A loopback HTTP server of images that fails on command; requests are counted by path."""

# ruff: noqa: D105, D107 - what they do is in the docstring of the class

from __future__ import annotations

import asyncio
import gzip
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from types import TracebackType

JPEG = b"\xff\xd8\xff\xe0 a JPEG file with some bytes"

Handler = Callable[["ImageServer", str, asyncio.StreamWriter], Awaitable[None]]


def respond(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    """Compose a response with its length."""
    head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


class ImageServer:
    """Runs in a thread while its block runs."""

    def __init__(self) -> None:
        self.requests: Counter[str] = Counter()
        self.heads: list[str] = []
        self.open = self.most_open = 0
        self.hold = threading.Event()
        self.hold.set()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))

    def __enter__(self) -> ImageServer:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.hold.set()
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def url(self, path: str) -> str:
        """Return the address of a path."""
        return f"http://127.0.0.1:{self.port}/{path}"

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stop.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                path = head.split(" ")[1].lstrip("/")
                self.heads.append(head)
                self.requests[path] += 1
                self.open += 1
                self.most_open = max(self.most_open, self.open)
                try:
                    await self._answer(path, writer)
                finally:
                    self.open -= 1
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _answer(self, path: str, writer: asyncio.StreamWriter) -> None:
        name = path.partition("?")[0].rpartition("/")[2]
        handler = _HANDLERS.get(name.partition(".")[0])
        if handler:
            await handler(self, path, writer)
        else:
            while not self.hold.is_set():
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.01)
            writer.write(respond(JPEG + path.encode()))
        await writer.drain()


async def _missing(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b"no", "404 Not Found"))


async def _busy(server: ImageServer, path: str, writer: asyncio.StreamWriter) -> None:
    if server.requests[path] == 1:
        writer.write(respond(b"", "429 Too Many Requests", "Retry-After: 1\r\n"))
    else:
        writer.write(respond(JPEG))


async def _closed(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b"", "503 Service Unavailable", "Retry-After: 86400\r\n"))


async def _loop(_: ImageServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b"", "302 Found", f"Location: /{path}\r\n"))


async def _redirect(_: ImageServer, path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b"", "302 Found", f"Location: {path.partition('?')[2]}\r\n"))


async def _endless(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + JPEG)
    while True:
        writer.write(bytes(2**16))
        await writer.drain()


async def _video(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b"\0\0\0\x20ftypisom" + bytes(2**21)))


async def _page(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b"<!doctype html><p>log in" * 9, headers="Content-Type: text/html\r\n"))


async def _bomb(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    body = gzip.compress(JPEG + bytes(2**26))
    writer.write(respond(body, headers="Content-Encoding: gzip\r\n"))


async def _zipped(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(gzip.compress(JPEG), headers="Content-Encoding: gzip\r\n"))


async def _truncated(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + JPEG)
    await writer.drain()
    writer.close()


async def _slow(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n" + JPEG)
    await writer.drain()
    await asyncio.sleep(3600)


async def _garbage(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\0\1\2 no HTTP\r\n\r\n")
    await writer.drain()
    writer.close()


async def _cookie(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(JPEG, headers="Set-Cookie: a=b\r\n"))


async def _empty(_: ImageServer, _path: str, writer: asyncio.StreamWriter) -> None:
    writer.write(respond(b""))


_HANDLERS: dict[str, Handler] = {
    "missing": _missing,
    "busy": _busy,
    "closed": _closed,
    "loop": _loop,
    "redirect": _redirect,
    "endless": _endless,
    "video": _video,
    "page": _page,
    "bomb": _bomb,
    "zipped": _zipped,
    "truncated": _truncated,
    "slow": _slow,
    "garbage": _garbage,
    "cookie": _cookie,
    "empty": _empty,
}
