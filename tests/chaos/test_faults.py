"""What a run tells of the faults that it planned."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.chaos.faults import Faults
from tests.chaos.schedule import Fault, Kind
from tests.chaos.stack import Stack


class SlowToHeal(Faults):
    """Faults that nobody suffers, and of which one kind is never healed."""

    @asynccontextmanager
    async def _suffered(self, fault: Fault) -> AsyncIterator[None]:
        yield
        if fault.kind is Kind.NODE_TERMINATE:
            await asyncio.Event().wait()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def faults(told: list[str]) -> Faults:
    return SlowToHeal(Stack.__new__(Stack), told.append, seed=1)


async def follow(faults: Faults, *planned: Fault, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await faults.follow(planned)


async def test_a_fault_that_waits_for_an_earlier_one_until_the_end_is_told_with_the_reason(
    faults: Faults, told: list[str]
) -> None:
    slow = Fault(0, 0.0, Kind.NODE_TERMINATE, "node-1", 0.01)
    waits = Fault(1, 0.02, Kind.NODE_KILL, "node-1", 0.01)
    other = Fault(2, 0.03, Kind.NODE_KILL, "node-2", 0.01)
    await follow(faults, slow, waits, other, seconds=0.2)
    assert faults.done == [slow, other]
    (line,) = faults.left_out
    assert line.startswith("fault 1 (node-kill of node-1 for 0.0 s) was left out: after ")
    assert line.endswith("still waiting for fault 0 (node-terminate of node-1 for 0.0 s) to be healed")
    assert line in told
    assert line in [each.what for each in faults.timeline]


async def test_a_fault_whose_time_had_not_come_is_told(faults: Faults) -> None:
    await follow(faults, Fault(0, 60.0, Kind.NODE_KILL, "node-1", 1.0), seconds=0.05)
    (line,) = faults.left_out
    assert line.endswith("was left out: its time had not come when the run ended")


async def test_where_all_are_committed_nothing_is_left_out(faults: Faults, told: list[str]) -> None:
    await follow(faults, Fault(0, 0.0, Kind.NODE_KILL, "node-1", 0.01), seconds=10)
    assert faults.left_out == []
    assert [line.partition(" ")[0] for line in told] == ["fault", "healed"]
