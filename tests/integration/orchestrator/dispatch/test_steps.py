"""Whoever moves an execution at the same moment as somebody else decides again, from what that one has stored."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec.structs import replace

from orchestrator.dispatch.steps import TRIES, Steps
from orchestrator.rules.life_events import ExecutionStep, Outcome, Withdrawn
from orchestrator.rules.lifecycle import transition
from orchestrator.rules.records import ExecutionRecord
from orchestrator.storage.store import Store
from shared.ids import ExecutionId, JobId
from shared.jobs.capacity import Capacity
from shared.jobs.states import ExecutionState
from tests.builders import new_execution
from tests.integration.orchestrator.dispatch.test_scheduler import record
from tests.integration.orchestrator.test_several_orchestrators import following, other
from tests.nats_bus import Bus

JOB = JobId("j-1")
PLACED = new_execution(resources=Capacity())


class Rivals:
    """Two orchestrators over one NATS: what the one stores, the other one hears of a moment later."""

    def __init__(self, mine: Store, theirs: Store) -> None:
        self.mine = mine
        self.steps = Steps(mine.model, mine)
        self.seen: list[ExecutionState] = []
        self._theirs = theirs

    async def withdraw(self, found: ExecutionRecord, *states: ExecutionState) -> ExecutionStep:
        """Decide that it is not wanted any more; before that is stored the other one moves it to the next state."""
        self.seen.append(found.state)
        if len(self.seen) <= len(states):
            await self._move(states[len(self.seen) - 1])
        return transition(found, Withdrawn("nobody wants it"), now=2)

    async def _move(self, state: ExecutionState) -> None:
        found = await self._theirs.read(PLACED.key)
        assert isinstance(found, ExecutionRecord)
        await self._theirs.update(PLACED.key, replace(found, state=state, modify_time=found.modify_time + 1))

    async def stored(self) -> ExecutionState:
        found = await self._theirs.read(PLACED.key)
        assert isinstance(found, ExecutionRecord)
        return found.state


@asynccontextmanager
async def rivals(bus: Bus) -> AsyncIterator[Rivals]:
    job = record(JOB, "noop")
    async with other(bus) as connection, following(bus.connection) as mine, following(connection) as theirs:
        await mine.create(job.key, job)
        await mine.create(PLACED.key, PLACED)
        yield Rivals(mine, theirs)


class TestAStep:
    async def test_is_decided_again_from_what_somebody_else_has_stored(self, bus: Bus) -> None:
        async with rivals(bus) as two:
            taken = await two.steps.take(PLACED.id, lambda found: two.withdraw(found, ExecutionState.RUNNING))
            assert two.seen == [ExecutionState.NEW, ExecutionState.RUNNING]
            assert taken is not None
            assert (taken.before.state, taken.step.outcome) == (ExecutionState.RUNNING, Outcome.MOVED)
            assert await two.stored() is ExecutionState.CANCELLED

    async def test_comes_too_late_where_somebody_else_has_ended_the_execution(self, bus: Bus) -> None:
        async with rivals(bus) as two:
            taken = await two.steps.take(PLACED.id, lambda found: two.withdraw(found, ExecutionState.COMPLETED))
            assert taken is not None
            assert (taken.before.state, taken.step.outcome) == (ExecutionState.COMPLETED, Outcome.LATE)
            assert await two.stored() is ExecutionState.COMPLETED

    async def test_is_not_taken_where_others_are_quicker_each_time(self, bus: Bus) -> None:
        async with rivals(bus) as two:
            moves = [ExecutionState.RUNNING] * TRIES
            taken = await two.steps.take(PLACED.id, lambda found: two.withdraw(found, *moves))
            assert taken is not None
            assert (taken.step.outcome, taken.step.commands) == (Outcome.CONTESTED, ())
            assert len(two.seen) == TRIES
            assert await two.stored() is ExecutionState.RUNNING

    async def test_is_none_where_nothing_happens_to_the_execution_as_it_is_now(self, bus: Bus) -> None:
        async with rivals(bus) as two:
            before = two.mine.model.revision_of(PLACED.key)
            taken = await two.steps.happen(PLACED.id, lambda _: None)
            assert taken is not None
            assert (taken.step.outcome, taken.has_moved) == (Outcome.KNOWN, False)
            await two.mine.read(PLACED.key)
            assert two.mine.model.revision_of(PLACED.key) == before

    async def test_of_an_execution_that_is_gone_is_none(self, bus: Bus) -> None:
        async with rivals(bus) as two:
            assert await two.steps.take(ExecutionId("e-gone"), two.withdraw) is None
