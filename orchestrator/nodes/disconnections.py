"""Disconnections: how a node is seen and cut off by the servers themselves, whatever it sends.

Each server tells in the system account who is connected to it and how much came from there, and ends a connection at a
word. An orchestrator is let in there by its own callout. What a node sends is counted there also where nobody hears it:
what the stream of reports refuses, or no subscription takes, costs a server its time all the same.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import msgspec

from orchestrator.admission.budgets import Budgets
from orchestrator.admission.nats_accounts import KnownAccounts
from shared.errors import MessagingUnavailable
from shared.ids import NodeId
from shared.messaging.problems import NO_ANSWER
from shared.messaging.transport import Connection, Received
from shared.protocol import subjects
from shared.runtime.aio import raising_cancellation
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

CONNECT_SECONDS = 5.0
LOOK_SECONDS = 3.0
"""How often it is looked how much each connection sends; sooner where a node is over its budget."""
SOON_SECONDS = 0.1
ANSWER_SECONDS = 1.0
"""How long the servers' answers are waited for after the last one; how many servers there are nobody knows."""
LOOK_ANSWER_SECONDS = 0.15
"""The same where another look follows."""
KICK_SECONDS = 5.0
PURGE_SECONDS = 5.0
PAGE = 1024
AGAIN_SECONDS = 3.0
MOST_NAMED = 10


class _Server(msgspec.Struct):
    id: str


class _Connection(msgspec.Struct):
    cid: int
    name: str = ""
    authorized_user: str = ""
    in_msgs: int = 0
    in_bytes: int = 0


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
    """`system` is a connection of the system user, `own` one of an orchestrator.

    `users_ended` tells of users whose keys were revoked: programs that are connected as those are cut off.
    """

    def __init__(
        self,
        system: Connection,
        own: Connection,
        budgets: Budgets,
        accounts: KnownAccounts,
        users_ended: "asyncio.Queue[str] | None" = None,
    ) -> None:
        self._users_ended: asyncio.Queue[str] = users_ended or asyncio.Queue()
        self._system = system
        self._own = own
        self._budgets = budgets
        self._accounts = accounts
        self._seen: dict[tuple[str, int], tuple[int, int]] = {}
        """Of each connection how many messages and bytes had come when it was looked at last."""

    async def run(self) -> None:
        """Shut out each node that floods, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch(), name="traffic")
            group.create_task(self._end_users(), name="users")
            while True:
                await self._shut_out(await self._budgets.flooding.get())

    async def end(self, node: NodeId) -> int:
        """How many connections of the node there were, on all servers. Raises MessagingUnavailable."""
        ended = 0
        await self._let_in()
        async for server, each in self._connections(self._accounts.names.nodes):
            if each.name == node:
                await self._kick(server, each)
                ended += 1
        return ended

    async def _kick(self, server: str, connection: _Connection) -> None:
        payload = msgspec.json.encode({"cid": connection.cid})
        await self._system.request(subjects.server_request(server, subjects.KICK), payload, timeout=KICK_SECONDS)

    async def _end_users(self) -> None:
        """Those that end meanwhile are cut off together. Each orchestrator does it, as any may be cut off itself."""
        said = ""
        while True:
            names = {await self._users_ended.get()}
            while not self._users_ended.empty():
                names.add(self._users_ended.get_nowait())
            try:
                await self._end_all(names)
            except MessagingUnavailable as error:
                shown = ", ".join(sorted(names)[:MOST_NAMED])
                told = f"Users {shown} may be connected to NATS still, and hear events: {error.message} {error.hint}"
                _log.log(logging.DEBUG if told == said else logging.WARNING, "%s", told)
                said = told
                await asyncio.sleep(AGAIN_SECONDS)
                for name in names:
                    self._users_ended.put_nowait(name)
            else:
                said = ""

    async def _end_all(self, names: set[str]) -> None:
        """Raises MessagingUnavailable."""
        await self._let_in()
        async for server, each in self._connections(self._accounts.names.integrations):
            if subjects.keyed_user(each.authorized_user) in names:
                await self._kick(server, each)
                _log.info("A connection of user %s is ended, as its key is.", each.authorized_user)

    async def _shut_out(self, node: NodeId) -> None:
        """What it has told and nobody has read goes too: a node of ours tells it again when it connects again."""
        told = "Node %s sends far too much: it is shut out for a while, and %s."
        try:
            count = await self.end(node)
            await self._purge(node)
        except MessagingUnavailable as error:
            what = f"its connection cannot be ended: {error.message}"
        else:
            what = f"{count} connections of it are ended"
        _log.warning(told, node, what, extra=about(node=node))

    async def _purge(self, node: NodeId) -> None:
        try:
            async with asyncio.timeout(PURGE_SECONDS):
                stream = self._own.client.jetstream()
                await raising_cancellation(
                    stream.purge_stream(subjects.REPORTS_STREAM, subject=subjects.node_reports(node))
                )
        except NO_ANSWER as error:
            raise MessagingUnavailable(f"What node {node} told cannot be removed: {error!r}") from error

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._budgets.suspicion.wait()
            self._budgets.suspicion.clear()
            if self._system.connected:
                try:
                    await self._look()
                except MessagingUnavailable as error:
                    _log.debug("How much nodes send cannot be told: %s", error.message)
            await asyncio.sleep(SOON_SECONDS)

    async def _look(self) -> None:
        seen: dict[tuple[str, int], tuple[int, int]] = {}
        servers = {server for server, _ in self._seen}
        async for server, each in self._connections(self._accounts.names.nodes, patience=LOOK_ANSWER_SECONDS):
            key = server, each.cid
            messages, size = self._seen.get(key, (0, 0))
            seen[key] = each.in_msgs, each.in_bytes
            if server in servers:  # else it is not known over how long that came
                self._budgets.on_traffic(NodeId(each.name), each.in_msgs - messages, each.in_bytes - size)
        self._seen = seen

    async def _let_in(self) -> None:
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self._system.wait_connected()
        except TimeoutError:
            raise MessagingUnavailable(
                "The NATS servers do not let the orchestrator into their system account.",
                hint="`tarpon agent nats-check` tells what their configuration lacks.",
            ) from None

    async def _connections(
        self, account: str, *, patience: float = ANSWER_SECONDS
    ) -> AsyncIterator[tuple[str, _Connection]]:
        """All of the account, each with its server. Raises MessagingUnavailable where no server answers."""
        try:
            inbox, heard = self._system.client.new_inbox(), False
            async with self._system.subscribe(inbox) as answers:
                await self._ask("PING", account, 0, inbox)
                while (received := await _next(answers, patience)) is not None:
                    heard = True
                    answer = _read(received)
                    page, server = answer.data, answer.server.id
                    for each in page.connections:
                        yield server, each
                    if page.connections and page.offset + len(page.connections) < page.total:
                        await self._ask(server, account, page.offset + len(page.connections), inbox)
        except NO_ANSWER as error:
            raise MessagingUnavailable(f"The servers do not tell who is connected: {error!r}") from error
        if not heard:
            raise MessagingUnavailable("No server tells who is connected to it.")

    async def _ask(self, server: str, account: str, offset: int, inbox: str) -> None:
        wanted = {"acc": account, "auth": True, "limit": PAGE, "offset": offset}
        subject = subjects.server_request(server, subjects.CONNECTIONS)
        await raising_cancellation(self._system.client.publish(subject, msgspec.json.encode(wanted), reply=inbox))

    def __repr__(self) -> str:
        return f"<Disconnections over {self._system!r}, {len(self._seen)} connections seen>"


async def _next(answers: AsyncIterator[Received], patience: float) -> Received | None:
    try:
        async with asyncio.timeout(patience):
            return await anext(answers)
    except TimeoutError:
        return None


def _read(received: Received) -> _Answer:
    try:
        return _answers.decode(received.payload)
    except msgspec.DecodeError as error:
        raise MessagingUnavailable(f"A server's answer is not understood: {str(error)[:200]}") from None
