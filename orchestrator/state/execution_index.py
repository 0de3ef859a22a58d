"""Executions of all jobs by what they are looked for: their ids, the nodes on which they are placed, their states."""

from collections import Counter

from orchestrator.rules.records import ExecutionRecord
from orchestrator.state.filing.job_index import JobIndex
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import ExecutionState


class ExecutionIndex:
    """Those of filed jobs are found too, by their ids (orchestrator/state/filing/job_index.py)."""

    def __init__(self, filed: JobIndex) -> None:
        #: Executions that have not ended, by the node on which they are placed.
        self.live: dict[NodeId, dict[ExecutionId, ExecutionRecord]] = {}
        #: How many there are in each state.
        self.states: Counter[ExecutionState] = Counter()
        self._places: dict[ExecutionId, str] = {}
        self._filed = filed

    def put(self, record: ExecutionRecord, before: ExecutionRecord | None, place: str) -> None:
        """Take in that an execution is new, or was `before`. `place` tells who asks by its id where it is."""
        if before is not None:
            self.states[before.state] -= 1
        self.states[record.state] += 1
        self._places[record.id] = place
        live = self.live.setdefault(record.node_id, {})
        if record.state.is_terminal:
            live.pop(record.id, None)
        else:
            live[record.id] = record

    def drop(self, record: ExecutionRecord) -> None:
        self.states[record.state] -= 1
        self._places.pop(record.id, None)
        live = self.live.get(record.node_id, {})
        live.pop(record.id, None)
        if not live:
            self.live.pop(record.node_id, None)

    def file(self, execution: ExecutionId) -> None:
        """Its job is filed, so that it has ended: it counts, and is found there."""
        self._places.pop(execution, None)

    def take_back(self, execution: ExecutionId, place: str) -> None:
        """Its job is not filed any more."""
        self._places[execution] = place

    def place_of(self, execution: ExecutionId) -> str:
        """Empty where there is no such execution."""
        return self._places.get(execution) or self._filed.place_of(execution)

    def __repr__(self) -> str:
        return f"<ExecutionIndex of {len(self._places)} on {len(self.live)} nodes>"
