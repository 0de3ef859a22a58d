"""The user's side of Tarpon: the command line, and `Client` for Python programs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tarpon.client import Client

__all__ = ["Client"]


def __getattr__(name: str) -> object:
    # `tarpon --help` must not pay for aiohttp.
    if name == "Client":
        from tarpon.client import Client

        return Client
    raise AttributeError(f"module 'tarpon' has no attribute {name!r}")
