"""A node that has joined and floods: `python -m tests.hostile_node FLOOD SECONDS NAME SERVER` (no tests).

The join secret is in the environment as TARPON_COMPUTE_AUTH_TOKEN. It speaks raw NATS, as fast as the server takes it,
for a bounded time; when its connection is ended it tries to come back. Prints how many messages and bytes it sent, and
how often it was let in, as a line of JSON. It is meant for an orchestrator of one's own, on loopback.
"""

import asyncio
import enum
import json
import os
import sys
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import Any

import msgspec
import nats.errors
import nkeys
from nats.aio.client import Client

from shared.ids import ExecutionId, NodeId
from shared.messaging.transport import MAX_PAYLOAD_BYTES
from shared.protocol import subjects
from shared.protocol.messages import ExecutionStarted, GrantRequest, Heartbeat, Report, encode

BYTES_AT_ONCE = 256 << 10
PAUSE_SECONDS = 0.05
CONNECT_SECONDS = 3


class Flood(enum.StrEnum):
    HEARTBEATS = "heartbeats"
    SESSIONS = "sessions"
    REGISTRATIONS = "registrations"
    UNKNOWN = "unknown"
    MANY_UNKNOWN = "many-unknown"
    NONSENSE = "nonsense"
    REQUESTS = "requests"


def message(flood: Flood, node: NodeId, number: int) -> tuple[str, bytes]:
    """The subject and the payload of one of them."""
    match flood:
        case Flood.HEARTBEATS:
            return subjects.node_heartbeat(node), encode(Heartbeat(session="s-1"))
        case Flood.SESSIONS:
            return subjects.node_heartbeat(node), encode(Heartbeat(session=f"s-{number}"))
        case Flood.REGISTRATIONS:
            return subjects.node_requests(node), _registration(node, number)
        case Flood.UNKNOWN:
            return subjects.node_reports(node), _report(number)
        case Flood.MANY_UNKNOWN:
            inner = b",".join(_report(9000 * number + each) for each in range(9000))
            return subjects.node_reports(node), b'{"type":"Reports","reports":[%b]}' % inner
        case Flood.NONSENSE:
            return subjects.node_reports(node), b"\xff" * 100_000
        case Flood.REQUESTS:
            return subjects.node_requests(node), encode(GrantRequest(execution_id=ExecutionId(f"e-{number}")))


def _report(number: int) -> bytes:
    return encode(Report(execution_id=ExecutionId(f"e-{number}"), facts=(ExecutionStarted(),)))


def _registration(node: NodeId, number: int) -> bytes:
    """Of 800 KB, with another label each time."""
    info = {"node_id": node, "version": "0", "labels": {"number": str(number)}}
    held = [f"e-{each:032}" for each in range(21_000)]
    told = {"type": "Registration", "info": info, "session": f"s-{number}", "inventory": number, "held": held}
    return json.dumps(told).encode()


class HostileNode:
    """Floods until `until`, a monotonic time."""

    def __init__(self, flood: Flood, name: str, server: str, secret: str, until: float) -> None:
        self.sent = self.sent_bytes = self.let_in = 0
        self._node = NodeId(name)
        self._server = server
        self._secret = secret
        self._until = until
        self._seed = nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode()
        some = 4 if flood in {Flood.REGISTRATIONS, Flood.MANY_UNKNOWN} else 256
        made = [message(flood, self._node, number) for number in range(some)]
        assert all(len(payload) <= MAX_PAYLOAD_BYTES for _, payload in made)
        self._chunks = list(_chunks(made))

    async def run(self) -> None:
        while time.monotonic() < self._until:
            client = Client()
            try:
                await client.connect(
                    [self._server],
                    name=self._node,
                    token=self._secret,
                    nkeys_seed_str=self._seed,
                    inbox_prefix=subjects.node_inbox(self._node),
                    allow_reconnect=False,
                    connect_timeout=CONNECT_SECONDS,
                    error_cb=_ignore,
                )
                self.let_in += 1
                await self._send(client)
            except (nats.errors.Error, OSError, RuntimeError, TimeoutError):
                await asyncio.sleep(PAUSE_SECONDS)
            finally:
                await client.close()

    async def _send(self, client: Client) -> None:
        transport: Any = client._transport  # faster than anything that nats-py offers
        assert transport is not None
        for turn in count():
            if time.monotonic() >= self._until or not client.is_connected:
                return
            number, chunk = self._chunks[turn % len(self._chunks)]
            transport.write(chunk)
            async with asyncio.timeout(CONNECT_SECONDS):
                await transport.drain()
            self.sent += number
            self.sent_bytes += len(chunk)
            await asyncio.sleep(0)

    def __repr__(self) -> str:
        return f"<HostileNode {self._node}, {self.sent} sent>"


def _chunks(made: list[tuple[str, bytes]]) -> Iterator[tuple[int, bytes]]:
    """How many messages, and these as they are on the wire."""
    repeated = (made[number % len(made)] for number in count())
    size = max(len(payload) for _, payload in made)
    at_once = max(1, min(1000, BYTES_AT_ONCE // (size + 64)))
    for _ in range(max(1, len(made) // at_once)):
        lines = [b"PUB %b %d\r\n%b\r\n" % (each.encode(), len(body), body) for each, body in islice(repeated, at_once)]
        yield at_once, b"".join(lines)


async def _ignore(_: Exception) -> None:
    """That it is refused is told by what it is let do."""


async def main(flood: Flood, seconds: float, name: str, server: str) -> None:
    secret = os.environ["TARPON_COMPUTE_AUTH_TOKEN"]
    node = HostileNode(flood, name, server, secret, time.monotonic() + seconds)
    await node.run()
    told = {"sent": node.sent, "megabytes": node.sent_bytes // 10**6, "let_in": node.let_in}
    sys.stdout.write(msgspec.json.encode(told).decode() + "\n")


if __name__ == "__main__":
    asyncio.run(main(Flood(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4]))
