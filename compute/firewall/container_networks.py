"""Networks of containers: what is done about metadata addresses before a task has one, and what cannot be done.

A container with the machine's own network is, to the kernel, the machine. So where the machine has a metadata address,
no task is given that network, unless the node's operator says so.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from compute.firewall.metadata import NotGuarded, guard

HOST = "host"
NO_NETWORK = "none"
LOOK_SECONDS = 0.5
_PORT = 80
_LOCAL = ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "169.254.170.2", "100.100.100.200")
"""Those of the metadata addresses that are nobody's on the internet, so that no stranger is asked for anything."""
_SETTING = "Engines.Types.Docker.MetadataAddresses"

Subnets = Callable[[str], Awaitable[list[str]]]
"""Of a network of the engine, by its name."""


class ContainerNetworks:
    """Of a node. `problem` is for its operator."""

    def __init__(self, *, allows_metadata: bool) -> None:
        self.problem = ""
        self._allows_metadata = allows_metadata
        self._has_metadata = False

    def __repr__(self) -> str:
        return f"<ContainerNetworks {'with' if self._has_metadata else 'without'} a metadata address>"

    @property
    def host_refused(self) -> str:
        """Why no task has the machine's own network, in a sentence; empty if one may."""
        if self._allows_metadata or not self._has_metadata:
            return ""
        return (
            "This node offers no network Host: its machine has a metadata address, at which the cloud gives it keys,"
            f" and a task could read them. Write Bridge, or see {_SETTING}."
        )

    async def look(self) -> None:
        """Find out whether the machine has a metadata address; nothing is asked there."""
        if not self._allows_metadata:
            async with asyncio.TaskGroup() as group:
                found = [group.create_task(_answers(each), name="metadata") for each in _LOCAL]
            self._has_metadata = any(each.result() for each in found)

    async def guard(self, network: str, subnets: Subnets, *, is_ours: bool) -> None:
        """Before a container has this network, which is that of an engine of this machine's root if `is_ours`."""
        if self._allows_metadata or network in {HOST, NO_NETWORK}:
            return
        why = "the container engine is not run by root"
        if is_ours:
            why = await asyncio.to_thread(_why_unguarded, await subnets(network))
        self.problem = self._problem(why)

    def _problem(self, why: str) -> str:
        if not why or not self._has_metadata:
            return ""
        return (
            "Tasks with the network Bridge can reach the metadata address of this machine, at which the cloud gives it"
            f" keys, because {why}. If that is meant, set {_SETTING}=true."
        )


def _why_unguarded(subnets: list[str]) -> str:
    """Empty where they are guarded. Blocks."""
    try:
        guard(subnets)
    except NotGuarded as error:
        return str(error)
    return ""


async def _answers(address: str) -> bool:
    """Whether somebody listens there; nothing is sent."""
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(LOOK_SECONDS):
            _, writer = await asyncio.open_connection(address, _PORT)
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()
            return True
    return False
