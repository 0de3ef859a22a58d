"""Orchestrators: which of a set are there, as they answer each other by the service discovery of NATS."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable

import msgspec

from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection, Received
from shared.protocol.subjects import ORCHESTRATOR, ORCHESTRATORS_PING, own_inbox
from shared.runtime.aio import first_of

EVERY_SECONDS = 10.0
GONE_SECONDS = 25.0
"""Whoever has not answered for so long, and so twice, is not there."""
MOST = 100


class KnownOrchestrator(msgspec.Struct, frozen=True):
    """`instance` is another one after each start, and for each connection to NATS."""

    name: str
    version: str
    instance: str


class _Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What NATS lets every micro service say of itself (ADR-32)."""

    id: str
    version: str = ""
    metadata: dict[str, str] = {}


class Orchestrators:
    """`clock` gives monotonic seconds."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._seen: dict[str, tuple[float, KnownOrchestrator]] = {}
        """By instance."""

    def __repr__(self) -> str:
        return f"<Orchestrators, {len(self._seen)} seen>"

    def known(self) -> tuple[KnownOrchestrator, ...]:
        """Those that have answered a short time ago, by their names."""
        now = self._clock()
        there = [known for at, known in self._seen.values() if now - at < GONE_SECONDS]
        return tuple(sorted(there, key=lambda each: (each.name, each.instance)))

    async def run(self) -> None:
        """Ask once in a while, until cancelled."""
        inbox = own_inbox(secrets.token_hex(16))
        async with self._connection.subscribe(inbox) as answers:
            await first_of(self._ask(inbox), self._listen(answers))

    async def _ask(self, inbox: str) -> None:
        while True:
            await self._connection.wait_connected()
            with contextlib.suppress(MessagingUnavailable):  # it is asked again
                await self._connection.publish(ORCHESTRATORS_PING, b"", reply=inbox)
            await asyncio.sleep(EVERY_SECONDS)

    async def _listen(self, answers: AsyncIterator[Received]) -> None:
        async for received in answers:
            try:
                answer = msgspec.json.decode(received.payload, type=_Answer)
            except msgspec.DecodeError:
                continue
            self.note(answer.metadata.get(ORCHESTRATOR, answer.id), answer.version, answer.id)

    def note(self, name: str, version: str, instance: str) -> None:
        """It has answered."""
        now = self._clock()
        gone = [each for each, (at, _) in self._seen.items() if now - at >= GONE_SECONDS]
        for each in gone:
            del self._seen[each]
        if len(self._seen) < MOST or instance in self._seen:
            self._seen[instance] = now, KnownOrchestrator(name[:64], version[:64], instance)
