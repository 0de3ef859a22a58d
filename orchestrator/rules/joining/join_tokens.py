"""Join tokens: whether one lets a node in, and what becomes of the token then. Pure functions over records.

What is wrong is told to whoever has shown a real token, in the node's own log; to others NATS says nothing.
"""

from datetime import UTC, datetime

from msgspec.structs import replace

from orchestrator.rules.records import OF_LIMITED_NODES, SCHEMA, BindingRecord, JoinClaim, TokenRecord
from shared.errors import Refused
from shared.ids import NodeId

_ANOTHER = "Have another one made: `tarpon node token create`."


class JoinRefused(Refused):
    """Why a node is not let in."""


class JoinTokenUnknown(JoinRefused):
    def __init__(self, token: str) -> None:
        super().__init__(
            f"There is no join token {token[:64]!r} here.",
            hint="It is of another cluster, or it ended long ago. `tarpon node token list` shows those of this one.",
        )


class JoinTokenExpired(JoinRefused):
    def __init__(self, token: str, at: str) -> None:
        super().__init__(f"Join token {token} expired at {at}.", hint=_ANOTHER)


class JoinTokenUsedUp(JoinRefused):
    def __init__(self, token: str, uses: int) -> None:
        nodes = "one node" if uses == 1 else f"{uses:,} nodes"
        super().__init__(
            f"Join token {token} is used up: it was for {nodes}.",
            hint=f"{_ANOTHER} With `--uses` it is for several nodes.",
        )


class JoinTokenRevoked(JoinRefused):
    def __init__(self, token: str, at: str) -> None:
        super().__init__(f"Join token {token} was revoked at {at}.", hint=_ANOTHER)


class JoinTokenOfOtherNode(JoinRefused):
    def __init__(self, token: str, node: str) -> None:
        super().__init__(
            f"Join token {token} is for a new key of node {node}, and for no other node.",
            hint="Set NameProvider to that name, or have a token made with `tarpon node token create`.",
        )


class NodeNameTaken(JoinRefused):
    def __init__(self, node: NodeId) -> None:
        super().__init__(
            f"The name {node} belongs to another key.",
            hint="Give the node another name (NameProvider). Where it is the same node and its key is lost,"
            f" `tarpon node rekey {node}` lets it come with a new one.",
        )


class KeyShutOut(JoinRefused):
    def __init__(self, node: NodeId) -> None:
        super().__init__(
            f"An operator has rejected this key as that of node {node}.",
            hint="Give the node a new key, by removing compute/node.nkey in its DataDir, or another name"
            " (NameProvider).",
        )


def check(token: TokenRecord, node: NodeId, public_key: str, now: int) -> None:
    """Raise JoinRefused unless the token lets this node in under this key. `now` is in nanoseconds since 1970."""
    if token.revoked:
        raise JoinTokenRevoked(token.id, _clock(token.revoked))
    if token.node and token.node != node:
        raise JoinTokenOfOtherNode(token.id, token.node)
    if _claim(node, public_key) in token.claims:
        return  # its use is counted, and it was cut off before it was bound
    if is_used_up(token):
        raise JoinTokenUsedUp(token.id, token.uses)
    if is_expired(token, now):
        raise JoinTokenExpired(token.id, _clock(token.expires))


def is_used_up(token: TokenRecord) -> bool:
    return bool(token.uses) and token.used >= token.uses


def is_expired(token: TokenRecord, now: int) -> bool:
    return bool(token.expires) and token.expires <= now


def is_usable(token: TokenRecord, now: int) -> bool:
    """Whether it still lets anybody in."""
    return not (token.revoked or is_used_up(token) or is_expired(token, now))


def used(token: TokenRecord, node: NodeId, public_key: str, bound: dict[NodeId, BindingRecord]) -> TokenRecord:
    """The token with this use counted; the same one where it need not be. Claims of nodes that are bound are over."""
    claim = _claim(node, public_key)
    if not token.uses or claim in token.claims:
        return token
    open_claims = tuple(each for each in token.claims if not _is_bound(each, bound.get(each.node)))
    return replace(token, used=token.used + 1, claims=(*open_claims, claim))


def without_claim(token: TokenRecord, node: NodeId) -> TokenRecord:
    """The token when the node is deleted: should it come again, that is another use."""
    return replace(token, claims=tuple(each for each in token.claims if each.node != node))


def binding_by(token: TokenRecord, public_key: str) -> BindingRecord:
    """What is stored about a node that joins with this token."""
    is_limited = bool(token.namespaces) or token.approval
    return BindingRecord(
        schema=OF_LIMITED_NODES if is_limited else SCHEMA,
        public_key=public_key,
        token=token.id,
        labels=token.labels,
        namespaces=token.namespaces,
        unapproved=token.approval,
        owner=token.owner,
    )


def approved(binding: BindingRecord) -> BindingRecord:
    """With nothing more in its way, but for its namespaces."""
    schema = OF_LIMITED_NODES if binding.namespaces else SCHEMA
    return replace(binding, schema=schema, rejected=0, message="", unapproved=False, rekey="")


def _claim(node: NodeId, public_key: str) -> JoinClaim:
    return JoinClaim(node=node, public_key=public_key)


def _is_bound(claim: JoinClaim, binding: BindingRecord | None) -> bool:
    return binding is not None and binding.public_key == claim.public_key


def _clock(instant: int) -> str:
    return f"{datetime.fromtimestamp(instant / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"
