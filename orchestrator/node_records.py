"""What users change about a node: whether anything new is placed on it."""

import logging

from msgspec.structs import replace

from orchestrator.model import Model
from orchestrator.store import Store
from shared import subjects
from shared.errors import NodeNotFound, RevisionConflict
from shared.ids import NodeId
from shared.logs import about

_log = logging.getLogger(__name__)

TRIES = 16


async def set_draining(model: Model, store: Store, node: NodeId, *, draining: bool) -> None:
    """Stored, so that it outlives the leader and the node's own restarts. Raises NodeNotFound."""
    key = subjects.node_record(node)
    for _ in range(TRIES):
        record = model.nodes.get(node)
        if record is None:
            raise NodeNotFound(node)
        if record.draining == draining:
            return
        try:
            await store.update(key, replace(record, draining=draining))
        except RevisionConflict:
            await store.catch_up()
            continue
        _log.info("Node %s is %s.", node, "drained" if draining else "not drained any more", extra=about(node=node))
        return
    raise RevisionConflict(key)
