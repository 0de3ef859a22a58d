"""Which public key a node id belongs to: whoever joined under it first, until somebody deletes the node."""

from orchestrator.records import BindingRecord
from orchestrator.store import Store
from shared import subjects
from shared.errors import RevisionConflict
from shared.ids import NodeId


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
                if await self._store.read(key) is None:  # a node of that name was deleted
                    await self._bind_again(key, public_key)
            known = self._store.model.bindings.get(node)
        return known == public_key

    async def _bind_again(self, key: str, public_key: str) -> None:
        try:
            await self._store.create_again(key, BindingRecord(public_key=public_key))
        except RevisionConflict:
            await self._store.read(key)

    def __repr__(self) -> str:
        return f"<StoredBindings of {len(self._store.model.bindings)} nodes>"
