"""Keepers of inputs: which nodes have which ones, as they say themselves. It is believed for a preference alone."""

from collections import OrderedDict
from collections.abc import Collection

from shared.ids import NodeId

MOST_NODES = 4096
"""Of which this is remembered, those that were heard last."""
_NOBODY: frozenset[NodeId] = frozenset()


class InputKeepers:
    def __init__(self) -> None:
        self._of_node: OrderedDict[NodeId, frozenset[str]] = OrderedDict()
        self._keepers: dict[str, set[NodeId]] = {}

    def __repr__(self) -> str:
        return f"<InputKeepers: {len(self._of_node)} nodes, {len(self._keepers)} inputs>"

    @property
    def are_any(self) -> bool:
        return bool(self._keepers)

    def learn(self, node: NodeId, held: Collection[str]) -> None:
        """All that it keeps now."""
        before, now = self._of_node.pop(node, frozenset()), frozenset(held)
        for name in before - now:
            self._forget(name, node)
        for name in now - before:
            self._keepers.setdefault(name, set()).add(node)
        if now:
            self._of_node[node] = now
        if len(self._of_node) > MOST_NODES:
            oldest, names = self._of_node.popitem(last=False)
            for name in names:
                self._forget(name, oldest)

    def of(self, name: str) -> Collection[NodeId]:
        return self._keepers.get(name, _NOBODY)

    def _forget(self, name: str, node: NodeId) -> None:
        keepers = self._keepers[name]
        keepers.discard(node)
        if not keepers:
            del self._keepers[name]
