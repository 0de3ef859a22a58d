"""A web server that answers each request as a test says, byte for byte (no tests in here)."""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from tests.servers import HOST

Script = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Asked:
    """One request; names of headers are in lower case."""

    target: str
    headers: dict[str, str] = field(default_factory=dict)


class OddServer:
    """The answers are given one after another, and the last one for ever. A connection has one request."""

    def __init__(self, *answers: bytes | Script) -> None:
        self.asked: list[Asked] = []
        self.port = 0
        self.scheme = "http"
        self._answers = deque(answers)
        self._serving: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<OddServer at {self.port}, asked {len(self.asked)} times>"

    def url(self, path: str = "/file.bin") -> str:
        return f"{self.scheme}://{HOST}:{self.port}{path}"

    def answer(self, *answers: bytes | Script) -> None:
        self._answers = deque(answers)

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["OddServer"]:
        server = await asyncio.start_server(self._serve, HOST, 0, ssl=tls)
        self.port = server.sockets[0].getsockname()[1]
        self.scheme = "https" if tls else "http"
        try:
            async with server:
                yield self
        finally:
            for each in self._serving:
                each.cancel()
            if self._serving:
                await asyncio.wait(self._serving)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        try:
            await self._answer_one(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            pairs = (line.partition(":") for line in lines if line)
            asked = Asked(first.split(" ")[1], {name.lower(): value.strip() for name, _, value in pairs})
            self.asked.append(asked)
            script = self._answers.popleft() if len(self._answers) > 1 else self._answers[0]
            if isinstance(script, bytes):
                writer.write(script)
            else:
                await script(asked, writer)
            await writer.drain()


def answer(body: bytes = b"", *headers: str, status: int = 200, length: int | None = None) -> bytes:
    """`length` is what it says that it has; -1 says nothing."""
    told = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} Told", *headers, *([] if told < 0 else [f"Content-Length: {told}"]), "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def redirect(location: str, status: int = 302) -> bytes:
    return answer(b"", f"Location: {location}", status=status)
