"""A node played by a test: it speaks the protocol over a real connection, and does what the test says (no tests)."""

from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

import nkeys
from nacl.utils import random

from shared.errors import MessagingUnavailable
from shared.ids import ExecutionId, NodeId
from shared.jobs.capacity import Capacity
from shared.messaging.transport import Connection, Received, connect
from shared.protocol import messages, subjects
from shared.protocol.messages import (
    Accepted,
    AnyFact,
    Assignment,
    Assignments,
    AssignmentsAnswered,
    GrantRequest,
    NodeInfo,
    NodeRequest,
    NodeRequestAnswer,
    Order,
    Registration,
    Report,
)
from shared.runtime.loopback import loopback_id
from tests.waiting import answered

SECONDS = 10.0
ENGINES = ("process", "noop")
CAPACITY = Capacity(cpu=8.0, memory=1 << 34, disk=1 << 34)


class PlayedNode:
    """`orders` are what arrives; nothing is answered by itself."""

    def __init__(self, node: NodeId, connection: Connection, orders: AsyncIterator[Received], seed: str) -> None:
        self.id = node
        self.seed = seed
        self.connection = connection
        self.session = f"session-of-{node}"
        self._orders = orders
        self._inventory = 0
        self._accepted: deque[Assignment] = deque()

    async def register(
        self,
        *,
        loopback: str | None = None,
        held: tuple[ExecutionId, ...] = (),
        leaving: bool = False,
        capacity: Capacity = CAPACITY,
        engines: tuple[str, ...] = ENGINES,
        labels: Mapping[str, str] = MappingProxyType({}),
        abilities: tuple[str, ...] = (),
        input_sources: tuple[str, ...] = (),
    ) -> NodeRequestAnswer:
        self._inventory += 1
        info = NodeInfo(
            node_id=self.id,
            version="0",
            labels=dict(labels),
            engines=engines,
            publishers=("s3managed",),
            input_sources=input_sources,
            capacity=capacity,
            loopback_id=loopback_id() if loopback is None else loopback,
            abilities=abilities,
        )
        request = Registration(info=info, session=self.session, inventory=self._inventory, held=held, leaving=leaving)
        return await self.ask(request)

    async def ask(self, request: NodeRequest) -> NodeRequestAnswer:
        """Ask again until an orchestrator leads, as a node does."""

        async def ask() -> NodeRequestAnswer | None:
            try:
                return await self._ask(request)
            except MessagingUnavailable:
                return None

        answer = await answered(ask, within=SECONDS, what="an orchestrator answers")
        assert answer is not None
        return answer

    async def _ask(self, request: NodeRequest) -> NodeRequestAnswer:
        subject = subjects.node_requests(self.id)
        answer = await self.connection.request(subject, messages.encode(request), timeout=SECONDS)
        return messages.decode(messages.node_request_answers, answer)

    async def ask_for_grant(self, execution: ExecutionId) -> NodeRequestAnswer:
        return await self.ask(GrantRequest(execution_id=execution))

    async def next_order(self) -> tuple[Order, Received]:
        received = await anext(self._orders)
        return messages.decode(messages.orders, received.payload), received

    async def accept_assignment(self) -> Assignment:
        """Wait for an assignment and accept it; other orders on the way are accepted too."""
        while not self._accepted:
            self._accepted.extend(await self.accept(*await self.next_order()))
        return self._accepted.popleft()

    async def accept(self, order: Order, received: Received) -> tuple[Assignment, ...]:
        """The assignments that were ordered."""
        accepted = Accepted(session=self.session, inventories=self._inventory)
        if not isinstance(order, Assignments):
            await received.respond(messages.encode(accepted))
            return ()
        answers = AssignmentsAnswered(answers=(accepted,) * len(order.assignments))
        await received.respond(messages.encode(answers))
        return order.assignments

    async def report(self, execution: ExecutionId, *facts: AnyFact) -> None:
        await self.tell(messages.encode(Report(execution_id=execution, facts=facts)))

    async def tell(self, payload: bytes) -> None:
        await self.connection.publish_durably(subjects.node_reports(self.id), payload, timeout=SECONDS)


@asynccontextmanager
async def played_node(name: str, *, server: str, secret: str, seed: str = "") -> AsyncIterator[PlayedNode]:
    """A connected node that has joined and not registered yet; with the `seed` of another one, that one."""
    node = NodeId(name)
    seed = seed or nkeys.encode_seed(random(32), nkeys.PREFIX_BYTE_USER).decode()
    inbox = subjects.node_inbox(node)
    async with (
        connect([server], name=node, nkey_seed=seed, token=secret, inbox_prefix=inbox) as connection,
        connection.subscribe(subjects.node_orders(node)) as orders,
    ):
        await connection.wait_connected()
        yield PlayedNode(node, connection, orders, seed)
