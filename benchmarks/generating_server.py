"""An S3 server whose objects are generated while they are sent: `python -m benchmarks.generating_server [DELAY_MS]`.

`/SIZE/NAME` is an object of so many bytes; it answers ranges, and checks no signature. With a delay everything takes
half of it on each way, and no more than WINDOW_BYTES of a connection are on their way at once, as with TCP over a
distance. Prints its port and serves on loopback until it is killed.
"""

import asyncio
import re
import sys
from collections import deque
from typing import cast

import uvloop

HOST = "127.0.0.1"
WINDOW_BYTES = 1 << 20
SLICE_BYTES = 128 << 10
ETAG = '"generated"'
_SLICE = memoryview(bytes(range(256)) * (SLICE_BYTES // 256))
_PATH = re.compile(rb"GET /(\d+)/")
_RANGE = re.compile(rb"(?i)\r\nrange: *bytes=(\d+)-(\d+)")


class Generated(asyncio.Protocol):
    """One connection."""

    def __init__(self, delay_seconds: float) -> None:
        self._delay = delay_seconds / 2
        self._received = b""
        self._left = 0
        self._is_waiting = False
        self._on_its_way = 0
        self._later: deque[bytes | memoryview] = deque()
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        if self._delay:
            asyncio.get_running_loop().call_later(self._delay, self._take, data)
        else:
            self._take(data)

    def pause_writing(self) -> None:
        self._is_waiting = True

    def resume_writing(self) -> None:
        self._is_waiting = False
        self._go_on()

    def _take(self, data: bytes) -> None:
        self._received += data
        while b"\r\n\r\n" in self._received:
            head, _, self._received = self._received.partition(b"\r\n\r\n")
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        found, part = _PATH.match(head), _RANGE.search(head)
        size = int(found[1]) if found else 0
        first, last = (int(part[1]), int(part[2])) if part else (0, size - 1)
        self._left = last - first + 1
        status = b"206 Partial Content" if part else b"200 OK"
        span = b"Content-Range: bytes %d-%d/%d\r\n" % (first, last, size) if part else b""
        told = b"HTTP/1.1 %b\r\nContent-Length: %d\r\nETag: %b\r\n%b\r\n" % (status, self._left, ETAG.encode(), span)
        if self._left <= 4096:  # in one go
            told, self._left = told + bytes(_SLICE[: self._left]), 0
        self._send(told)
        self._go_on()

    def _go_on(self) -> None:
        while self._left and not self._is_waiting and self._on_its_way < WINDOW_BYTES:
            piece = _SLICE[: min(self._left, SLICE_BYTES)]
            self._left -= len(piece)
            self._send(piece)

    def _send(self, piece: bytes | memoryview) -> None:
        if not self._delay:
            self._transport.write(piece)
            return
        self._on_its_way += len(piece)
        self._later.append(piece)
        asyncio.get_running_loop().call_later(self._delay, self._arrive)

    def _arrive(self) -> None:
        piece = self._later.popleft()
        self._transport.write(piece)
        asyncio.get_running_loop().call_later(self._delay, self._acknowledged, len(piece))

    def _acknowledged(self, count: int) -> None:
        self._on_its_way -= count
        self._go_on()


async def serve(delay_seconds: float) -> None:
    server = await asyncio.get_running_loop().create_server(lambda: Generated(delay_seconds), HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(float(sys.argv[1]) / 1000 if len(sys.argv) > 1 else 0.0))
