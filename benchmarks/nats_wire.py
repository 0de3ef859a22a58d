"""As little of the NATS protocol as a benchmark's client needs, so that it leaves the processors to what it measures.

A message costs some microseconds here and some tens in nats-py. It does not connect again: a benchmark whose
connection breaks has failed.
"""

import asyncio
import base64
import json
import ssl
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import urlsplit

import nkeys

BUFFER_BYTES = 1 << 18

Deliver = Callable[[str, bytes], None]


class NatsFailed(Exception):
    """The server refused something, or the connection is gone."""


class NatsWire(asyncio.BufferedProtocol):
    """`deliver` is called with the subject and the payload of each message, without its headers.

    It reads into a buffer of its own: else uvloop allots 256 KiB for each piece that comes by TLS, and gives them back.
    """

    def __init__(self, deliver: Deliver, options: dict[str, Any], key: nkeys.KeyPair | None) -> None:
        loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = loop.create_future()
        self._welcome: asyncio.Future[None] = loop.create_future()
        self._options = options | {
            "lang": "python",
            "version": "0",
            "protocol": 1,
            "verbose": False,
            "pedantic": False,
            "headers": True,
            "no_responders": True,
        }
        self._key = key
        self._deliver = deliver
        self._buffer = bytearray(BUFFER_BYTES)
        self._received = b""
        self._subscriptions = 0
        self._pending: list[bytes] = []
        self._transport: asyncio.Transport | None = None

    async def ready(self) -> None:
        """Return when the server has let us in. Raises NatsFailed."""
        await self._welcome

    def subscribe(self, subject: str) -> None:
        self._subscriptions += 1
        self._write(b"SUB %s %d\r\n" % (subject.encode(), self._subscriptions))

    def publish(self, subject: str, payload: bytes, *, reply: str = "") -> None:
        self._write(b"PUB %s %s %d\r\n%s\r\n" % (subject.encode(), reply.encode(), len(payload), payload))

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # ---- what asyncio calls -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"The connection to NATS is gone: {exc!r}")

    def get_buffer(self, _: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        received, at = self._received + self._buffer[:nbytes], 0
        while (end := received.find(b"\r\n", at)) >= 0:
            line = received[at:end]
            if line[:3] == b"MSG" or line[:4] == b"HMSG":
                words = line.split(b" ")
                size = int(words[-1])
                if len(received) < end + 4 + size:
                    break
                skipped = int(words[-2]) if line[:1] == b"H" else 0
                self._deliver(words[1].decode(), received[end + 2 + skipped : end + 2 + size])
                at = end + 4 + size
            else:
                self._on_line(line)
                at = end + 2
        self._received = received[at:]

    # ---- details ------------------------------------------------------------------------------------------------

    def _on_line(self, line: bytes) -> None:
        word = line[:4]
        if word == b"INFO":
            if not self._welcome.done():
                self._introduce(json.loads(line[5:]).get("nonce", ""))
        elif word == b"PING":
            self._write(b"PONG\r\n")
        elif word == b"PONG":
            if not self._welcome.done():
                self._welcome.set_result(None)
        elif word == b"-ERR":
            self._fail(line.decode())

    def _introduce(self, nonce: str) -> None:
        if self._key is not None:
            signature = base64.urlsafe_b64encode(self._key.sign(nonce.encode())).decode().rstrip("=")
            self._options |= {"nkey": self._key.public_key.decode(), "sig": signature}
        self._write(b"CONNECT %s\r\nPING\r\n" % json.dumps(self._options).encode())

    def _fail(self, why: str) -> None:
        for future in (self._welcome, self.failed):
            if not future.done():
                future.set_exception(NatsFailed(why))
                future.exception()  # whoever waits is told; where nobody does, this is no mistake

    def _write(self, data: bytes) -> None:
        """What is written in one go of the loop goes out together, as clients of NATS do."""
        if not self._pending:
            asyncio.get_running_loop().call_soon(self._flush)
        self._pending.append(data)

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._pending))
        self._pending.clear()


async def connect(
    server: str,
    *,
    deliver: Deliver,
    user: str = "",
    password: str = "",
    key: nkeys.KeyPair | None = None,
    trust: ssl.SSLContext | None = None,
) -> NatsWire:
    """As a user with a password, or with a key; with `trust` it begins with TLS.

    Raises NatsFailed where the server refuses, OSError without one.
    """
    options = {"user": user, "pass": password, "name": user} if user else {}
    where, loop = urlsplit(server), asyncio.get_running_loop()
    _, wire = await loop.create_connection(
        lambda: NatsWire(deliver, options, key), where.hostname or "", where.port or 0, ssl=trust
    )
    await wire.ready()
    return wire
