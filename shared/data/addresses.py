"""Addresses: where one leads to, and which of them somebody allows to be asked for strangers.

What is no machine of the public internet is named by the kind of it. The tables of IANA's registries of special
addresses are Python's, and what those of some of its versions lack.
"""

import ipaddress
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PRIVATE = "private"
"""Stands for all networks that an organisation numbers as it likes."""

_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
METADATA: frozenset[Address] = frozenset(
    map(
        ipaddress.ip_address,
        (
            "169.254.169.254",  # Amazon, Azure, DigitalOcean, Google, Hetzner, OpenStack, Oracle
            "fd00:ec2::254",  # Amazon
            "fd20:ce::254",  # Google
            "169.254.170.2",  # Amazon's containers
            "169.254.170.23",
            "fd00:ec2::23",
            "168.63.129.16",  # Azure's agent, of which nothing but this list says what it is
            "100.100.100.200",  # Alibaba
            "192.0.0.192",  # Oracle
            "169.254.42.42",  # Scaleway
            "fd00:42::42",
        ),
    )
)
NO_ADDRESS = "no address"
METADATA_KIND = "a metadata address, at which machines of clouds get keys"

_RESERVED = tuple(
    map(
        ipaddress.ip_network,
        (
            *("192.0.0.0/24", "192.88.99.0/24"),
            *("64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fec0::/10"),
        ),
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_COMPATIBLE = ipaddress.IPv6Network("::/96")


def parse_address(text: str) -> Address:
    """Of an address as a socket has it, without the zone. Raises ValueError."""
    return ipaddress.ip_address(text.partition("%")[0])


def allowed_networks(entries: Iterable[str]) -> Iterator[Network]:
    """Of addresses, networks and PRIVATE. Raises ValueError with the entry that is none of them."""
    for entry in entries:
        if entry.strip().lower() == PRIVATE:
            yield from _PRIVATE
            continue
        try:
            yield ipaddress.ip_network(entry.strip())
        except ValueError:
            raise ValueError(entry) from None


class AllowedAddresses:
    """All of the public internet, and what else is in `networks`. A metadata address has to be in it by itself."""

    def __init__(self, networks: Iterable[Network] = ()) -> None:
        self._networks = tuple(networks)

    def __repr__(self) -> str:
        return f"<AllowedAddresses: the internet{''.join(f', {each}' for each in self._networks)}>"

    def why_refused(self, text: str) -> str:
        """What the address is, such as "a loopback address"; empty if it may be asked."""
        try:
            address = _end_of(parse_address(text))
        except ValueError:
            return NO_ADDRESS
        holding = [each for each in self._networks if address in each]
        if address in METADATA:
            return "" if any(each.num_addresses == 1 for each in holding) else METADATA_KIND
        return "" if holding else kind_of(address)

    def names(self, text: str) -> bool:
        """Whether the address is in one of the networks."""
        return any(_end_of(parse_address(text)) in each for each in self._networks)


def _end_of(address: Address) -> Address:
    """The address of version 4 that packets to it end at, where there is one."""
    if isinstance(address, IPv4Address):
        return address
    return address.ipv4_mapped or address.sixtofour or _last_four(address) or IPv6Address(int(address))


def _last_four(address: IPv6Address) -> IPv4Address | None:
    is_compatible = address in _COMPATIBLE and int(address) > 0xFFFF
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 or is_compatible else None


def kind_of(address: Address) -> str:
    """What it is if not the address of a machine of the public internet; then it is empty."""
    kinds = {
        "an unspecified address, which is this machine": address.is_unspecified,
        "a loopback address": address.is_loopback,
        "a link-local address": address.is_link_local,
        "a multicast address": address.is_multicast,
        "a private address": any(address in each for each in _PRIVATE),
        "a reserved address": not address.is_global
        or address.is_reserved
        or any(address in each for each in _RESERVED),
    }
    return next((kind for kind, is_so in kinds.items() if is_so), "")
