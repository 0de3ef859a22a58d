"""Metadata addresses, at which a cloud gives its machines keys, kept from containers that have a network.

What comes from the networks of containers and goes there is dropped by the kernel before anything else sees it: in the
table `raw`, which neither Docker nor Podman rewrites, so that it stays when they are started again. All nodes of a
machine want the same, and what is there is left alone. It stays after the node too, as its containers may.
"""

import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network

from shared.data.addresses import METADATA

CHAIN = "TARPON-METADATA"
WAIT_SECONDS = 5
"""For others who change the same table."""
_PROGRAMS = {4: "iptables", 6: "ip6tables"}


class NotGuarded(Exception):
    """Why the kernel does not keep containers from these addresses, to go on with after "because "."""


def guard(subnets: Iterable[str]) -> None:
    """Of networks of containers on this machine. Blocks. Raises NotGuarded."""
    if os.geteuid() != 0:
        raise NotGuarded("the node is not run by root")
    try:
        networks = [ip_network(each) for each in subnets]
    except ValueError:
        networks = []
    if not networks:
        raise NotGuarded("the container engine does not say which addresses its containers have")
    for version, program in _PROGRAMS.items():
        mine = [each for each in networks if each.version == version]
        if mine:
            _Table(program, version).guard(mine)


class _Table:
    def __init__(self, program: str, version: int) -> None:
        self._program = program
        self._drops = [
            f"-A {CHAIN} -d {each}/{each.max_prefixlen} -j DROP"
            for each in sorted(METADATA, key=str)
            if isinstance(each, IPv4Address) == (version == 4)
        ]

    def guard(self, networks: Sequence[IPv4Network | IPv6Network]) -> None:
        if shutil.which(self._program) is None:
            raise NotGuarded(f"there is no {self._program}")
        found = self._run("-t", "raw", "-S").splitlines()
        if [each for each in found if each.startswith(f"-A {CHAIN} ")] != self._drops:
            rules = "\n".join(["*raw", f":{CHAIN} - [0:0]", *self._drops, "COMMIT", ""])
            self._run("--noflush", program=f"{self._program}-restore", given=rules)
        for each in networks:
            if f"-A PREROUTING -s {each} -j {CHAIN}" not in found:
                self._run("-t", "raw", "-I", "PREROUTING", "-s", str(each), "-j", CHAIN)

    def _run(self, *arguments: str, program: str = "", given: str = "") -> str:
        command = [program or self._program, "-w", str(WAIT_SECONDS), *arguments]
        try:
            done = subprocess.run(
                command, input=given, capture_output=True, text=True, check=False, timeout=2 * WAIT_SECONDS
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NotGuarded(f"{command[0]} does not work ({type(error).__name__})") from None
        if done.returncode:
            raise NotGuarded(f"{command[0]} says: {done.stderr.strip()[:200]}")
        return done.stdout
