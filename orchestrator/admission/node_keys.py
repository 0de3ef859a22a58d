"""Which public key a node id belongs to: whoever joined under it first, until somebody deletes the node.

The key of a node that was rejected and then deleted stays shut out, but the name is free for another key.
"""

from orchestrator.rules.records import BindingRecord
from orchestrator.storage.store import Store
from shared.errors import RevisionConflict
from shared.ids import NodeId
from shared.protocol import subjects


class StoredBindings:
    """Bindings as create-only records, so that of two that join at once under one id one alone gets it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def bind(self, node: NodeId, public_key: str) -> bool:
        """Whether the id is, or now becomes, that key's. Raises MessagingUnavailable."""
        known = self._store.model.bindings.get(node)
        if known is None:
            key = subjects.binding_record(node)
            try:
                await self._store.create(key, BindingRecord(public_key=public_key))
            except RevisionConflict:
                if await self._store.read(key) is None:  # a node of that name was deleted, whatever is stored still
                    await self._bind_again(key, public_key)
            known = self._store.model.bindings.get(node)
        elif known != public_key and self.is_rejected(node) and node not in self._store.model.nodes:
            await self._replace(subjects.binding_record(node), public_key)
            known = self._store.model.bindings.get(node)
        return known == public_key

    def is_rejected(self, node: NodeId) -> bool:
        """Whether an operator has rejected the key to which the id is bound."""
        return node in self._store.model.rejected

    async def _replace(self, key: str, public_key: str) -> None:
        try:
            await self._store.update(key, BindingRecord(public_key=public_key))
        except RevisionConflict:
            await self._store.read(key)

    async def _bind_again(self, key: str, public_key: str) -> None:
        try:
            await self._store.create_again(key, BindingRecord(public_key=public_key))
        except RevisionConflict:
            await self._store.read(key)

    def __repr__(self) -> str:
        return f"<StoredBindings of {len(self._store.model.bindings)} nodes>"
