"""Records of the keys of nodes: brought up to date with the binding, wherever that changes."""

from orchestrator.rules.joining.key_lives import kept
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.ids import NodeId


async def keep_lives(store: Store, node: NodeId) -> None:
    """Store what follows for the lives of the node's keys from how it is bound now, if that is not stored yet.

    Raises MessagingUnavailable; the leader does it again then (orchestrator/nodes/key_keeping.py).
    """
    model = store.model

    async def attempt(*, again: bool = False) -> None:
        known = model.keys.get(node)
        record = kept(node, known, model.bindings.get(node), now_ns())
        if record is None or record == known:
            return
        if known is not None:
            await store.update(record.key, record)
        elif again:
            await store.create_again(record.key, record)
        else:
            await store.create(record.key, record)

    await changes.insist(store, attempt, again=lambda: attempt(again=True))
