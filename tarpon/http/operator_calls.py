"""Calls of those who run an orchestrator: about nodes, users, join tokens, and the orchestrator itself."""

from collections.abc import Iterable, Mapping
from urllib.parse import quote

from shared.protocol.rest import Page
from shared.protocol.rest_nodes import (
    AgentConfigResponse,
    AgentNodeResponse,
    AliveResponse,
    ListNodesResponse,
    NodeKeysResponse,
    NodeResponse,
    NodeState,
    UnfinishedUpload,
    UpdateNodeRequest,
    UpdateNodeResponse,
    VersionView,
)
from shared.protocol.rest_sessions import LinkResponse
from shared.protocol.rest_tokens import (
    DAY_SECONDS,
    CreateTokenRequest,
    ListTokensResponse,
    RekeyRequest,
    TokenCreated,
    TokenResponse,
    TokenView,
)
from shared.protocol.rest_users import (
    CreateUserRequest,
    CreateUserResponse,
    ListUsersResponse,
    RevokeUserResponse,
    UserView,
)
from tarpon.http.calls import Calls


class OperatorCalls:
    """The part of `tarpon.Client` that is about no job: each of them one request and its answer."""

    _calls: Calls

    async def nodes(self) -> ListNodesResponse:
        return await self._calls.call("GET", "/orchestrator/nodes", ListNodesResponse)

    async def node(self, node: str) -> NodeState:
        """The node of this id or of this unambiguous beginning of an id."""
        path = f"/orchestrator/nodes/{quote(node, safe='')}"
        return (await self._calls.call("GET", path, NodeResponse)).node

    async def node_keys(self, node: str) -> NodeKeysResponse:
        """The keys that this node has had, and when; by its whole id also those of one that was deleted."""
        path = f"/orchestrator/nodes/{quote(node, safe='')}/keys"
        return await self._calls.call("GET", path, NodeKeysResponse)

    async def drain(self, node: str) -> None:
        """Place nothing new on this node, and take back what it has not begun. What runs there goes on to its end."""
        await self._update_node(node, "drain")

    async def undrain(self, node: str) -> None:
        """Place work on this node again."""
        await self._update_node(node, "undrain")

    async def reject(self, node: str, *, message: str = "", revoke_token: bool = False) -> UpdateNodeResponse:
        """Cut this node off at once, and let its key in no more; what was placed on it goes elsewhere.

        The answer names the join token with which it came, which is revoked too if that is asked for. A warning in it
        says what could not be done: then the node's connection stands, and nothing that it says counts.
        """
        return await self._update_node(node, "reject", message, revoke_token=revoke_token)

    async def approve(self, node: str) -> None:
        """Let a rejected node in again, or give work to one that awaits approval."""
        await self._update_node(node, "approve")

    async def set_node_owner(self, node: str, owner: str) -> None:
        """Say whose this node is from now on; nobody's with an empty name."""
        await self._update_node(node, "set-owner", owner=owner)

    async def rekey(self, node: str, *, expires_seconds: int = DAY_SECONDS) -> TokenCreated:
        """Cut this node off, and make the join token with which it comes back under its name with a new key."""
        path = f"/orchestrator/nodes/{quote(node, safe='')}/key"
        wanted = RekeyRequest(expires_seconds=expires_seconds)
        return await self._calls.call("PUT", path, TokenCreated, body=wanted)

    async def delete_node(self, node: str, *, message: str = "", force: bool = False) -> str:
        """Forget a node that has stopped and holds nothing any more, and its key; `message` goes to the log.

        With `force` it is rejected first, so that neither matters. Gives what could not be done, as `reject` does.
        """
        return (await self._update_node(node, "delete", message, force=force)).warning

    async def _update_node(
        self,
        node: str,
        action: str,
        message: str = "",
        *,
        force: bool = False,
        revoke_token: bool = False,
        owner: str = "",
    ) -> UpdateNodeResponse:
        path = f"/orchestrator/nodes/{quote(node, safe='')}"
        wanted = UpdateNodeRequest(
            action=action, node_id=node, message=message, force=force, revoke_token=revoke_token, owner=owner
        )
        return await self._calls.call("PUT", path, UpdateNodeResponse, body=wanted)

    async def create_join_token(
        self,
        *,
        uses: int = 1,
        expires_seconds: int = DAY_SECONDS,
        labels: Mapping[str, str] | None = None,
        namespaces: Iterable[str] = (),
        approval: bool = False,
        owner: str = "",
    ) -> TokenCreated:
        """A token with which nodes join, and its text, which nobody is told again. With 0 uses it is for any number.

        Its nodes have these labels, whatever they say, and are given jobs of these namespaces alone, if there are any.
        `owner` is whose nodes they are.
        """
        wanted = CreateTokenRequest(
            uses=uses,
            expires_seconds=expires_seconds,
            labels=dict(labels or {}),
            namespaces=tuple(namespaces),
            approval=approval,
            owner=owner,
        )
        return await self._calls.call("PUT", "/orchestrator/tokens", TokenCreated, body=wanted)

    async def join_tokens(self) -> tuple[TokenView, ...]:
        """The newest first."""
        return (await self._calls.call("GET", "/orchestrator/tokens", ListTokensResponse)).tokens

    async def revoke_join_token(self, token: str) -> TokenView:
        """Let no more nodes in with it. Those that are in stay."""
        path = f"/orchestrator/tokens/{quote(token, safe='')}"
        return (await self._calls.call("DELETE", path, TokenResponse)).token

    async def users(self) -> tuple[UserView, ...]:
        """All users, also those that were revoked."""
        return (await self._calls.call("GET", "/orchestrator/users", ListUsersResponse)).users

    async def create_user(
        self,
        name: str,
        capabilities: Iterable[str],
        *,
        namespaces: Iterable[str] = (),
        expires_in: str = "",
        addresses: Iterable[str] = (),
    ) -> CreateUserResponse:
        """Make a user; the answer has its key, which is told nowhere else. No namespaces are all of them."""
        body = CreateUserRequest(
            name=name,
            capabilities=tuple(capabilities),
            namespaces=tuple(namespaces),
            expires_in=expires_in,
            addresses=tuple(addresses),
        )
        return await self._calls.call("PUT", "/orchestrator/users", CreateUserResponse, body=body)

    async def revoke_user(self, name: str) -> UserView:
        """End a user's key, and what is open by it."""
        path = f"/orchestrator/users/{quote(name, safe='')}"
        return (await self._calls.call("DELETE", path, RevokeUserResponse)).user

    async def page_link(self) -> LinkResponse:
        """A code with which the page signs in once, as whoever asks for it, within two minutes. It is a secret."""
        return await self._calls.call("POST", "/auth/link", LinkResponse)

    async def alive(self) -> AliveResponse:
        return await self._calls.call("GET", "/agent/alive", AliveResponse)

    async def version(self) -> VersionView:
        return await self._calls.call("GET", "/agent/version", VersionView)

    async def unfinished_uploads(self) -> Page[UnfinishedUpload]:
        """Uploads in parts that no result came of, and that could not be aborted yet."""
        return await self._calls.call("GET", "/agent/uploads", Page[UnfinishedUpload])

    async def agent_config(self) -> AgentConfigResponse:
        """The settings of the orchestrator as it runs; secrets are hidden."""
        return await self._calls.call("GET", "/agent/config", AgentConfigResponse)

    async def agent_node(self) -> AgentNodeResponse:
        """The orchestrator as a node, with the health of its publishers."""
        return await self._calls.call("GET", "/agent/node", AgentNodeResponse)
