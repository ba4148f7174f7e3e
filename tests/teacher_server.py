"""A loopback HTTP server that speaks the OpenAI protocol and fails on command.

Written on asyncio streams, because a web framework cannot send broken responses. Runs in a thread
(`TeacherServer`) or as a process (`python -m tests.teacher_server URL_FILE '{"latency_s": 1}'`),
where `GET /stats` returns its counts.
"""

# ruff: noqa: C901, D102, D105, D107 - small methods with telling names; one case per fault

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import threading
from pathlib import Path
from typing import Any

from tests.teacher_model import (
    MODEL,
    RATE,
    REFUSALS,
    FakeTeacher,
    ServerConfig,
    ServerStats,
    count_tokens,
)


class Connection:
    """One open socket."""

    def __init__(
        self, teacher: FakeTeacher, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.teacher, self.reader, self.writer = teacher, reader, writer

    async def serve(self) -> None:
        try:
            while True:
                head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                first, *lines = head.split("\r\n")
                method, path, _ = first.split(" ", 2)
                headers = {
                    name.lower(): value.strip()
                    for name, _, value in (line.partition(":") for line in lines if line)
                }
                data = await self.reader.readexactly(int(headers.get("content-length", 0)))
                await self.handle(method, path, headers, data)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.writer.close()

    async def handle(self, method: str, path: str, headers: dict[str, str], data: bytes) -> None:
        teacher = self.teacher
        path, _, query = path.partition("?")
        key = teacher.config.key
        if path == "/stats":
            names = ("requests", "in_flight", "peak_in_flight", "cost_usd")
            counts = {name: getattr(teacher.stats, name) for name in names}
            times = teacher.stats.times
            counts |= (
                {"second_at": times[1], "last_at": teacher.stats.last_at} if len(times) > 1 else {}
            )
            await self.send(200, counts)
        elif key and headers.get("authorization") != f"Bearer {key}":
            message = f"Incorrect API key provided: {headers.get('authorization')}"
            await self.send(401, {"error": {"message": message, "code": "invalid_api_key"}})
        elif path.endswith("/chat/completions"):
            await self.chat(headers, json.loads(data))
        elif path.endswith("/models"):
            models = [{"id": teacher.config.model or MODEL}]
            await self.send(200, {"object": "list", "data": models})
        else:
            from tests.teacher_batches import handle_batches

            await self.send(*handle_batches(teacher, method, path, query, headers, data))

    async def chat(self, headers: dict[str, str], body: dict[str, Any]) -> None:
        teacher, stats = self.teacher, self.teacher.stats
        question = teacher.question(body)
        stats.requests += 1
        stats.in_flight += 1
        stats.peak_in_flight = max(stats.peak_in_flight, stats.in_flight)
        stats.by_question[question] += 1
        stats.times.append(asyncio.get_running_loop().time())
        if teacher.keeps_bodies:
            stats.bodies.append(body)
            stats.headers.append(headers)
        nth = stats.by_question[question]
        try:
            if stats.in_flight > teacher.config.max_in_flight:
                fault: str | None = "429"
            else:
                fault = teacher.fault(body, question, nth)
            stats.sent.setdefault(question, []).append(fault or "ok")
            await self.reply(body, question, nth, fault)
        finally:
            stats.in_flight -= 1
            stats.last_at = asyncio.get_running_loop().time()

    async def reply(self, body: dict[str, Any], question: str, nth: int, fault: str | None) -> None:
        config = self.teacher.config
        if fault in RATE or fault in {"500", "503_retry_after", "quota", *REFUSALS}:
            if fault in {"500", "503_retry_after"} and config.bills_failures:
                self.teacher.bill(count_tokens(body), 40)
            await self.refuse(fault, body)
            return
        if (complaint := self.teacher.unsupported(body)) is not None:
            await self.send(400, {"error": {"message": complaint, "code": None}})
            return
        if fault == "reset_early":
            self.writer.transport.abort()
            raise ConnectionError
        await asyncio.sleep(config.latency_s)
        response = self.teacher.answer(body, question, nth, fault)
        usage = response.get("usage") or {
            "prompt_tokens": count_tokens(body),
            "completion_tokens": 40,
        }
        self.teacher.bill(usage["prompt_tokens"], usage["completion_tokens"])
        raw = self.encode(response, body)
        if fault == "hang":
            await self.reader.read()  # until the client hangs up
            raise ConnectionError
        if fault == "drip":
            await self.drip(raw)
        elif fault == "reset":
            self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw))
            self.writer.write(raw[: len(raw) // 2])
            await self.writer.drain()
            self.writer.transport.abort()
            raise ConnectionError
        elif fault == "wrong_json":
            await self.raw(raw[:-7])
        elif fault == "gzip":
            packed = gzip.compress(raw)
            await self.raw(
                packed[:20] + b"\x00\xff\x00" + packed[23:], "Content-Encoding: gzip\r\n"
            )
        elif fault == "huge":
            response["padding"] = "x" * 10 * 2**20
            await self.raw(json.dumps(response).encode())
        elif fault == "error_200":
            await self.send(200, {"error": {"message": "upstream failed", "code": 502}})
        else:
            await self.raw(raw)

    def encode(self, response: dict[str, Any], body: dict[str, Any]) -> bytes:
        rewrite, is_post = self.teacher.config.rewrite, len(body["messages"]) > 1
        rewritten = rewrite(response) if rewrite and is_post else response
        return rewritten if isinstance(rewritten, bytes) else json.dumps(rewritten).encode()

    async def refuse(self, fault: str, body: dict[str, Any]) -> None:
        message = "no"
        if self.teacher.config.echo:
            message = f"cannot take {json.dumps(body['messages'][-1])}"
        if fault == "quota":
            await self.send(429, {"error": {"message": message, "code": "insufficient_quota"}})
        elif fault in RATE:
            extra = "Retry-After: 1\r\n" if fault == "429_retry_after" else ""
            await self.send(
                429, {"error": {"message": message, "code": "rate_limit_exceeded"}}, extra
            )
        elif fault in REFUSALS:
            code = "content_filter" if fault == "400_filter" else "invalid_request_error"
            await self.send(int(fault[:3]), {"error": {"message": message, "code": code}})
        else:
            extra = "Retry-After: 1\r\n" if fault == "503_retry_after" else ""
            await self.send(int(fault[:3]), {"error": {"message": message}}, extra)

    async def drip(self, raw: bytes) -> None:
        self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(raw))
        for byte in raw:
            self.writer.write(bytes([byte]))
            await self.writer.drain()
            await asyncio.sleep(0.25)

    async def send(self, status: int, obj: object, extra: str = "") -> None:
        data = obj if isinstance(obj, bytes) else json.dumps(obj).encode()
        await self.raw(data, extra, status)

    async def raw(self, data: bytes, extra: str = "", status: int = 200) -> None:
        head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n{extra}"
        self.writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data)
        await self.writer.drain()


async def listen(
    teacher: FakeTeacher, failures: list[BaseException] | None = None
) -> asyncio.Server:
    """Start listening on a free port; collect the exceptions of the server itself."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await Connection(teacher, reader, writer).serve()
        except asyncio.CancelledError:
            pass
        except Exception as error:
            if failures is None:
                raise
            failures.append(error)

    return await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**26, backlog=512)


class TeacherServer:
    """Run the server in a thread of this process."""

    def __init__(self, **config: Any) -> None:
        self.teacher = FakeTeacher(ServerConfig(**config))
        self._failures: list[BaseException] = []
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)

    @property
    def stats(self) -> ServerStats:
        return self.teacher.stats

    @property
    def config(self) -> ServerConfig:
        return self.teacher.config

    def __enter__(self) -> TeacherServer:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        if self._failures:
            raise RuntimeError("the test server failed") from self._failures[0]

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await listen(self.teacher, self._failures)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        self._ready.set()
        await self._stop.wait()
        server.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _process(port_file: Path, config: dict[str, Any]) -> None:
    server = await listen(FakeTeacher(ServerConfig(**config), keeps_bodies=False))
    partial = port_file.with_suffix(".part")
    partial.write_text(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
    partial.replace(port_file)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_process(Path(sys.argv[1]), json.loads(sys.argv[2])))
