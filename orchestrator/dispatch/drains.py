"""Drains of nodes: what was placed on them and has not begun there is taken back.

Only the node knows what it has begun, so it is asked, and answers with reports. What it hands back is placed elsewhere
at once, and uses none of the job's attempts up.
"""

from orchestrator.dispatch.assignments import Offers
from orchestrator.nodes.presence import Nodes
from orchestrator.state.model import Model
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import ExecutionState

AGAIN_SECONDS = 1.0
"""After how long a node is asked again about what it has neither handed back nor begun."""


class Drains:
    def __init__(self, model: Model, nodes: Nodes, offers: Offers) -> None:
        self._model = model
        self._nodes = nodes
        self._offers = offers
        self._asked: dict[NodeId, tuple[float, frozenset[ExecutionId]]] = {}

    def take_back(self, now: float) -> None:
        """Ask every node that is drained for what it has not begun; `now` is in monotonic seconds."""
        for node, record in self._model.nodes.items():
            if record.draining and self._nodes.is_registered(node):
                self._ask(node, now)
            else:
                self._asked.pop(node, None)
        for node in self._asked.keys() - self._model.nodes.keys():
            del self._asked[node]

    def _ask(self, node: NodeId, now: float) -> None:
        live = self._model.executions.live.get(node, {})
        new = frozenset(each for each, record in live.items() if record.state is ExecutionState.NEW)
        asked_at, asked = self._asked.get(node, (-AGAIN_SECONDS, frozenset()))
        if new and (now - asked_at >= AGAIN_SECONDS or not new <= asked):
            self._asked[node] = now, new
            self._offers.ask_back(node, new)

    def __repr__(self) -> str:
        return f"<Drains of {len(self._asked)} nodes>"
