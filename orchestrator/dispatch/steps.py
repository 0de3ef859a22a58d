"""Steps of executions: each is decided from the newest record, and stored, whoever it is that has something to tell.

The scheduler, the reports of nodes and their answers to offers all move the same records. One that was quicker is not
overwritten: the step is decided again from what it has stored, and where that settles the matter nothing is written.
So what happens to an execution is worked out anew each time, from the record that it happens to.
"""

import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from orchestrator.rules.life_events import ExecutionEvent, ExecutionStep, Outcome
from orchestrator.rules.lifecycle import transition
from orchestrator.rules.records import ExecutionRecord, about_execution
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.ids import ExecutionId

_log = logging.getLogger(__name__)

TRIES = 8
"""How often a step is decided, where others move the execution each time."""


class TakenStep(NamedTuple):
    """What became of an execution, and of which record; CONTESTED where nothing could be stored."""

    before: ExecutionRecord
    step: ExecutionStep

    @property
    def has_moved(self) -> bool:
        return self.step.outcome is Outcome.MOVED


class Steps:
    """Once this has stored a step it is for its caller to carry out the commands of it."""

    def __init__(self, model: Model, store: Store) -> None:
        self._model = model
        self._store = store

    async def take(
        self, execution: ExecutionId, decide: Callable[[ExecutionRecord], Awaitable[ExecutionStep]]
    ) -> TakenStep | None:
        """Store what is decided about the execution as it is now; None if it is gone, as its job is being removed.

        Raises MessagingUnavailable, and what `decide` raises, which may take its time.
        """
        tries = 0
        while (before := self._model.execution(execution)) is not None:
            revision = self._model.revision_of(before.key)
            step = await decide(before)
            if step.record is before or await changes.update(self._store, step.record, revision=revision):
                return TakenStep(before, step)
            tries += 1
            if tries == TRIES:
                _log.warning("Execution %s moves too often to take a step.", execution, extra=about_execution(before))
                return TakenStep(before, ExecutionStep(before, Outcome.CONTESTED))
        return None

    async def happen(
        self, execution: ExecutionId, event: Callable[[ExecutionRecord], ExecutionEvent | None]
    ) -> TakenStep | None:
        """`take`, of the one thing that happens to the execution as it is now, if anything does."""

        async def decide(record: ExecutionRecord) -> ExecutionStep:
            found = event(record)
            return ExecutionStep(record, Outcome.KNOWN) if found is None else transition(record, found, now=now_ns())

        return await self.take(execution, decide)

    def __repr__(self) -> str:
        return f"<Steps of executions in {self._model!r}>"
