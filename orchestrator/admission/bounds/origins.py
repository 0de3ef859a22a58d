"""Origins: from where somebody asks, as bounds count it, also through proxies that are trusted to say so.

An address of IPv4 counts by itself; of IPv6 a network of 64 bits does, as whoever has one address there has them all.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from shared.data.addresses import Address, Network

LOCAL = "the Unix socket"
FORWARDED, FORWARDED_FOR = "Forwarded", "X-Forwarded-For"
MOST_HOPS = 32
_PREFIX = 64
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_HOP, _PAIR = (re.compile(rf'(?:{_QUOTED}|[^"{end}])+') for end in (",", ";"))
_FOR = re.compile(rf'\s*for\s*=\s*({_QUOTED}|[^\s"]*)\s*', re.IGNORECASE)
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

    def origin(self, peer: str, *, forwarded_for: Iterable[str] = (), forwarded: Iterable[str] = ()) -> str:
        return origin_of(self.address(peer, forwarded_for=forwarded_for, forwarded=forwarded))

    def address(self, peer: str, *, forwarded_for: Iterable[str] = (), forwarded: Iterable[str] = ()) -> str:
        """From where somebody asks whose request has come from `peer`: the last address that is no trusted proxy.

        What stands before that was written by whoever asks. Given are all lines of each header, as a proxy may write
        one of its own. Where both headers are there and tell of two addresses, one of them went through the proxy
        unread, and neither is believed.
        """
        if not self.trust(peer):
            return peer
        listed = ",".join(forwarded_for)
        told = {self._last(listed.split(","))} if listed else set()
        if described := [hop for line in forwarded for hop in _described(line)]:
            told.add(self._last(described))
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


def _described(line: str) -> list[str]:
    """The `for` of each hop (RFC 7239); empty for one that names none, or several. Commas may be in quotes.

    Where quotes do not end it cannot be told what a hop is, and nothing is known of this line, and of no other.
    """
    hops = _split(line, _HOP, ",")
    return [""] if hops is None else [_described_by(hop) for hop in hops]


def _described_by(hop: str) -> str:
    found = [said.group(1) for pair in _split(hop, _PAIR, ";") or () if (said := _FOR.fullmatch(pair))]
    return found[0] if len(found) == 1 else ""


def _split(text: str, part: re.Pattern[str], at: str) -> list[str] | None:
    """None where quotes do not end."""
    parts, begin = [""], 0
    while begin < len(text):
        if text[begin] == at:
            parts.append("")
            begin += 1
        elif found := part.match(text, begin):
            parts[-1] = found.group()
            begin = found.end()
        else:
            return None
    return parts


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
