"""Buffers for large bodies: what an HTTP answer brings goes from its connection into memory once, and then to the disk.

aiohttp makes an object of each piece that comes, and its parser copies that into another one, which takes longer than
all else that a node does for a large object. So when aiohttp has read the head of an answer, its connection is taken
over for the rest of the body, and closed afterwards.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

BUFFER_BYTES = 512 << 10
FLUSH_SECONDS = 5.0
"""What has come is given at the latest after that, so that a slow connection is not taken for a dead one."""


class BodyBuffers(asyncio.BufferedProtocol):
    """Two of them: one is filled while the other is written. `left` bytes are to come after the `head`."""

    def __init__(self, transport: asyncio.Transport, head: bytes, left: int) -> None:
        self._transport = transport
        self._head = memoryview(head)
        self._left = left
        self._buffers = (memoryview(bytearray(BUFFER_BYTES)), memoryview(bytearray(BUFFER_BYTES)))
        self._current = 0
        self._filled = 0
        self._has_come = asyncio.Event()
        self._is_due = False
        self._is_over = False

    def __repr__(self) -> str:
        return f"<BodyBuffers, {self._left} bytes are to come>"

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  # asyncio's call
        """What has no place is no part of the body; it has to go somewhere all the same."""
        end = min(BUFFER_BYTES, self._filled + self._left)
        return self._buffers[self._current][self._filled : end] or memoryview(bytearray(1))

    def buffer_updated(self, nbytes: int) -> None:
        count = min(nbytes, self._left, BUFFER_BYTES - self._filled)
        self._left -= count
        self._filled += count
        if self._filled == BUFFER_BYTES or not self._left or self._is_due:
            self._give()

    def eof_received(self) -> bool:
        self._is_over = True
        self._has_come.set()
        return False

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's call
        self._is_over = True
        self._has_come.set()

    async def next(self) -> memoryview:
        """As much as a buffer takes, or what has come within FLUSH_SECONDS; less before the end, and nothing after it.

        It is valid until `go_on` is called for the second time from now. Raises ConnectionError after all that came.
        """
        if self._head:
            head, self._head = self._head, memoryview(b"")
            return head
        await self._come()
        if not self._filled and self._left:
            raise ConnectionResetError
        view = self._buffers[self._current][: self._filled]
        self._current, self._filled = 1 - self._current, 0
        return view

    async def _come(self) -> None:
        flush = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._flush)
        try:
            while self._left and not self._is_over and not (self._filled and self._is_due):
                if self._filled == BUFFER_BYTES:
                    break
                self._has_come.clear()
                await self._has_come.wait()
        finally:
            self._is_due = False
            flush.cancel()

    def _flush(self) -> None:
        self._is_due = True
        if self._filled:
            self._give()

    def _give(self) -> None:
        """Nothing more comes before the other buffer is known to be free."""
        if not self._transport.is_closing():
            self._transport.pause_reading()
        self._has_come.set()

    def go_on(self) -> None:
        """What was given before the last is of no use any more, so that it may be filled again."""
        if self._left and not self._transport.is_closing():
            self._transport.resume_reading()


@contextmanager
def taken_over(response: aiohttp.ClientResponse, size_bytes: int) -> Iterator[BodyBuffers]:
    """The body, of so many bytes, of an answer whose head was read. Raises ConnectionError."""
    connection = response.connection
    transport = connection.transport if connection is not None else None
    if transport is None or transport.is_closing():
        raise ConnectionResetError
    protocol = transport.get_protocol()
    transport.pause_reading()
    head = response.content.read_nowait()
    body = BodyBuffers(transport, head, size_bytes - len(head))
    transport.set_protocol(body)
    body.go_on()
    try:
        yield body
    finally:
        transport.set_protocol(protocol)
        response.close()
