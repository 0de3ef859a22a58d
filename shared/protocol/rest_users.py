"""Shapes of the HTTP API that tell of users and make them."""

import msgspec
from msgspec import field


class UserView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Times are nanoseconds since 1970; a user that never expires, or was not revoked, has 0 there."""

    name: str
    key_id: str = field(name="KeyID")
    capabilities: tuple[str, ...]
    namespaces: tuple[str, ...]
    create_time: int
    made_by: str = ""
    expires: int = 0
    revoked: int = 0


class ListUsersResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    next_token: str = ""
    users: tuple[UserView, ...] = ()


class CreateUserRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """No namespace means all; `expires_in` is a length such as 720h, and empty for ever.

    `addresses` are the URLs of the API at which the key is to be used, where its holder says nothing else; without any
    it is the one where the orchestrator listens.
    """

    name: str
    capabilities: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    expires_in: str = ""
    addresses: tuple[str, ...] = ()


class CreateUserResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The `key` is told here and nowhere else."""

    user: UserView
    key: str

    def __repr__(self) -> str:
        return f"<CreateUserResponse {self.user.name}>"


class RevokeUserResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    user: UserView
