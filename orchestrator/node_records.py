"""What users change about a node: whether anything new is placed on it, and whether it is known at all."""

import logging

from msgspec.structs import replace

from orchestrator.model import Model
from orchestrator.nodes import Nodes
from orchestrator.store import Store
from shared import subjects
from shared.errors import Conflict, NodeNotFound, RevisionConflict
from shared.ids import NodeId
from shared.logs import about

_log = logging.getLogger(__name__)

TRIES = 16
MAX_MESSAGE = 200


class NodeConnected(Conflict):
    def __init__(self, node: str) -> None:
        super().__init__(
            f"Node {node} cannot be deleted: it is connected, or nobody can tell yet that it is not.",
            hint="Stop it first. One that was not stopped in order counts as connected until it has been silent for"
            " Orchestrator.NodeManager.DisconnectTimeout (1 min).",
        )


class NodeHoldsExecutions(Conflict):
    def __init__(self, node: str, count: int) -> None:
        super().__init__(
            f"Node {node} cannot be deleted: {count} executions that were placed on it have not ended.",
            hint="What ran on a node that is gone is lost after Orchestrator.NodeManager.DisconnectTimeout (1 min),"
            " and a result on its way from there after Publishers.PublishTimeout. `tarpon job stop` ends both.",
        )


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


async def delete(model: Model, store: Store, nodes: Nodes, node: NodeId, message: str = "") -> None:
    """Forget the node and its key, so that another one may take the name; it may come back with the join secret.

    Raises NodeNotFound, NodeConnected, NodeHoldsExecutions. The key goes last: what was interrupted is done again.
    """
    for _ in range(TRIES):
        if node not in model.nodes and node not in model.bindings:
            raise NodeNotFound(node)
        if nodes.may_be_connected(node):
            raise NodeConnected(node)
        if live := model.live.get(node):
            raise NodeHoldsExecutions(node, len(live))
        try:
            await store.delete(subjects.node_record(node))
            await store.delete(subjects.binding_record(node))
        except RevisionConflict:
            await store.catch_up()
            continue
        why = "".join(each if each.isprintable() else " " for each in message[:MAX_MESSAGE])
        _log.info("Node %s is deleted%s", node, f": {why}" if why else ".", extra=about(node=node))
        return
    raise RevisionConflict(subjects.node_record(node))
