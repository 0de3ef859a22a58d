"""Connections of nodes by the word of the NATS server, which a benchmark asks as an orchestrator does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

import msgspec

from benchmarks.rig import Rig
from orchestrator.admission.nats_accounts import Accounts
from orchestrator.admission.secret_files import SecretSources, load_secrets
from shared.errors import MessagingUnavailable
from shared.messaging.transport import Connection, connect
from shared.protocol import subjects

PAGE = 1024
ANSWER_SECONDS = 10.0
NOTICED_SECONDS = 0.5
"""Between the end of a connection and its notice, mostly much less."""
OPEN, CLOSED = 0, 1
_FRACTION_DIGITS = 6


class NodeConnection(msgspec.Struct):
    """One that stands or has ended, as CONNZ tells of it (nats-server, `server/monitor.go`)."""

    cid: int
    start: str
    name: str = ""
    stop: str = ""
    reason: str = ""

    @property
    def began(self) -> float:
        return _seconds(self.start)

    @property
    def ended(self) -> float:
        return _seconds(self.stop)


class _Page(msgspec.Struct):
    total: int = 0
    connections: list[NodeConnection] = []


class _Server(msgspec.Struct):
    id: str


class _Answer(msgspec.Struct):
    server: _Server
    data: _Page


class Connections:
    """Asks over a connection of its own, which is made again where it ends too."""

    def __init__(self, system: Connection) -> None:
        self._system = system

    async def standing(self) -> list[NodeConnection]:
        return await self._all(OPEN)

    async def ended(self) -> list[NodeConnection]:
        """The last 10,000 that the server remembers."""
        return await self._all(CLOSED)

    async def _all(self, state: int) -> list[NodeConnection]:
        found: list[NodeConnection] = []
        while True:
            asked = {"acc": Accounts().nodes, "auth": True, "limit": PAGE, "offset": len(found), "state": state}
            page = await self._page(asked)
            found += page.connections
            if not page.connections or len(found) >= page.total:
                return found

    async def _page(self, asked: dict[str, Any]) -> _Page:
        """Asked again where the connection ends meanwhile."""
        subject, payload = subjects.server_request("PING", subjects.CONNECTIONS), msgspec.json.encode(asked)
        while True:
            await self._system.wait_connected()
            number = self._system.connections
            try:
                answer = await self._system.request(subject, payload, timeout=ANSWER_SECONDS)
            except MessagingUnavailable:
                await asyncio.sleep(NOTICED_SECONDS)
                if self._system.connected and self._system.connections == number:
                    raise
            else:
                return msgspec.json.decode(answer, type=_Answer).data

    def __repr__(self) -> str:
        return f"<Connections over {self._system!r}>"


@asynccontextmanager
async def connections(made: Rig) -> AsyncIterator[Connections]:
    secrets = load_secrets(SecretSources(directory=made.stack.root / "orchestrator" / "orchestrator" / "secrets"))
    async with connect(
        (made.stack.nats_url,),
        name="orchestrator",
        nkey_seed=secrets.system_seed.reveal(),
        inbox_prefix=subjects.SYSTEM_INBOX,
        trust=made.stack.trust(),
        quiet=True,
    ) as system:
        yield Connections(system)


def _seconds(instant: str) -> float:
    """Go tells nanoseconds, which Python does not read."""
    whole, _, fraction = instant.rstrip("Z").partition(".")
    return datetime.fromisoformat(
        f"{whole}.{fraction[:_FRACTION_DIGITS].ljust(_FRACTION_DIGITS, '0')}+00:00"
    ).timestamp()
