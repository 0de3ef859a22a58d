"""Rekeying: a node keeps its name, and gets another key by a join token that is for nothing else."""

from functools import partial

from msgspec.structs import replace

from orchestrator.nodes.join_tokens import JoinTokens
from orchestrator.nodes.node_changes import change_binding, drop_claim
from orchestrator.rules.records import BindingRecord, TokenRecord
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import NodeNotFound
from shared.ids import NodeId
from shared.protocol.pasted import JoinToken
from shared.protocol.rest_tokens import CreateTokenRequest

BEING_REPLACED = "its key is being replaced"


async def rekey(
    model: Model, store: Store, tokens: JoinTokens, node: NodeId, expires_seconds: int
) -> tuple[TokenRecord, JoinToken]:
    """Reject the node's key, and make the one token with which another key, or the same, may have the name.

    It allows what the node was allowed before. Raises NodeNotFound.
    """
    binding = model.bindings.get(node)
    if binding is None:
        raise NodeNotFound(node)
    wanted = CreateTokenRequest(
        expires_seconds=expires_seconds,
        labels=binding.labels,
        namespaces=binding.namespaces,
        approval=binding.unapproved,
        owner=binding.owner,
    )
    token, text = await tokens.create(wanted, rekeys=node)
    await changes.insist(
        store, partial(drop_claim, model, store, node)
    )  # the old key has no right to that use any more

    def awaiting(known: BindingRecord) -> BindingRecord:
        return replace(known, rejected=now_ns(), message=BEING_REPLACED, rekey=token.id)

    await change_binding(model, store, node, awaiting, f"rekeyed: join token {token.id} brings its new key.")
    return token, text
