"""Jobs and nodes that are deleted and made again, under the same names, while everything fails (no tests in here)."""

import asyncio
import contextlib
import os
import time
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from shared.errors import MessagingUnavailable
from shared.ids import NodeId
from shared.messaging.transport import Connection, connect
from shared.protocol import messages, subjects
from shared.protocol.messages import NodeInfo, Reconciliation, Registration
from shared.runtime.aio import pipelined
from tests.chaos import evidence
from tests.chaos.alone import Alone
from tests.chaos.faults import Faults
from tests.chaos.load import JOBS, NOT_FOUND, Client
from tests.chaos.schedule import NATS_SERVERS
from tests.chaos.stack import Stack
from tests.nats_bus import new_user_seed
from tests.servers import HOST

NAMES = tuple(f"churn-{number}" for number in range(3))
ROUND_SECONDS = 120.0
"""For one round of deleting and making again; so long all can be away."""
QUIET_SECONDS = 60.0
"""The same when nothing fails any more: what takes longer is refused."""
ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.3
OK = 200
NODES = "/orchestrator/nodes"


class Churn:
    """`deleted_jobs` are the ids of jobs, `deleted_nodes` the names of nodes, that must not be known any more.

    `refused` tells which free names could not be taken again, and what could not be deleted.
    """

    def __init__(
        self, stack: Stack | Alone, client: Client, *, run: str, secret_file: Path, mark_seconds: float
    ) -> None:
        self.deleted_jobs: set[str] = set()
        self.deleted_nodes: set[str] = set()
        self.refused: list[str] = []
        self.rounds = 0
        self._stack = stack
        self._client = client
        self._run = run
        self._secret = secret_file.read_text().strip()
        self._mark_seconds = mark_seconds

    async def run(self, seconds: float) -> None:
        """Go on for so long. A round that does not end while all is failing is tried again."""
        both = [one for name in NAMES for one in (self._job(name), self._node(name))]

        async def rounds(one: Callable[[], Awaitable[None]]) -> None:
            while True:
                await self._within(ROUND_SECONDS, one)

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await pipelined(both, rounds, at_once=len(both))

    async def keep_one(self) -> None:
        """Have a job that stays: a server remembers nothing of what is older than all that it keeps."""
        await self._ask("PUT", JOBS, {"Job": self._document("stays"), "IdempotencyToken": str(uuid.uuid4())})

    async def take_each_name(self) -> None:
        """Once more, when nothing fails any more: then none may be refused."""

        async def once(name: str) -> None:
            for what, one in (("job", self._job(name)), ("node", self._node(name))):
                if not await self._within(QUIET_SECONDS, one):
                    self.refused.append(f"a {what} of the free name {name} was not made and deleted")

        await pipelined(NAMES, once, at_once=len(NAMES))

    async def until_marks_are_gone(self) -> None:
        """And all that was written along with them is older than them."""
        await asyncio.sleep(self._mark_seconds * 1.2)

    async def _within(self, seconds: float, one: Callable[[], Awaitable[None]]) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await one()
        except TimeoutError:
            return False
        self.rounds += 1
        return True

    # ---- jobs -------------------------------------------------------------------------------------------------------

    def _job(self, name: str) -> Callable[[], Awaitable[None]]:
        async def one() -> None:
            body = {"Job": self._document(name), "IdempotencyToken": str(uuid.uuid4())}
            # An orchestrator that is behind may know the one before still, which is a conflict for a while.
            made = str((await self._ask("PUT", JOBS, body)).get("JobID"))
            if made in self.deleted_jobs:
                self.refused.append(f"the name {name} led to the deleted job {made}")
            await self._delete("DELETE", f"{JOBS}/{made}/record?force=true")
            self.deleted_jobs.add(made)

        return one

    def _document(self, name: str) -> dict[str, Any]:
        task = {"Name": "main", "Engine": {"Type": "noop"}, "Timeouts": {"QueueTimeout": 3600}}
        return {"Name": f"{self._run}-{name}", "Type": "batch", "Tasks": [task], "Meta": {"at": str(time.time_ns())}}

    async def _delete(self, method: str, path: str, body: Any = None) -> None:
        """Until all say that it is not there: who does may be behind, and the answer before may have been lost."""
        while True:
            answers = [await self._client.ask_once(method, port, path, body) for port in self._client.ports]
            if all(answer is not None and answer.status == NOT_FOUND for answer in answers):
                return
            await asyncio.sleep(PAUSE_SECONDS)

    async def _ask(self, method: str, path: str, body: Any) -> dict[str, Any]:
        first = int.from_bytes(os.urandom(1), "big")
        return (await self._client.ask(method, path, body, first=first, what=lambda status: status == OK)).body

    # ---- nodes ------------------------------------------------------------------------------------------------------

    def _node(self, name: str) -> Callable[[], Awaitable[None]]:
        node = NodeId(name)

        async def one() -> None:
            if name not in self.deleted_nodes:  # a round that did not end has left it, bound to a key that is gone
                await self._delete_node(name)
            servers = [f"nats://{HOST}:{port}" for port in self._stack.nats_ports]
            joining = connect(
                servers,
                name=node,
                nkey_seed=new_user_seed(),
                token=self._secret,
                inbox_prefix=subjects.node_inbox(node),
            )
            async with joining as connection:
                self.deleted_nodes.discard(name)
                await connection.wait_connected()
                session = uuid.uuid4().hex
                await self._register(connection, node, session, 1, leaving=False)
                await self._register(connection, node, session, 2, leaving=True)
            # A new leader takes it for connected, until it has had its time to be heard.
            await self._delete_node(name)

        return one

    async def _delete_node(self, name: str) -> None:
        await self._delete("PUT", f"{NODES}/{name}", {"Action": "delete"})
        self.deleted_nodes.add(name)

    @staticmethod
    async def _register(connection: Connection, node: NodeId, session: str, inventory: int, *, leaving: bool) -> None:
        """As a node that can run nothing."""
        info = NodeInfo(node_id=node, version="0")
        payload = messages.encode(Registration(info=info, session=session, inventory=inventory, leaving=leaving))
        while True:
            try:
                answer = await connection.request(subjects.node_requests(node), payload, timeout=ANSWER_SECONDS)
            except MessagingUnavailable:
                await asyncio.sleep(PAUSE_SECONDS)
            else:
                if isinstance(messages.decode(messages.node_request_answers, answer), Reconciliation):
                    return
                await asyncio.sleep(PAUSE_SECONDS)

    # ---- afterwards -------------------------------------------------------------------------------------------------

    async def returned(self) -> list[str]:
        """What was deleted and is known."""
        jobs = self.deleted_jobs & await evidence.all_jobs(self._client)
        return sorted(jobs | (self.deleted_nodes & await self._known_nodes()))

    async def _known_nodes(self) -> set[str]:
        """The names that any orchestrator knows."""
        found: set[str] = set()
        for port in self._client.ports:
            answer = await self._client.ask_once("GET", port, NODES)
            found |= {node["Info"]["NodeID"] for node in answer.body["Nodes"]} if answer is not None else set()
        return found

    def __repr__(self) -> str:
        return f"<Churn, {self.rounds} rounds>"


def kill_all_nats(stack: Stack, faults: Faults) -> None:
    """All servers at once, and start them again; return when orchestrators agree who leads."""
    with faults.left_to_others(*NATS_SERVERS):
        for server in stack.nats:
            server.kill()
        for server in stack.nats:
            server.start()
    for each in stack.orchestrators:
        each.wait_ready()
    stack.wait_leader()
