"""Origins: from where somebody asks, as bounds count it, also through proxies that are trusted to say so.

An address of IPv4 counts by itself; of IPv6 a network of 64 bits does, as whoever has one address there has them all.
"""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from shared.data.addresses import Address, Network

LOCAL = "the Unix socket"
FORWARDED, FORWARDED_FOR = "Forwarded", "X-Forwarded-For"
MOST_HOPS = 32
_PREFIX = 64
_FOR = re.compile(r'(?:^|;)\s*for\s*=\s*("[^"]*"|[^;\s"]*)', re.IGNORECASE)
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\w+)?\Z|([0-9.]+):\w+\Z")


@lru_cache(maxsize=4096)
def origin_of(address: str) -> str:
    """That of an address as a socket or a proxy tells it; the text itself where it is none."""
    found = _address(address)
    if found is None:
        return address[:64]
    if isinstance(found, IPv4Address):
        return str(found)
    return str(ip_network((int(found) >> _PREFIX << _PREFIX, _PREFIX)))


class Proxies:
    """Those that are trusted (API.TrustedProxies), each an address or a network."""

    def __init__(self, trusted: Iterable[str] = ()) -> None:
        self._networks: tuple[Network, ...] = tuple(ip_network(each.strip()) for each in trusted)

    def trust(self, address: str) -> bool:
        """Whether it is that of a proxy whose word counts."""
        found = _address(address) if self._networks else None
        return found is not None and self._holds(found)

    def origin(self, peer: str, headers: Mapping[str, str], *, forwarded: Iterable[str] = ()) -> str:
        return origin_of(self.address(peer, headers, forwarded=forwarded))

    def address(self, peer: str, headers: Mapping[str, str], *, forwarded: Iterable[str] = ()) -> str:
        """From where somebody asks whose request has come from `peer`: the last address that is no trusted proxy.

        What stands before that was written by whoever asks. `forwarded` are all values of X-Forwarded-For. Where both
        headers are there and tell of two, one of them went through the proxy unread, and neither is believed.
        """
        if not self.trust(peer):
            return peer
        listed = ",".join(forwarded)
        told = {self._last(listed.split(","))} if listed else set()
        if described := headers.get(FORWARDED):
            told.add(self._last(_described(described)))
        return (told.pop() or peer) if len(told) == 1 else peer

    def _last(self, hops: list[str]) -> str:
        """The right-most that is not trusted; the left-most of trusted ones, and nothing where one is no address."""
        found = ""
        for hop in hops[: -MOST_HOPS - 1 : -1]:
            address = _address(_bare(hop))
            if address is None:
                return found
            found = str(address)
            if not self._holds(address):
                return found
        return found

    def _holds(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def __repr__(self) -> str:
        return f"<Proxies in {', '.join(map(str, self._networks)) or 'no network'}>"


def _described(header: str) -> list[str]:
    """The `for` of each hop (RFC 7239)."""
    return [found.group(1) if (found := _FOR.search(hop)) else "" for hop in header.split(",")]


def _bare(hop: str) -> str:
    """Without quotes and port."""
    text = hop.strip().strip('"')
    found = _WITH_PORT.match(text)
    return (found.group(1) or found.group(2)) if found else text


def _address(text: str) -> Address | None:
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
