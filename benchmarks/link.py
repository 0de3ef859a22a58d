"""A link over a distance: `python -m benchmarks.link TARGET_PORT MBIT DELAY_MS` relays to the port of loopback.

All connections share what goes each way, `MBIT` million bits a second. Everything takes half of the delay on each way.
Of one connection and way twice as much is under way as the link holds, as with TCP whose windows are large enough.
Prints its port and serves on loopback until it is killed.
"""

import asyncio
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

import uvloop

from tarpon.devstack.seaweedfs import HOST

BUFFER_BYTES = 256 << 10
"""Of a socket: what it holds is on no link."""
PIECE_BYTES = 64 << 10


class Way:
    """One way of the link."""

    def __init__(self, bytes_per_second: float, delay_seconds: float) -> None:
        self.delay = delay_seconds
        self.window_bytes = max(BUFFER_BYTES, int(4 * bytes_per_second * delay_seconds))
        self._bytes_per_second = bytes_per_second
        self._free_at = 0.0

    def arrival(self, now: float, size_bytes: int) -> float:
        """When so many bytes that are sent now have arrived."""
        self._free_at = max(now, self._free_at) + size_bytes / self._bytes_per_second
        return self._free_at + self.delay


class End(asyncio.Protocol):
    """One end of a connection; what it receives goes over the way to the other end."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._other: End | None = None
        self._transport: asyncio.Transport | None = None
        self._under_way: deque[bytes] = deque()
        self._bytes = 0
        self._is_full = False

    def join(self, other: "End") -> None:
        self._other = other

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        loop = asyncio.get_running_loop()
        for at in range(0, len(data), PIECE_BYTES):
            piece = data[at : at + PIECE_BYTES]
            self._under_way.append(piece)
            self._bytes += len(piece)
            loop.call_at(self._way.arrival(loop.time(), len(piece)), self._arrive)
        self._heed()

    def _arrive(self) -> None:
        piece = self._under_way.popleft()
        self._bytes -= len(piece)
        if self._other is not None and self._other._transport is not None:  # noqa: SLF001  # of this class
            self._other._transport.write(piece)  # noqa: SLF001
        self._heed()

    def _heed(self) -> None:
        """Read no more than the link takes."""
        assert self._transport is not None
        is_full = self._bytes >= self._way.window_bytes
        if is_full != self._is_full and not self._transport.is_closing():
            (self._transport.pause_reading if is_full else self._transport.resume_reading)()
            self._is_full = is_full

    def connection_lost(self, _error: Exception | None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_at(self._way.arrival(loop.time(), 0), self._end)

    def _end(self) -> None:
        if self._other is not None and self._other._transport is not None:  # noqa: SLF001
            self._other._transport.close()  # noqa: SLF001


async def serve(target_port: int, bytes_per_second: float, delay_seconds: float) -> None:
    loop = asyncio.get_running_loop()
    there, back = (Way(bytes_per_second, delay_seconds / 2) for _ in range(2))
    with _bounded(socket.create_server((HOST, 0), backlog=128)) as listener:
        listener.setblocking(False)
        print(listener.getsockname()[1], flush=True)
        while True:
            accepted, _ = await loop.sock_accept(listener)
            target = _bounded(socket.socket())
            target.setblocking(False)
            await loop.sock_connect(target, (HOST, target_port))
            near, far = End(there), End(back)
            near.join(far)
            far.join(near)
            for end, its in ((far, target), (near, accepted)):
                its.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.create_connection(lambda end=end: end, sock=its)  # type: ignore[misc]  # mypy on defaults


def _bounded(made: socket.socket) -> socket.socket:
    """What is accepted has the same bounds."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        made.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
    return made


@contextmanager
def link(target_port: int, *, mbit: float, delay_ms: float) -> Iterator[int]:
    """The port of such a link, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.link", str(target_port), str(mbit), str(delay_ms)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.kill()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), float(sys.argv[2]) * 1e6 / 8, float(sys.argv[3]) / 1000))
