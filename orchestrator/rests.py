"""Which nodes are given nothing for a while, because what they were given failed there, or because they let work lie.

A node with a full disk or a broken engine fails in a moment whatever it is given, so it always has room, and would go
through every attempt of every job while the other nodes are busy or away for some seconds. One that does not answer, or
begins nothing, holds what it is given until a time-out, so it rests for longer.
"""

from shared.ids import NodeId

FIRST_SECONDS = 1.0
LONGEST_SECONDS = 60.0
IDLE_SECONDS = 60.0
LONGEST_IDLE_SECONDS = 3600.0
"""The same of one that lets work lie."""


class Rests:
    """`now` are monotonic seconds. What is not told as over goes on resting."""

    def __init__(self) -> None:
        self._until: dict[NodeId, float] = {}
        self._why: dict[NodeId, str] = {}
        self._seconds: dict[NodeId, float] = {}

    def __contains__(self, node: object) -> bool:
        return node in self._until

    def why(self, node: NodeId) -> str:
        """Why it rests, to go on with after its name; empty if it does not."""
        return self._why[node] if node in self._until else ""

    def begin(
        self, node: NodeId, now: float, why: str, *, first: float = FIRST_SECONDS, longest: float = LONGEST_SECONDS
    ) -> None:
        """Twice as long as the last time, if it has run nothing since; of what fails at once the first alone counts."""
        if node not in self._until:
            self._why[node] = why
            seconds = min(longest, max(first, 2 * self._seconds.get(node, 0.0)))
            self._seconds[node], self._until[node] = seconds, now + seconds

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
        return f"<Rests of {len(self._until)} nodes>"
