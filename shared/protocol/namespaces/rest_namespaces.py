"""Shapes of the HTTP API about namespaces themselves."""

import msgspec

from shared.jobs.capacity import Capacity


class SetNamespaceRequest(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """How much of the fleet is a namespace's, compared with the weights of others."""

    weight: int


class NamespaceView(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    name: str
    weight: int = 1
    jobs: int = 0
    """How many are known, ended ones among them."""
    waiting: int = 0
    """How many have parts for which there is no room yet."""
    running: int = 0
    """How many executions hold something of a node, run or are about to."""
    held: Capacity = Capacity()
    """What these hold together."""


class NamespaceResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    namespace: NamespaceView


class ListNamespacesResponse(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    namespaces: tuple[NamespaceView, ...] = ()
