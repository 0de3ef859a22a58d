"""Changes of nodes by users: whether anything new is placed on one, whether it is let in, and known at all."""

import asyncio
import logging
from collections.abc import Callable

from msgspec.structs import replace

from orchestrator.admission.key_records import keep_lives
from orchestrator.nodes.conduct import Conduct
from orchestrator.nodes.join_tokens import owner_problem
from orchestrator.nodes.presence import Nodes
from orchestrator.rules.joining.join_tokens import approved, without_claim
from orchestrator.rules.joining.key_lives import with_owner
from orchestrator.rules.records import BindingRecord, NodeRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import Conflict, InvalidInput, NodeNotFound
from shared.ids import NodeId
from shared.protocol import subjects
from shared.protocol.messages import NodeInfo
from shared.runtime.aio import pipelined
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

MAX_MESSAGE = 200
MOST_ENGINES_AWAY = 8
WRITES_AT_ONCE = 64
HAND_ON_SECONDS = 10.0


class NodeConnected(Conflict):
    def __init__(self, node: str) -> None:
        super().__init__(
            f"Node {node} cannot be deleted: it is connected, or nobody can tell yet that it is not.",
            hint="Stop it first. One that was not stopped in order counts as connected until it has been silent for"
            " Orchestrator.NodeManager.DisconnectTimeout (1 min). With --force it is cut off and deleted.",
        )


class NodeHoldsExecutions(Conflict):
    def __init__(self, node: str, count: int) -> None:
        super().__init__(
            f"Node {node} cannot be deleted: {count} executions that were placed on it have not ended.",
            hint="What ran on a node that is gone is lost after Orchestrator.NodeManager.DisconnectTimeout (1 min),"
            " and a result on its way from there after Publishers.PublishTimeout. `tarpon job stop` ends both, and"
            " `tarpon node reject` hands all of it on to other nodes at once.",
        )


class NodeShutOut(Conflict):
    def __init__(self, node: str) -> None:
        super().__init__(
            f"Node {node} is rejected, so it is not said whose it is.", hint=f"`tarpon node approve {node}` first."
        )


def engines_away(known: NodeRecord, info: NodeInfo, now: int) -> dict[str, int]:
    """What the node offered before and does not offer any more, since when; what it missed last, if it is much."""
    since = dict.fromkeys(known.info.engines, now) | known.engines_away
    away = sorted(((at, engine) for engine, at in since.items() if engine not in info.engines), reverse=True)
    return {engine: at for at, engine in away[:MOST_ENGINES_AWAY]}


async def tell_suspicions(model: Model, store: Store, conduct: Conduct) -> None:
    """Store which nodes are suspect, so that every orchestrator shows it, and the next one that leads knows."""
    suspicions = dict(conduct.suspicions())
    changed = [node for node, known in model.nodes.items() if (known.suspicion is None) is (node in suspicions)]

    async def tell(node: NodeId) -> None:
        known, suspicion = model.nodes.get(node), suspicions.get(node)
        if known is None:  # it was deleted meanwhile
            return
        if not await changes.update(store, replace(known, suspicion=suspicion)):
            return
        does = "does well again" if suspicion is None else f"fails task after task: {suspicion.reason}"
        _log.warning("Node %s %s.", node, does, extra=about(node=node))

    await pipelined(changed, tell, at_once=WRITES_AT_ONCE)


async def set_draining(model: Model, store: Store, node: NodeId, *, draining: bool) -> None:
    """Stored, so that it outlives the leader and the node's own restarts. Raises NodeNotFound."""

    async def attempt() -> None:
        record = model.nodes.get(node)
        if record is None:
            raise NodeNotFound(node)
        if record.draining != draining:
            await store.update(record.key, replace(record, draining=draining))
            _log.info("Node %s is %s.", node, "drained" if draining else "not drained any more", extra=about(node=node))

    await changes.insist(store, attempt)


async def delete(model: Model, store: Store, nodes: Nodes, node: NodeId, message: str = "") -> None:
    """Forget the node and its key, so that another one may take the name; it may come back with a token.

    Raises NodeNotFound, NodeConnected, NodeHoldsExecutions. The key goes last: what was interrupted is done again. That
    of a rejected node stays shut out, until it is deleted by itself. It stays known when keys were the node's.
    """

    async def attempt() -> None:
        if node not in model.nodes and node not in model.bindings:
            raise NodeNotFound(node)
        if nodes.may_be_connected(node):
            raise NodeConnected(node)
        live = model.executions.live.get(node, {}).values()
        if held := sum(not each.is_over_there for each in live):
            raise NodeHoldsExecutions(node, held)
        stays = node in model.nodes and node in model.rejected
        await drop_claim(model, store, node)
        await store.delete(subjects.node_record(node))
        if not stays:
            await keep_lives(store, node)  # of the key that goes, as nobody knows them afterwards
            await store.delete(subjects.binding_record(node))

    await changes.insist(store, attempt)
    await keep_lives(store, node)
    why = _printable(message)
    _log.info("Node %s is deleted%s", node, f": {why}" if why else ".", extra=about(node=node))


async def drop_claim(model: Model, store: Store, node: NodeId) -> None:
    """Should the node come again with the token by which it came, that is another use. Raises RevisionConflict."""
    binding = model.bindings.get(node)
    token = model.tokens.get(binding.token) if binding else None
    if token is not None and (after := without_claim(token, node)) != token:
        await store.update(after.key, after)


async def reject(model: Model, store: Store, node: NodeId, message: str = "") -> None:
    """Let the node's key in no more, and have what was placed there handed on. Raises NodeNotFound.

    From then on nothing counts that it says, also where its connection still stands, which is for the caller to end.
    """
    why = _printable(message)

    def rejected(known: BindingRecord) -> BindingRecord:
        if known.rejected and not known.rekey:
            return known
        return replace(known, rejected=now_ns(), message=why, rekey="")  # and no token brings it another key

    await change_binding(model, store, node, rejected, f"rejected{f': {why}' if why else '.'}")


async def approve(model: Model, store: Store, node: NodeId) -> None:
    """Let a rejected node in again, and give work to one that awaits approval, or differed too often from others.

    Raises NodeNotFound.
    """
    await change_binding(model, store, node, approved, "approved.")

    async def forget_differences() -> None:
        known = model.nodes.get(node)
        if known is not None and known.differed:
            await store.update(known.key, replace(known, differences=(), differed=0))

    await changes.insist(store, forget_differences)


async def set_owner(model: Model, store: Store, node: NodeId, owner: str) -> None:
    """Whose the node is from now on; empty for nobody's. What is placed there stays the earlier owner's.

    Raises InvalidInput, NodeNotFound, NodeShutOut.
    """
    if problem := owner_problem(owner):
        raise InvalidInput(f"{problem}.", hint="It is a name as in `tarpon node token create --owner NAME`.")

    def named(known: BindingRecord) -> BindingRecord:
        if known.rejected:
            raise NodeShutOut(node)
        return replace(known, owner=owner)

    await keep_lives(store, node)  # under the owner of before
    # The binding is for orchestrators of an earlier version. What counts is the life of its key.
    await change_binding(model, store, node, named, f"{owner or 'nobody'}'s from now on.")

    async def attempt() -> None:
        if node in model.rejected:  # meanwhile, so that it has no life that could go on
            raise NodeShutOut(node)
        known = model.keys.get(node)
        if known is not None and (record := with_owner(known, owner, now_ns())) != known:
            await store.update(record.key, record)

    await changes.insist(store, attempt)


async def change_binding(
    model: Model, store: Store, node: NodeId, change: Callable[[BindingRecord], BindingRecord], after: str
) -> None:
    """Store what `change` makes of the binding, if that is another, and log what the node is `after` that.

    Raises NodeNotFound.
    """

    async def attempt() -> None:
        known = model.bindings.get(node)
        if known is None:
            raise NodeNotFound(node)
        if (record := change(known)) != known:
            await store.update(subjects.binding_record(node), record)
            _log.warning("Node %s is %s", node, after, extra=about(node=node))

    await changes.insist(store, attempt)
    await keep_lives(store, node)


async def handed_on(model: Model, node: NodeId) -> None:
    """Wait until nothing that was placed on the rejected node goes on. Raises NodeHoldsExecutions after a while."""
    try:
        async with asyncio.timeout(HAND_ON_SECONDS):
            while live := model.executions.live.get(node):
                with model.news.watch(next(iter(live.values())).job_id) as job:
                    await job.changed()
    except TimeoutError:
        raise NodeHoldsExecutions(node, len(model.executions.live.get(node, ()))) from None


def _printable(message: str) -> str:
    return "".join(each if each.isprintable() else " " for each in message[:MAX_MESSAGE])
