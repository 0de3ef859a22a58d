"""How nodes share the slots in which their results are read."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from orchestrator.admission.bounds import node_slots
from orchestrator.admission.bounds.node_slots import NodeSlots
from shared.errors import StorageUnavailable
from tests.waiting import eventually

BUSY, OTHER, THIRD = "busy", "other", "third"


class Reading:
    """In slots in which nothing takes long."""

    def __init__(self, at_once: int) -> None:
        self.slots = NodeSlots(at_once, busy="Others are read.")
        self.begun: list[str] = []

    async def read(self, node: str) -> None:
        async with self.slots.of(node):
            self.begun.append(node)

    async def wait_for(self, nodes: int, waiting: int) -> None:
        await eventually(lambda: repr(self.slots).endswith(f" {waiting} waiting of {nodes} nodes>"))

    @property
    def is_idle(self) -> bool:
        return repr(self.slots) == repr(NodeSlots(1, busy=""))


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_slots, "WAIT_SECONDS", 30.0)


async def test_a_node_never_has_all_slots() -> None:
    reading = Reading(4)
    async with asyncio.TaskGroup() as group, AsyncExitStack() as held:
        for _ in range(3):
            await held.enter_async_context(reading.slots.of(BUSY))
        group.create_task(reading.read(BUSY), name="busy")
        await reading.wait_for(nodes=1, waiting=1)
        await reading.read(OTHER)
        assert reading.begun == [OTHER]
    assert reading.begun == [OTHER, BUSY]


async def test_who_waits_is_let_in_node_by_node() -> None:
    reading = Reading(1)
    async with asyncio.TaskGroup() as group, reading.slots.of(BUSY):
        for node in (BUSY, BUSY, BUSY, OTHER, OTHER, THIRD):
            group.create_task(reading.read(node), name=node)
        await reading.wait_for(nodes=3, waiting=6)
    assert reading.begun == [BUSY, OTHER, THIRD, BUSY, OTHER, BUSY]
    assert reading.is_idle


@pytest.mark.parametrize("before", [True, False], ids=["before its turn", "with its turn"])
async def test_who_does_not_wait_any_more_hands_its_turn_on(*, before: bool) -> None:
    reading = Reading(1)
    async with asyncio.TaskGroup() as group:
        async with reading.slots.of(BUSY):
            gone = group.create_task(reading.read(OTHER), name="gone")
            group.create_task(reading.read(THIRD), name="next")
            await reading.wait_for(nodes=2, waiting=2)
            if before:
                gone.cancel()
        gone.cancel()
    assert reading.begun == [THIRD]
    assert reading.is_idle


async def test_who_gets_no_slot_in_time_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading(1)
    monkeypatch.setattr(node_slots, "WAIT_SECONDS", 0.01)
    async with reading.slots.of(BUSY):
        with pytest.raises(StorageUnavailable, match="Others are read"):
            await reading.read(OTHER)
    assert reading.is_idle
