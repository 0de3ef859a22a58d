"""Claims of nodes: which id one wants to have under which key, and by what right."""

import enum

import msgspec

from shared.ids import NodeId
from shared.protocol.pasted import Credential


class Right(enum.Enum):
    """By what a node claims an id, if not by a join token."""

    KNOWN_KEY = "known key"
    JOIN_SECRET = "join secret"  # noqa: S105  # the name of it


class Claim(msgspec.Struct, frozen=True):
    """The node id that a key takes, if it is free or this key's already; `by` is a right, or a join token's."""

    node: NodeId
    public_key: str
    by: Right | Credential

    @property
    def credential(self) -> Credential | None:
        return self.by if isinstance(self.by, Credential) else None
