"""Shapes of the HTTP API that tell of join tokens, with which nodes join."""

from datetime import datetime
from typing import Annotated

import msgspec
from msgspec import Meta, field

DAY_SECONDS = 24 * 3600
MOST_USES = 1000
MOST_SECONDS = 10 * 366 * DAY_SECONDS


class CreateTokenRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What its nodes are allowed. 0 Uses are any number of nodes, 0 ExpiresSeconds is never.

    Labels hold whatever a node says of itself. Without Namespaces its nodes serve all. With Approval they are given
    nothing until they are approved. Owner is whose nodes they are, in the operator's words.
    """

    uses: Annotated[int, Meta(ge=0, le=MOST_USES)] = 1
    expires_seconds: Annotated[int, Meta(ge=0, le=MOST_SECONDS)] = DAY_SECONDS
    labels: dict[str, str] = {}
    namespaces: tuple[str, ...] = ()
    approval: bool = False
    owner: str = ""


class RekeyRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How long the token is good with which the node comes under a new key; 0 is for ever."""

    expires_seconds: Annotated[int, Meta(ge=0, le=MOST_SECONDS)] = DAY_SECONDS


USABLE, EXPIRED, USED_UP, REVOKED = "Usable", "Expired", "UsedUp", "Revoked"


class TokenView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """A join token without its secret, which is kept nowhere. `nodes` are those that are there and came with it."""

    id: str = field(name="ID")
    state: str = USABLE
    uses: int = 1
    used: int = 0
    create_time: datetime
    expires: datetime | None = None
    revoked: datetime | None = None
    labels: dict[str, str] = {}
    namespaces: tuple[str, ...] = ()
    approval: bool = False
    owner: str = ""
    rekeys: str = ""
    """The node whose key it is to exchange, if it is for that."""
    nodes: tuple[str, ...] = ()


class TokenCreated(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`text` is the join token itself, with its secret. It is told this once. `warning` is what could not be done."""

    token: TokenView
    text: str
    warning: str = ""

    def __repr__(self) -> str:
        return f"<TokenCreated {self.token.id}>"


class ListTokensResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The newest first."""

    tokens: tuple[TokenView, ...] = ()


class TokenResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    token: TokenView
