"""Containers that are left: removed when the result is complete, or when nobody knows them any more."""

import asyncio
import logging

from compute.engines.docker.api import DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.spec import EXECUTION_LABEL, NODE_LABEL, container_name
from shared.ids import ExecutionId, NodeId

_log = logging.getLogger(__name__)

REMOVED_AT_ONCE = 2


class Leftovers:
    """Which containers of this node are needed; all others are removed, at once or at the next sweep."""

    def __init__(self, api: DockerApi, node_id: NodeId) -> None:
        self._api = api
        self._node_id = node_id
        self._needed: set[ExecutionId] = set()
        self._left: set[ExecutionId] = set()
        self._released: asyncio.Queue[ExecutionId] = asyncio.Queue()

    def __repr__(self) -> str:
        return f"<Leftovers: {len(self._needed)} needed, {self._released.qsize()} to be removed>"

    def keep(self, execution_id: ExecutionId) -> None:
        """Until it is released."""
        self._needed.add(execution_id)

    def leave(self, execution_id: ExecutionId) -> None:
        """From now on it belongs to the node's next process: it is not removed by this one."""
        self._left.add(execution_id)

    def is_left(self, execution_id: ExecutionId) -> bool:
        return execution_id in self._left

    def release(self, execution_id: ExecutionId) -> None:
        """May be repeated."""
        if execution_id in self._needed and execution_id not in self._left:
            self._needed.remove(execution_id)
            self._released.put_nowait(execution_id)

    async def remove_released(self) -> None:
        """Until cancelled. What cannot be removed now is left to a sweep."""
        async with asyncio.TaskGroup() as group:
            for number in range(REMOVED_AT_ONCE):
                group.create_task(self._remove_next(), name=f"container removal {number}")

    async def all_removed(self, *, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                await self._released.join()
        except TimeoutError:
            _log.info("%d containers are left; they are removed at the next start.", self._released.qsize())

    async def sweep(self) -> None:
        """Remove what carries this node's label and belongs to no execution that is at work here."""
        try:
            found = await self._api.labelled(NODE_LABEL, self._node_id, EXECUTION_LABEL)
        except (EngineAway, EngineRefusal) as error:
            _log.debug("Left-over containers cannot be listed: %s", error)
            return
        for name, execution_id in found.items():
            if execution_id not in self._needed:
                _log.info("Removing the left-over container %s.", name)
                await self._remove(name)

    async def _remove_next(self) -> None:
        while True:
            execution_id = await self._released.get()
            await self._remove(container_name(execution_id))
            self._released.task_done()

    async def _remove(self, name: str) -> None:
        try:
            await self._api.remove(name)
        except (EngineAway, EngineRefusal) as error:
            _log.warning("Container %s cannot be removed now: %s", name, error)
