"""Mounts of the container engine: whether it sees the node's files, so that what a task writes is written here.

An engine in another container or on another machine may have other files under the same path, or none: Podman then
makes the folder, runs the task, and its output is lost. So the engine has to show a file that this node has just made.
It is asked once for each connection to it, with a container that is never started.
"""

import asyncio
import uuid
from pathlib import Path
from typing import Any

from compute.engines.docker.api import DockerApi, EngineRefusal
from compute.engines.docker.leftovers import Leftovers
from compute.engines.docker.signals import Signals
from compute.engines.docker.spec import EXECUTION_LABEL, NO_NETWORK, NODE_LABEL, container_name
from compute.engines.engine import Broken
from shared.ids import ExecutionId, NodeId
from shared.jobs.states import FailureReason

NOT_SEEN = Broken(
    FailureReason.DATA_DIR_NOT_SEEN,
    "The node's container engine does not see the node's data directory; both must see it under the same path.",
)
_MARK_PREFIX = ".mark-"
_MARK = f"{_MARK_PREFIX}{{}}"
_TARGET = "/tarpon-{}"
_NO_SOURCE = "bind source path does not exist"


class Mounts:
    """What was found out over the connection of this epoch of `signals`. `problem` is for the node's operator."""

    def __init__(self, api: DockerApi, signals: Signals, leftovers: Leftovers, node_id: NodeId) -> None:
        self.problem = ""
        self._api = api
        self._signals = signals
        self._leftovers = leftovers
        self._node_id = node_id
        self._folder: Path | None = None
        self._image = ""
        self._proven_epoch = -1
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<Mounts {self.problem or 'without a problem'}>"

    async def are_shared(self, folder: Path, image: str) -> bool:
        """Whether the engine sees this folder; `image` is any that it has. Raises what DockerApi raises, OSError."""
        async with self._lock:
            if self._proven_epoch != self._signals.epoch:
                self._folder, self._image = folder, image
                await self._ask(folder, image)
            return not self.problem

    async def ask_again(self) -> None:
        """Where there was a problem, which may be mended meanwhile."""
        async with self._lock:
            if self.problem and self._folder is not None:
                await self._ask(self._folder, self._image)

    async def _ask(self, folder: Path, image: str) -> None:
        epoch = self._signals.epoch
        is_seen = await self._sees(folder, image)
        self.problem = (
            ""
            if is_seen
            else f"The container engine does not see {folder}: it must be mounted there under the same path."
        )
        self._proven_epoch = epoch if is_seen else -1

    async def _sees(self, folder: Path, image: str) -> bool:
        number = uuid.uuid4().hex
        mine, mark, target = _asker(number), folder / _MARK.format(number), _TARGET.format(number)
        spec = _spec(folder, target, image) | {"Labels": {EXECUTION_LABEL: mine, NODE_LABEL: self._node_id}}
        self._leftovers.keep(mine)
        await asyncio.to_thread(mark.touch)
        try:
            await self._api.create(container_name(mine), spec)
            return await self._api.has_file(container_name(mine), f"{target}/{mark.name}")
        except EngineRefusal as error:
            if not is_missing_source(error):
                raise
            return False
        finally:
            self._leftovers.release(mine)
            await asyncio.to_thread(mark.unlink, missing_ok=True)


def execution_of(entry: str) -> ExecutionId:
    """As whose containers are labelled what an entry of the folder of executions stands for, which may be a mark."""
    number = entry.removeprefix(_MARK_PREFIX)
    return ExecutionId(entry) if number == entry else _asker(number)


def _asker(number: str) -> ExecutionId:
    return ExecutionId(f"mounts-{number}")


def is_missing_source(error: EngineRefusal) -> bool:
    """Docker refuses to mount what it does not see."""
    return _NO_SOURCE in error.message.lower()


def _spec(folder: Path, target: str, image: str) -> dict[str, Any]:
    mount = {"Type": "bind", "Source": str(folder), "Target": target, "ReadOnly": True}
    return {
        "Image": image,
        "Entrypoint": ["/never-started"],
        "NetworkDisabled": True,
        "HostConfig": {"NetworkMode": NO_NETWORK, "Mounts": [mount]},
    }
