"""HTTP to hosts that others name: no connection but to addresses that the operator of this machine allows.

An address is judged when the socket for it is made, which then connects to that very address. So nothing is gained by a
name that leads elsewhere at the second look, nor by a redirect, nor by another way to write an address.
"""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from shared.data.addresses import AllowedAddresses

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
"""Without a byte of the answer."""
MAX_CONNECTIONS = 64
OWN = "an address of the machine itself that asks"


class AddressRefused(OSError):
    """What a host's addresses are, of which none is allowed. The address itself is told to nobody."""


@asynccontextmanager
async def guarded_session(
    allowed: AllowedAddresses | None, trust: ssl.SSLContext | None = None
) -> AsyncIterator[aiohttp.ClientSession]:
    """It keeps no cookies, takes neither proxies nor credentials from the environment, and leaves bodies as they come.

    Without `trust` certificates have to be of somebody whom this machine trusts. None as `allowed` judges no address,
    because a proxy does.
    """
    guard: dict[str, Any] = {}
    if allowed is not None:
        guard = {"resolver": _GuardedResolver(allowed), "socket_factory": partial(_socket, allowed)}
    connector = aiohttp.TCPConnector(
        ssl=trust or True, limit=MAX_CONNECTIONS, force_close=True, use_dns_cache=False, **guard
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=IDLE_SECONDS)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "tarpon"},
    ) as session:
        yield session


class _GuardedResolver(AbstractResolver):
    """Leaves out what would be refused, so that a name with other addresses too is tried at these."""

    def __init__(self, allowed: AllowedAddresses) -> None:
        self._allowed = allowed
        self._names = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._names.resolve(host, port, family)
        refused = {each["host"]: self._allowed.why_refused(each["host"]) for each in found}
        kept = [each for each in found if not refused[each["host"]]]
        if found and not kept:
            raise AddressRefused(next(iter(refused.values())))
        return kept

    async def close(self) -> None:
        await self._names.close()


def _socket(allowed: AllowedAddresses, to: tuple[Any, ...]) -> socket.socket:
    """For what `getaddrinfo` has told. Raises AddressRefused."""
    family, kind, protocol, _, address = to
    if why := allowed.why_refused(address[0]):
        raise AddressRefused(why)
    if not allowed.names(address[0]) and is_own(family, address):
        raise AddressRefused(OWN)
    return socket.socket(family, kind, protocol)


def is_own(family: int, address: tuple[Any, ...]) -> bool:
    """Whether it is one of this machine's, which no firewall stands before. Sends nothing."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(address)
        except OSError:
            return False
        return bool(probe.getsockname()[0] == address[0])
