"""Keys of nodes: an id belongs to whoever joined under it first, until somebody deletes the node.

The key of a node that was rejected and then deleted stays shut out, but the name is free for another key.
"""

from orchestrator.rules.records import BindingRecord
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from shared.ids import NodeId
from shared.protocol import subjects


class StoredNodeKeys:
    """Bindings as create-only records, so that of two that join at once under one id one alone gets it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def bind(self, node: NodeId, public_key: str) -> bool:
        """Whether the id is, or now becomes, that key's. Raises MessagingUnavailable."""
        known = self._store.model.bindings.get(node)
        if known is None:
            key = subjects.binding_record(node)
            record = BindingRecord(public_key=public_key)
            is_new = await changes.once(self._store, key, self._store.create(key, record))
            if not is_new and node not in self._store.model.bindings:  # a node of that name was deleted
                await changes.once(self._store, key, self._store.create_again(key, record))
            known = self._store.model.bindings.get(node)
        elif known != public_key and self.is_rejected(node) and node not in self._store.model.nodes:
            key = subjects.binding_record(node)
            await changes.once(self._store, key, self._store.update(key, BindingRecord(public_key=public_key)))
            known = self._store.model.bindings.get(node)
        return known == public_key

    def is_rejected(self, node: NodeId) -> bool:
        """Whether an operator has rejected the key to which the id is bound."""
        return node in self._store.model.rejected

    def __repr__(self) -> str:
        return f"<StoredNodeKeys of {len(self._store.model.bindings)} nodes>"
