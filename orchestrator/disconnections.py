"""How a node that is connected is cut off: its connections are found and ended by the servers themselves.

Each server tells in the system account who is connected to it, and ends a connection at a word. An orchestrator is let
in there by its own callout, for as long as that takes.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import msgspec
import nats.errors

from orchestrator.nats_config import NODES_ACCOUNT
from shared import subjects
from shared.aio import heeding
from shared.errors import MessagingUnavailable
from shared.ids import NodeId
from shared.logs import about
from shared.secret import Secret
from shared.transport import Connection, Received, connect

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 1.0
"""How long the servers' answers are waited for after the last one; how many servers there are nobody knows."""
KICK_SECONDS = 5.0
PAGE = 1024


class _Server(msgspec.Struct):
    id: str


class _Connection(msgspec.Struct):
    cid: int
    name: str = ""


class _Page(msgspec.Struct):
    total: int = 0
    offset: int = 0
    connections: list[_Connection] = []


class _Answer(msgspec.Struct):
    """To CONNZ and KICK, of which what matters here is named (nats-server, `server/events.go` and `monitor.go`)."""

    server: _Server
    data: _Page = msgspec.field(default_factory=_Page)


_answers = msgspec.json.Decoder(_Answer)


class Disconnections:
    """`seed` is that of the system user."""

    def __init__(self, servers: Sequence[str], seed: Secret) -> None:
        self._servers = servers
        self._seed = seed

    async def run(self, flooding: "asyncio.Queue[NodeId]") -> None:
        """End the connections of each node that floods, until cancelled."""
        while True:
            node = await flooding.get()
            told = "Node %s sends far too much: it is shut out for a while, and %s."
            try:
                count = await self.end(node)
            except MessagingUnavailable as error:
                what = f"its connection cannot be ended: {error.message}"
            else:
                what = f"{count} connections of it are ended"
            _log.warning(told, node, what, extra=about(node=node))

    async def end(self, node: NodeId) -> int:
        """How many connections of the node there were, on all servers. Raises MessagingUnavailable."""
        ended = 0
        try:
            async with self._connected() as connection:
                async for server, cid in _connections(connection, node):
                    payload = msgspec.json.encode({"cid": cid})
                    await connection.request(
                        subjects.server_request(server, subjects.KICK), payload, timeout=KICK_SECONDS
                    )
                    ended += 1
        except (nats.errors.Error, OSError) as error:
            raise MessagingUnavailable(f"The servers do not tell who is connected: {error!r}") from error
        return ended

    @contextlib.asynccontextmanager
    async def _connected(self) -> AsyncIterator[Connection]:
        seed, inbox = self._seed.reveal(), subjects.SYSTEM_INBOX
        async with connect(self._servers, name="orchestrator", nkey_seed=seed, inbox_prefix=inbox) as connection:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.wait_connected()
            except TimeoutError:
                message = "The NATS servers do not let the orchestrator into their system account."
                hint = "See `tarpon agent nats-config` for what their configuration needs."
                raise MessagingUnavailable(message, hint=hint) from None
            yield connection

    def __repr__(self) -> str:
        return f"<Disconnections on {', '.join(self._servers)}>"


async def _connections(connection: Connection, node: NodeId) -> AsyncIterator[tuple[str, int]]:
    """Server and number of each. Raises MessagingUnavailable where no server answers."""
    inbox, heard = connection.client.new_inbox(), False
    async with connection.subscribe(inbox) as answers:
        await _ask(connection, "PING", 0, inbox)
        while (received := await _next(answers)) is not None:
            heard = True
            answer = _read(received)
            page = answer.data
            for each in page.connections:
                if each.name == node:
                    yield answer.server.id, each.cid
            if page.connections and page.offset + len(page.connections) < page.total:
                await _ask(connection, answer.server.id, page.offset + len(page.connections), inbox)
    if not heard:
        raise MessagingUnavailable("No server tells who is connected to it.")


async def _ask(connection: Connection, server: str, offset: int, inbox: str) -> None:
    wanted = {"acc": NODES_ACCOUNT, "auth": True, "limit": PAGE, "offset": offset}
    subject = subjects.server_request(server, subjects.CONNECTIONS)
    await heeding(connection.client.publish(subject, msgspec.json.encode(wanted), reply=inbox))


async def _next(answers: AsyncIterator[Received]) -> Received | None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            return await anext(answers)
    except TimeoutError:
        return None


def _read(received: Received) -> _Answer:
    try:
        return _answers.decode(received.payload)
    except msgspec.DecodeError as error:
        raise MessagingUnavailable(f"A server's answer is not understood: {str(error)[:200]}") from None
