"""The nodes of the HTTP API."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from orchestrator.admission.principals import Principal
from orchestrator.api.access.auditing import tell
from orchestrator.api.bodies import answer, body_of, query_of
from orchestrator.api.cluster.own_node import NodeIsOrchestrator, OwnNode
from orchestrator.api.paging import page, sort_key, window_of
from orchestrator.api.queries import ListNodesQuery
from orchestrator.api.routes import NODES, Route, principal_of
from orchestrator.api.tokens import created
from orchestrator.assembly import Assembly
from orchestrator.nodes.join_tokens import JoinTokens
from orchestrator.nodes.node_changes import approve, delete, handed_on, reject, set_draining, set_owner
from orchestrator.nodes.rekeying import rekey
from orchestrator.nodes.views import node_keys, node_state, nodes_seen
from orchestrator.rules.label_selectors import matches, selector
from orchestrator.rules.near_names import near_names
from shared.errors import Conflict, InvalidInput, MessagingUnavailable, NodeNotFound
from shared.ids import NodeId
from shared.jobs.capacity import Capacity
from shared.protocol import rest_nodes, rest_tokens
from shared.protocol.capabilities import READ_NODE, WRITE_NODE
from shared.protocol.rest_nodes import NodeState

_ACTIONS = frozenset({"approve", "drain", "undrain", "reject", "delete", "set-owner"})


class MultipleNodesFound(Conflict):
    def __init__(self, text: str, count: int) -> None:
        super().__init__(f"{text[:80]!r} is the beginning of {count} node ids.", hint="Give more of the id.")


Disconnect = Callable[[NodeId], Awaitable[object]]
"""Ends the connections of a node. Raises MessagingUnavailable."""


class NodeRoutes:
    """Reads come from the model and from what the nodes said last."""

    def __init__(self, assembly: Assembly, own_node: OwnNode, tokens: JoinTokens, disconnect: Disconnect) -> None:
        self._model = assembly.model
        self._store = assembly.store
        self._nodes = assembly.nodes
        self._own_node = own_node
        self._tokens = tokens
        self._disconnect = disconnect

    def routes(self) -> tuple[Route, ...]:
        one = f"{NODES}/{{node}}"
        listed = "The nodes, and the orchestrator that answers."
        update = (
            "Drain a node, or end that; reject it, which cuts it off at once, or approve it again; delete it; or say"
            " whose it is."
        )
        return (
            Route(
                "GET",
                NODES,
                self.list_nodes,
                listed,
                rest_nodes.ListNodesResponse,
                ListNodesQuery,
                needs=READ_NODE,
            ),
            Route(
                "GET",
                one,
                self.get_node,
                "One node, by id or beginning of an id.",
                rest_nodes.NodeResponse,
                needs=READ_NODE,
            ),
            Route(
                "GET",
                f"{one}/keys",
                self.get_keys,
                "The keys that a node has had, and when; by its whole id also those of one that was deleted.",
                rest_nodes.NodeKeysResponse,
                needs=READ_NODE,
            ),
            Route(
                "PUT",
                one,
                self.update_node,
                update,
                rest_nodes.UpdateNodeResponse,
                body=rest_nodes.UpdateNodeRequest,
                needs=WRITE_NODE,
                everywhere=True,
            ),
            Route(
                "PUT",
                f"{one}/key",
                self.rekey_node,
                "Cut a node off, and make the join token with which it may come back under a new key.",
                rest_tokens.TokenCreated,
                body=rest_tokens.RekeyRequest,
                needs=WRITE_NODE,
                everywhere=True,
            ),
        )

    async def list_nodes(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        query = query_of(request, ListNodesQuery)
        conditions, principal = selector(query.labels), principal_of(request)
        window = window_of(
            sort_by=query.order_by,
            reverse=query.reverse,
            limit=query.limit,
            token=query.next_token,
        )
        found = [
            state
            for state in (
                self._own_node.state(),
                *(self._state(node, principal) for node in nodes_seen(self._model, principal)),
            )
            if matches(state.info.labels, conditions)
            and query.filter_approval.upper() in {"", state.membership}
            and query.filter_status.upper() in {"", state.connection}
        ]
        items, token = page(found, window, sort_key(window, _ORDERS))
        return answer(rest_nodes.ListNodesResponse(next_token=token, nodes=tuple(items)))

    async def get_node(self, request: web.Request) -> web.Response:
        found = self.found(request)
        state = self._own_node.state() if found is None else self._state(found, principal_of(request))
        return answer(rest_nodes.NodeResponse(node=state))

    async def get_keys(self, request: web.Request) -> web.Response:
        self._store.check_ready()
        named, principal = NodeId(request.match_info["node"]), principal_of(request)
        sees = None if principal.sees_all else principal.sees
        found = node_keys(self._model, named, sees=sees)
        if not found.keys:
            node = self.found(request)
            found = node_keys(self._model, node, sees=sees) if node else rest_nodes.NodeKeysResponse(node_id=named)
        return answer(found)

    async def update_node(self, request: web.Request) -> web.Response:
        wanted, _ = await body_of(request, rest_nodes.UpdateNodeRequest)
        action = wanted.action.lower()
        tell(request, operation=action if action in _ACTIONS else "")
        node = self._named(request, bound=action in {"approve", "reject", "delete", "set-owner"})
        done = rest_nodes.UpdateNodeResponse(success=True)
        match action:
            case "approve":
                was_rejected = node in self._model.rejected
                await self._end_rekeying(node)
                await approve(self._model, self._store, node)
                if was_rejected:  # else it stays for a while as one who may only ask why
                    await self._cut_off(node)
            case "drain" | "undrain":
                await set_draining(self._model, self._store, node, draining=action == "drain")
            case "reject":
                done = await self._reject(node, wanted)
            case "delete":
                if wanted.force and node in self._model.nodes:
                    done = await self._reject(node, wanted)
                    await handed_on(self._model, node)
                await delete(self._model, self._store, self._nodes, node, wanted.message)
            case "set-owner":
                await set_owner(self._model, self._store, node, wanted.owner)
            case _:
                raise InvalidInput(
                    f"{wanted.action[:80]!r} is not an action.",
                    hint="Actions are drain, undrain, approve, reject, delete and set-owner.",
                )
        return answer(done)

    async def rekey_node(self, request: web.Request) -> web.Response:
        wanted, _ = await body_of(request, rest_tokens.RekeyRequest, optional=True)
        node = self._named(request, bound=True)
        await self._end_rekeying(node)
        token, text = await rekey(self._model, self._store, self._tokens, node, wanted.expires_seconds)
        return created(token, text, await self._cut_off(node))

    async def _reject(self, node: NodeId, wanted: rest_nodes.UpdateNodeRequest) -> rest_nodes.UpdateNodeResponse:
        """Its key goes first, so that it does not come back once it is cut off."""
        await self._end_rekeying(node)
        await reject(self._model, self._store, node, wanted.message)
        binding = self._model.bindings.get(node)
        token = binding.token if binding else ""
        if wanted.revoke_token and token in self._model.tokens:
            await self._tokens.revoke(token)
        return rest_nodes.UpdateNodeResponse(
            success=True,
            warning=await self._cut_off(node),
            join_token=token,
            token_is_usable=self._tokens.is_usable(token),
        )

    async def _end_rekeying(self, node: NodeId) -> None:
        """The token that was to bring the node's next key, if there is one, is good for nothing any more."""
        binding = self._model.bindings.get(node)
        if binding is not None and binding.rekey in self._model.tokens:
            await self._tokens.revoke(binding.rekey)

    async def _cut_off(self, node: NodeId) -> str:
        """What could not be done about it, if anything."""
        try:
            if await self._disconnect(node):  # it may be back already, by one who had not heard of it yet
                await self._disconnect(node)
        except MessagingUnavailable as error:
            return f"Nothing that node {node} says counts any more, but its connection stands: {error.message}"
        return ""

    def _named(self, request: web.Request, *, bound: bool) -> NodeId:
        """The compute node that the path names. Raises as `_found`, and NodeIsOrchestrator."""
        found = self.found(request, bound=bound)
        if found is None:
            raise NodeIsOrchestrator(self._own_node.name)
        tell(request, found)
        return found

    def found(self, request: web.Request, *, bound: bool = False) -> NodeId | None:
        """The node that the path names, None for the orchestrator; with `bound`, also one whose key alone is known.

        Raises NotReady, NodeNotFound, or MultipleNodesFound for the beginning of several. A compute node may have given
        itself any name, and is meant by it where it has the orchestrator's.
        """
        self._store.check_ready()
        text, own, known = (
            request.match_info["node"],
            self._own_node.name,
            nodes_seen(self._model, principal_of(request)),
        )
        if text in known or (bound and text in self._model.bindings):
            return NodeId(text)
        if text == own:
            return None
        found = [node for node in (own, *known) if node.startswith(text)]
        if not found:
            raise NodeNotFound(text, near_names(text, known.__contains__, known))
        if len(found) > 1:
            raise MultipleNodesFound(text, len(found))
        return None if found[0] == own else NodeId(found[0])

    def _state(self, node: NodeId, principal: Principal) -> NodeState:
        return node_state(self._model, self._nodes, node, sees=None if principal.sees_all else principal.sees)


def _available(state: NodeState) -> Capacity:
    info = state.info.compute_node_info
    return info.available_capacity if info else Capacity()


_ORDERS: dict[str, Callable[[NodeState], tuple[str | float, str]]] = {
    "": lambda state: ("", state.info.node_id),
    "id": lambda state: ("", state.info.node_id),
    "type": lambda state: (state.is_compute, state.info.node_id),
    "available_cpu": lambda state: (-_available(state).cpu, state.info.node_id),
    "available_memory": lambda state: (-_available(state).memory, state.info.node_id),
    "available_disk": lambda state: (-_available(state).disk, state.info.node_id),
    "available_gpu": lambda state: (-_available(state).gpu, state.info.node_id),
    "approval": lambda state: (state.membership, state.info.node_id),
    "status": lambda state: (state.connection, state.info.node_id),
}
