"""Small GETs: whole objects of some KiB, which come one after the other over connections that are kept.

For an object of 1 KiB aiohttp needs ten times the processor time of all else, the disk included. So what is usual is
understood here by itself: an answer with the whole object, its length, and the ETag that was asked for. Whatever else
comes of a request, be it a refusal, other bytes or the end of a connection, is left to who asked: that object is then
asked for by compute/inputs/objects/get.py, which finds out what is wrong.
"""

import asyncio
import contextlib
import re
import ssl
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, cast

from compute.inputs.objects.get import ObjectPart
from compute.upload.put import CONNECT_SECONDS
from shared.protocol.signed_url import SignedUrl
from shared.runtime.tls.trust import trusting_system
from shared.web.short_requests import HttpServer, address_of, request_head

MOST_BYTES = 64 << 10
"""Of one object."""
HEAD_BYTES = 16 << 10
AT_ONCE = 48
"""Connections with one server."""
IDLE_SECONDS = 20.0
"""Without a byte."""
LOOK_SECONDS = 2.0
MOST_FRUITLESS = 3
LEFT_SECONDS = 60.0
"""After so many questions in a row of which nothing came, nobody asks that server here for so long."""
KEPT_SECONDS = 15.0
"""For so long a connection is kept that nobody uses."""
_TOLD = re.compile(rb"(?i)\r\n(content-length|transfer-encoding|connection|etag)[ \t]*:[ \t]*([^\r\n]*)")
_HEAD_END = b"\r\n\r\n"
_FOLDED = re.compile(rb"\r\n[ \t]")


class SmallGet(NamedTuple):
    """What is sent for an object, and how its answer is known."""

    server: HttpServer
    request: bytes
    size: int
    etag: bytes


def small_get(url: SignedUrl, size: int, etag: str) -> SmallGet | None:
    """None where it is not for here."""
    address = address_of(url.url)
    if address is None or url.method != "GET" or not 0 < size <= MOST_BYTES:
        return None
    headers = {"Accept": "*/*"} | ObjectPart(size, etag, 0, size).headers(url)
    head = request_head("GET", address.called, address.target, headers)
    return None if head is None else SmallGet(address.server, head, size, etag.encode())


class SmallGets:
    """Of a node. What is in memory is for the caller to bound, by how many objects it asks for at once.

    Without `trust` a server's certificate has to be of somebody whom this machine trusts.
    """

    def __init__(self, trust: ssl.SSLContext | None = None) -> None:
        self._trust = trust
        self._pools: dict[HttpServer, _Pool] = {}

    def __repr__(self) -> str:
        return f"<SmallGets from {len(self._pools)} servers>"

    async def get(self, gets: Sequence[SmallGet]) -> list[bytes | None]:
        """The objects, in this order; None for each that did not come as usual. Cancelled, nothing goes on."""
        contents: list[bytes | None] = [None] * len(gets)
        for server in dict.fromkeys(each.server for each in gets):  # as a rule one
            numbers = [number for number, each in enumerate(gets) if each.server == server]
            pool = await self._pool(server)
            for number, content in zip(numbers, await pool.get([gets[number] for number in numbers]), strict=True):
                contents[number] = content
        return contents

    def close(self) -> None:
        """In the event loop, when nobody asks any more."""
        for pool in self._pools.values():
            pool.close()

    async def _pool(self, server: HttpServer) -> "_Pool":
        if server.is_tls and self._trust is None:
            self._trust = await asyncio.to_thread(trusting_system)
        if server not in self._pools:
            self._pools[server] = _Pool(server, self._trust)
        return self._pools[server]


class _Batch:
    """What is asked for at once. `ended` is done when nothing of it is waited for."""

    def __init__(self, count: int) -> None:
        self.contents: list[bytes | None] = [None] * count
        self.left = count
        self.ended = asyncio.get_running_loop().create_future()

    def give(self, number: int, content: bytes | None) -> None:
        self.contents[number] = content
        self.left -= 1
        if not self.left and not self.ended.done():
            self.ended.set_result(None)


class _Asked(NamedTuple):
    batch: _Batch
    number: int
    get: SmallGet

    def give(self, content: bytes | None) -> None:
        self.batch.give(self.number, content)


class _Pool:
    """Connections with one server."""

    def __init__(self, server: HttpServer, trust: ssl.SSLContext | None) -> None:
        self._server = server
        self._trust = trust if server.is_tls else None
        self._waiting: deque[_Asked] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._busy: set[_Connection] = set()
        self._idle: list[_Connection] = []
        self._closing: asyncio.TimerHandle | None = None
        self._fruitless = 0
        self._left_until = 0.0

    async def get(self, gets: Sequence[SmallGet]) -> list[bytes | None]:
        if asyncio.get_running_loop().time() < self._left_until:
            return [None] * len(gets)
        found = await self._get(gets)
        self._fruitless = self._fruitless + 1 if found.count(None) == len(found) else 0
        if self._fruitless >= MOST_FRUITLESS:
            self._fruitless, self._left_until = 0, asyncio.get_running_loop().time() + LEFT_SECONDS
        return found

    async def _get(self, gets: Sequence[SmallGet]) -> list[bytes | None]:
        if self._closing is not None:
            self._closing.cancel()
        batch = _Batch(len(gets))
        self._waiting.extend(_Asked(batch, number, each) for number, each in enumerate(gets))
        while self._idle and self._waiting:
            self.go_on(self._idle.pop())
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(len(self._waiting), AT_ONCE - len(self._busy) - len(self._opening))):
                    task = group.create_task(self._open(), name="connection for small objects")
                    self._opening.add(task)
                    task.add_done_callback(self._opened)
                while batch.left:
                    await asyncio.wait((batch.ended,), timeout=LOOK_SECONDS)
                    self._drop(lambda each, now: now - each.heard_at > IDLE_SECONDS)
        finally:
            self._waiting = deque(each for each in self._waiting if each.batch is not batch)
            self._drop(lambda each, _: each.is_of(batch))
            self._closing = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._close_idle)
        return batch.contents

    def go_on(self, connection: "_Connection") -> None:
        """It is free."""
        if self._waiting:
            self._busy.add(connection)
            connection.ask(self._waiting.popleft())
        else:
            self._busy.discard(connection)
            self._idle.append(connection)

    def lost(self, connection: "_Connection") -> None:
        """It is of no more use, and has nothing to give."""
        self._busy.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._leave_if_alone()

    def close(self) -> None:
        if self._closing is not None:
            self._closing.cancel()
        self._drop(lambda *_: True)
        self._close_idle()

    async def _open(self) -> None:
        """A server that is not there is found out by who is left with what waits."""
        server = self._server
        with contextlib.suppress(OSError, ValueError):
            async with asyncio.timeout(CONNECT_SECONDS):
                _, made = await asyncio.get_running_loop().create_connection(
                    partial(_Connection, self), server.host, server.port, ssl=self._trust
                )
            self.go_on(made)

    def _opened(self, task: "asyncio.Task[None]") -> None:
        self._opening.discard(task)
        self._leave_if_alone()

    def _leave_if_alone(self) -> None:
        """What waits, when nobody is there who may take it."""
        if not self._busy and not self._opening and not self._idle:
            waiting, self._waiting = self._waiting, deque()
            for each in waiting:
                each.give(None)

    def _drop(self, is_meant: Callable[["_Connection", float], bool]) -> None:
        now = asyncio.get_running_loop().time()
        for connection in [each for each in self._busy if is_meant(each, now)]:
            connection.drop()

    def _close_idle(self) -> None:
        for connection in self._idle[:]:
            connection.drop()


class _Connection(asyncio.BufferedProtocol):
    """Asks for one object at a time."""

    def __init__(self, pool: _Pool) -> None:
        self.heard_at = 0.0
        self._pool = pool
        self._loop = asyncio.get_running_loop()
        self._buffer = bytearray(HEAD_BYTES + MOST_BYTES)
        self._view = memoryview(self._buffer)
        self._filled = 0
        self._body_at = 0
        """0 as long as the head has not come."""
        self._is_last = False
        self._asked: _Asked | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone

    def is_of(self, batch: _Batch) -> bool:
        return self._asked is not None and self._asked.batch is batch

    def ask(self, asked: _Asked) -> None:
        self._asked, self._filled, self._body_at = asked, 0, 0
        self.heard_at = self._loop.time()
        self._transport.write(asked.get.request)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's call
        return self._view[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        if self._asked is None:
            self.drop()
            return
        self._filled += nbytes
        self.heard_at = self._loop.time()
        get = self._asked.get
        if not self._body_at:
            end = self._buffer.find(_HEAD_END, 0, self._filled)
            if end >= 0 and self._is_usual(bytes(self._view[: end + 2]), get):
                self._body_at = end + len(_HEAD_END)
            elif end >= 0 or self._filled >= HEAD_BYTES:
                self.drop()
                return
            else:
                return
        missing = self._body_at + get.size - self._filled
        if missing < 0:
            self.drop()
        elif not missing:
            self._give(bytes(self._view[self._body_at : self._filled]))

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's call
        self.drop()

    def drop(self) -> None:
        """With what it was asked for."""
        self._transport.abort()
        asked, self._asked = self._asked, None
        if asked is not None:
            asked.give(None)
        self._pool.lost(self)

    def _give(self, content: bytes) -> None:
        asked, self._asked = self._asked, None
        assert asked is not None
        asked.give(content)
        if self._is_last:
            self.drop()
        else:
            self._pool.go_on(self)

    def _is_usual(self, head: bytes, get: SmallGet) -> bool:
        """Whether all of the object follows, and nothing else."""
        told = _TOLD.findall(head)
        fields = {name.lower(): value.strip() for name, value in told}
        self._is_last = b"close" in fields.get(b"connection", b"").lower()
        etag = fields.get(b"etag", b"").removeprefix(b"W/")
        return (
            head.startswith(b"HTTP/1.1 200 ")
            and _FOLDED.search(head) is None
            and len(told) == len(fields)
            and b"transfer-encoding" not in fields
            and fields.get(b"content-length") == b"%d" % get.size
            and (not etag or not get.etag or etag == get.etag)
        )
