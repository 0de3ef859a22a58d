"""Containers that the nodes of a devstack leave where they are ended at once, and how these are removed."""

import asyncio
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from shared.runtime.aio import pipelined
from shared.settings.config import DockerSettings

REMOVE_SECONDS = 10.0
REMOVED_AT_ONCE = 4


async def remove_containers(nodes: Iterable[Path], settings: DockerSettings) -> None:
    """Those of executions of these nodes, whose data folders have their names. What is out of reach stays.

    Another stack on this machine may have nodes of the same names: its executions are others.
    """
    from compute.engines.docker.api import DockerApi, EngineAway, EngineRefusal
    from compute.engines.docker.endpoint import EndpointRefused, find_socket
    from compute.engines.docker.spec import EXECUTION_LABEL, NODE_LABEL

    held = {node.name: executions for node in nodes if (executions := await asyncio.to_thread(_executions, node))}
    if not held:
        return
    try:
        socket = await asyncio.to_thread(find_socket, settings, os.environ)
    except EndpointRefused:
        return
    if not socket:
        return
    api = DockerApi(Path(socket))
    try:
        with suppress(TimeoutError, EngineAway, EngineRefusal):
            async with asyncio.timeout(REMOVE_SECONDS):
                for node, executions in held.items():
                    found = await api.labelled(NODE_LABEL, node, EXECUTION_LABEL)
                    left = [name for name, execution in found.items() if execution in executions]
                    await pipelined(left, api.remove, at_once=REMOVED_AT_ONCE)
    finally:
        await api.close()


def _executions(node: Path) -> frozenset[str]:
    """Those that have a folder, and who asks whether the engine sees that."""
    from compute.engines.docker.mounts import execution_of

    try:
        return frozenset(execution_of(each.name) for each in (node / "compute" / "executions").iterdir())
    except OSError:
        return frozenset()
