"""How the messages of several nodes take turns."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from orchestrator.dispatch.turns import Turns
from shared.ids import NodeId
from shared.messaging.transport import Received
from tests.waiting import eventually

HOSTILE, HONEST = NodeId("hostile"), NodeId("honest")


def message(payload: bytes = b"") -> Received:
    return Received(Msg(Client(), data=payload))


class Desk:
    """Deals with each message once it is released."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.begun: list[NodeId] = []
        self.release = asyncio.Event()
        self.turns = Turns(group, self._act, at_once=4, of_one=2, most_waiting=3, most_bytes=100)

    async def _act(self, node: NodeId, _: Received) -> None:
        self.begun.append(node)
        await self.release.wait()


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    async with asyncio.TaskGroup() as group:
        made = Desk(group)
        yield made
        made.release.set()


async def test_a_node_with_much_in_hand_holds_up_itself_alone(desk: Desk) -> None:
    assert [desk.turns.take(HOSTILE, message()) for _ in range(7)] == [True] * 5 + [False] * 2
    assert desk.turns.take(HONEST, message())
    await eventually(lambda: len(desk.begun) == 3)
    assert desk.begun == [HOSTILE, HOSTILE, HONEST]


async def test_all_that_was_taken_is_dealt_with_once(desk: Desk) -> None:
    nodes = [NodeId(f"n-{number % 5}") for number in range(15)]
    assert all(desk.turns.take(node, message()) for node in nodes)
    desk.release.set()
    await eventually(lambda: len(desk.begun) >= len(nodes))
    assert sorted(desk.begun) == sorted(nodes)
    await eventually(lambda: repr(desk.turns) == "<Turns, 0 in hand and 0 waiting of 0 nodes>")


async def test_a_line_is_bounded_in_bytes_but_takes_one_message_of_any_size(desk: Desk) -> None:
    assert all(desk.turns.take(HOSTILE, message()) for _ in range(2))
    assert desk.turns.take(HOSTILE, message(b"x" * 1000))
    assert not desk.turns.take(HOSTILE, message(b"x"))
