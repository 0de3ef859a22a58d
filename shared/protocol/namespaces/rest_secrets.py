"""Shapes of the HTTP API about secrets of tasks. A value goes in, and never comes out."""

import msgspec


class PutSecretRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The value as text, or in base64 where `encoding` says `base64`."""

    value: str
    encoding: str = ""

    def __repr__(self) -> str:
        return "<PutSecretRequest>"


class SecretView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What is told of a secret: times in nanoseconds since 1970."""

    name: str
    namespace: str
    size_bytes: int = 0
    is_text: bool = False
    """Whether it can be a variable of the environment."""
    usable: bool = True
    """Whether the orchestrator that answers has the key under which it was stored."""
    create_time: int = 0
    modify_time: int = 0


class PutSecretResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    secret: SecretView


class ListSecretsResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    secrets: tuple[SecretView, ...] = ()


class DeleteSecretResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str
    namespace: str
