"""Resting nodes: given nothing for a while, because executions failed there or they let work lie.

A node with a full disk or a broken engine fails in a moment whatever it is given, so it always has room, and would go
through every attempt of every job while the other nodes are busy or away for some seconds. One that does not answer, or
begins nothing, holds what it is given until a time-out, so it rests for longer.
"""

from orchestrator.rules.records import ExecutionRecord
from shared.ids import NodeId
from shared.jobs.states import FailureReason

FIRST_SECONDS = 1.0
"""Where no setting says otherwise."""
MOST_FIRSTS = 60
"""The longest rest is so many of the first."""
IDLE_SECONDS = 60.0
LONGEST_IDLE_SECONDS = 3600.0
"""The same of one that lets work lie."""
LET_LIE = ", which let work lie"


class RestingNodes:
    """`now` are monotonic seconds. What is not told as over goes on resting."""

    def __init__(self, first_seconds: float = FIRST_SECONDS) -> None:
        self._first_seconds = first_seconds
        self._until: dict[NodeId, float] = {}
        self._why: dict[NodeId, str] = {}
        self._seconds: dict[NodeId, float] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._until

    def why(self, node: NodeId) -> str:
        """Why it rests, to go on with after its name; empty if it does not."""
        return self._why[node] if node in self._until else ""

    def until(self, node: NodeId) -> float | None:
        return self._until.get(node)

    def begin(self, node: NodeId, now: float, why: str) -> None:
        """Twice as long as the last time, if it has run nothing since; of what fails at once the first alone counts."""
        self._begin(node, now, why, self._first_seconds, MOST_FIRSTS * self._first_seconds)

    def begin_idle(self, node: NodeId, now: float) -> None:
        """In place of a shorter rest for another reason."""
        if self._why.get(node) != LET_LIE:
            self._until.pop(node, None)
        self._begin(node, now, LET_LIE, IDLE_SECONDS, LONGEST_IDLE_SECONDS)

    def _begin(self, node: NodeId, now: float, why: str, first: float, longest: float) -> None:
        if node not in self._until:
            self._why[node] = why
            seconds = min(longest, max(first, 2 * self._seconds.get(node, 0.0)))
            self._seconds[node], self._until[node] = seconds, now + seconds

    def end(self, node: NodeId) -> None:
        """Nothing that failed there was a reason for it."""
        if self._why.get(node) != LET_LIE:
            for known in (self._until, self._seconds):
                known.pop(node, None)

    def worked(self, node: NodeId) -> None:
        """It has run a task to its end, after its rest."""
        if node not in self._until:
            self._seconds.pop(node, None)
            self._why.pop(node, None)

    def over(self, now: float) -> list[NodeId]:
        """Those that have rested for long enough, once."""
        rested = [node for node, until in self._until.items() if until <= now]
        for node in rested:
            del self._until[node]
        return rested

    def __repr__(self) -> str:
        return f"<RestingNodes: {len(self._until)} nodes>"


def why_resting(record: ExecutionRecord) -> str:
    """Told to whoever waits for the node: what failed is named, and nobody's words about it are told."""
    reason = FailureReason.parse(record.failure.reason if record.failure is not None else "")
    return ", whose disk was full" if reason is FailureReason.DISK_FULL else f", where a task failed ({reason.value})"
