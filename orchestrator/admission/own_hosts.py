"""Hosts: by which name and addresses others may find this machine, as far as it can know.

Its name comes first. Elsewhere that may mean nothing, or another machine; its addresses are tried then. They are told
only to those who know the orchestrator by its certificate, whatever host they found it at.
"""

import fcntl
import socket
import struct
from ipaddress import IPv4Address

MOST_ADDRESSES = 3
_SIOCGIFADDR = 0x8915
"""Asks for the address of an interface (netdevice(7)); the answer has it after the name, family and port."""
_ADDRESS_AT = 20
_INSIDE = ("docker", "br-", "veth", "virbr", "cni", "podman", "flannel", "cali")
"""Interfaces towards containers and virtual machines of this machine."""


def own_hosts(*, with_addresses: bool) -> tuple[str, ...]:
    name = socket.gethostname()
    return (name, *(each for each in own_addresses() if each != name)) if with_addresses else (name,)


def own_addresses() -> tuple[str, ...]:
    """Of IPv4 and towards other machines, in the order of the interfaces; none where the system tells none."""
    names = [name for _, name in socket.if_nameindex() if not name.startswith(_INSIDE)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        found = [address for name in names if (address := _address_of(asking, name)) is not None]
    return tuple(str(each) for each in found if not each.is_loopback and not each.is_link_local)[:MOST_ADDRESSES]


def _address_of(asking: socket.socket, interface: str) -> IPv4Address | None:
    try:
        answer = fcntl.ioctl(asking, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
    except OSError:  # it has none
        return None
    return IPv4Address(answer[_ADDRESS_AT : _ADDRESS_AT + 4])
