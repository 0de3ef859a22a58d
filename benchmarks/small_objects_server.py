"""An S3 server for results of a few KiB, as cheap as Python allows: `python -m benchmarks.small_objects_server`.

It remembers size and MD5 of each object, so that HEAD answers what a verification needs, and throws the bytes away, but
for those of the smallest, such as the orchestrator's probe, which it gives back. It checks no signature and knows
nothing of uploads in parts; benchmarks/discard_server.py is the one for large results. Prints its port and serves on
loopback until it is killed.
"""

import asyncio
import hashlib
from typing import NamedTuple, cast

import uvloop

HOST = "127.0.0.1"
KEPT_BYTES = 128
MAX_HEAD_BYTES = 64 << 10
_LAST_MODIFIED = b"Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n"
_LENGTH_REQUIRED = b"HTTP/1.1 411 Length Required\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NOT_FOUND = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
_REFUSED = b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n"
_NOT_ALLOWED = b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n"


class Stored(NamedTuple):
    size_bytes: int
    md5: bytes
    body: bytes


class Request(NamedTuple):
    method: bytes
    path: bytes
    headers: bytes
    """As they came, in lower case."""


class Conversation(asyncio.Protocol):
    """One connection; `objects` is shared by all."""

    def __init__(self, objects: dict[bytes, Stored]) -> None:
        self._objects = objects
        self._received = bytearray()
        self._request: Request | None = None
        self._missing_bytes = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        self._received += data
        while self._advance():
            pass

    def _advance(self) -> bool:
        """Take one request or one body from what was received; False if it is not all there yet."""
        if self._request is None and not self._begin():
            return False
        if self._request is None or len(self._received) < self._missing_bytes:
            return False
        body = bytes(self._received[: self._missing_bytes])
        del self._received[: self._missing_bytes]
        request, self._request = self._request, None
        self._write(self._answer(request, body))
        return True

    def _begin(self) -> bool:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            if len(self._received) > MAX_HEAD_BYTES:
                self._close()
            return False
        head = bytes(self._received[:end])
        del self._received[: end + 4]
        first, _, headers = head.partition(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        request = Request(method, target.partition(b"?")[0], b"\r\n" + headers.lower())
        length = _header(request, b"content-length")
        if method == b"PUT" and not length:
            self._write(_LENGTH_REQUIRED)
            self._close()
            return False
        if _header(request, b"expect"):
            self._write(_CONTINUE)
        self._request, self._missing_bytes = request, int(length or b"0")
        return True

    def _answer(self, request: Request, body: bytes) -> bytes:
        stored = self._objects.get(request.path)
        match request.method:
            case b"PUT" if stored is not None and _header(request, b"if-none-match"):
                return _REFUSED
            case b"PUT":
                md5 = hashlib.md5(body, usedforsecurity=False).hexdigest().encode()
                self._objects[request.path] = Stored(len(body), md5, body if len(body) <= KEPT_BYTES else b"")
                return b'HTTP/1.1 200 OK\r\nETag: "%s"\r\nContent-Length: 0\r\n\r\n' % md5
            case b"HEAD" | b"GET":
                if stored is None:
                    return _NOT_FOUND
                told = b'HTTP/1.1 200 OK\r\nETag: "%s"\r\n%sContent-Length: %d\r\n\r\n'
                head = told % (stored.md5, _LAST_MODIFIED, stored.size_bytes)
                return head + stored.body if request.method == b"GET" else head
            case _:
                return _NOT_ALLOWED

    def _write(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def _close(self) -> None:
        assert self._transport is not None
        self._transport.close()


def _header(request: Request, name: bytes) -> bytes:
    _, found, rest = request.headers.partition(b"\r\n" + name + b":")
    return rest.partition(b"\r\n")[0].strip() if found else b""


async def serve() -> None:
    objects: dict[bytes, Stored] = {}
    server = await asyncio.get_running_loop().create_server(lambda: Conversation(objects), HOST, 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve())
