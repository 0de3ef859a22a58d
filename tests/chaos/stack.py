"""The Tarpon that suffers: three NATS servers, three orchestrators, some nodes, S3, and gates between them."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

from tests.chaos.clocks import Clock
from tests.chaos.gates import Gate, Mode, owner_of
from tests.chaos.namespace import has_disks, mount_disk, unmount_disk
from tests.chaos.schedule import NATS_SERVERS, ORCHESTRATORS, node_names
from tests.e2e.cluster import Cluster
from tests.e2e.stack import Service
from tests.faulty_s3 import FaultyS3
from tests.servers import S3Server

NODE_DISK_MEBIBYTES = 256
NATS_DISK_MEBIBYTES = 512
HELD_UP_SECONDS = 10
"""For so much longer than the longest fault removals are told; most runs last longer. What a fault holds up on its way
to NATS arrives when it is healed; were no mark left by then, it would bring back what was removed."""
SILENCE_SECONDS = 15
"""After which a node counts as lost; the longest faults last longer."""


class Stack(Cluster):
    """Make it with `running`. Every process reaches the NATS servers, and S3, through gates."""

    def __init__(self, root: Path, s3: S3Server, faulty_s3: FaultyS3, *, nodes: int, mark_seconds: int) -> None:
        super().__init__(root, s3)
        self.mark_seconds = mark_seconds
        self.faulty_s3 = faulty_s3
        self.names = (*ORCHESTRATORS, *node_names(nodes))
        self.clocks = {name: Clock(root / f"{name}.clock") for name in self.names}
        self.s3_gate = Gate(faulty_s3.port, lambda port: owner_of(port, self.pids))
        self.nats_gates = {name: [self._nats_gate(name, port) for port in self.nats_ports] for name in self.names}
        self._nodes = nodes
        _allow_abort(self)

    @staticmethod
    def _nats_gate(name: str, port: int) -> Gate:
        return Gate(port, lambda _: name)

    @property
    def services(self) -> dict[str, Service]:
        """All but S3, by name."""
        orchestrators = {each.name: each for each in self.orchestrators}
        return orchestrators | self.computes | dict(zip(NATS_SERVERS, self.nats, strict=True))

    @property
    def pids(self) -> dict[str, int]:
        """Of those that speak to S3."""
        found = {each.name: each for each in self.orchestrators} | self.computes
        return {name: service.process.pid for name, service in found.items() if service.is_running}

    # ---- how its processes are set up -------------------------------------------------------------------------------

    def nats_urls(self, name: str) -> str:
        return ",".join(f"nats://127.0.0.1:{gate.port}" for gate in self.nats_gates[name])

    def environment(self, name: str) -> dict[str, str]:
        return super().environment(name) | self.clocks[name].variables

    def orchestrator_settings(self, name: str) -> dict[str, str]:
        return super().orchestrator_settings(name) | {
            "Orchestrator.NodeManager.DisconnectTimeout": f"{SILENCE_SECONDS}s",
            "Orchestrator.NATS.RemovalMarks": f"{self.mark_seconds}s",
            "Publishers.Types.S3Managed.Endpoint": f"http://127.0.0.1:{self.s3_gate.port}",
            "Publishers.Types.S3Managed.ProbeInterval": "3s",
        }

    def node_settings(self, name: str) -> dict[str, str]:
        return super().node_settings(name) | {
            "Compute.DrainTimeout": "2s",
            "Compute.AllocatedCapacity.CPU": "2",
            "Compute.AllocatedCapacity.Memory": "4GB",
            "Compute.AllocatedCapacity.Disk": "100GB",
            "Engines.Disabled": "docker",
        }

    # ---- ways through the gates -------------------------------------------------------------------------------------

    async def turn_nats(self, name: str, mode: Mode) -> None:
        for gate in self.nats_gates[name]:
            await gate.turn(name, mode)

    async def turn_s3(self, name: str, mode: Mode) -> None:
        await self.s3_gate.turn(name, mode)


@contextmanager
def _disks(root: Path, *, nodes: int) -> Iterator[None]:
    """Small ones of their own, for nodes and NATS servers, where that is possible. They are gone afterwards."""
    sizes = dict.fromkeys(node_names(nodes), NODE_DISK_MEBIBYTES) | dict.fromkeys(NATS_SERVERS, NATS_DISK_MEBIBYTES)
    mounted: list[Path] = []
    try:
        for name, mebibytes in sizes.items() if has_disks() else ():
            mount_disk(root / name, mebibytes=mebibytes)
            mounted.append(root / name)
        yield
    finally:
        for folder in mounted:
            unmount_disk(folder)


@asynccontextmanager
async def running(root: Path, s3: S3Server, *, nodes: int, longest_fault: float) -> AsyncIterator[Stack]:
    """Everything up and connected. What still runs at the end is killed."""
    marks = math.ceil(longest_fault) + HELD_UP_SECONDS
    async with FaultyS3(s3.endpoint).serving() as faulty_s3, AsyncExitStack() as gates:
        gates.enter_context(_disks(root, nodes=nodes))
        stack = await asyncio.to_thread(partial(Stack, root, s3, faulty_s3, nodes=nodes, mark_seconds=marks))
        for gate in (stack.s3_gate, *(gate for each in stack.nats_gates.values() for gate in each)):
            await gates.enter_async_context(gate.serving())
        try:
            await asyncio.to_thread(partial(stack.start, computes=nodes))
            yield stack
        finally:
            stack.kill()


def _allow_abort(stack: Stack) -> None:
    """A bucket whose policy lets unfinished uploads be aborted, so that none may be left."""
    client = stack.s3.client()
    policy = client.get_bucket_policy(Bucket=stack.bucket)["Policy"]
    allowed = policy.replace('"Effect": "Deny"', '"Effect": "Allow"').replace('"Effect":"Deny"', '"Effect":"Allow"')
    client.put_bucket_policy(Bucket=stack.bucket, Policy=allowed)
