"""What happens to this node's containers from outside: told by the engine as it happens, over one connection.

An engine that is stopped in good order stops its containers first, and what a task answers to that looks like an end of
its own. The end of the connection tells that the engine has ended.
"""

import asyncio
import logging

from compute.engines.docker_api import OOM, DockerApi, EngineAway, EngineRefusal
from compute.engines.docker_spec import NODE_LABEL
from shared.ids import NodeId

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
LISTEN_SECONDS = 5.0
_NO_END = {"1", "10", "12", "28"}
"""HUP, USR1, USR2 and WINCH ask a task for something else than its end."""


class Signals:
    """`epoch` changes when the engine ends, or at least the connection to it."""

    def __init__(self, api: DockerApi, node_id: NodeId) -> None:
        self.epoch = 0
        self._api = api
        self._node_id = node_id
        self._stopped: set[str] = set()
        self._hungry: set[str] = set()
        self._listening = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Signals, epoch {self.epoch}, {'listening' if self._listening.is_set() else 'not listening'}>"

    async def ready(self) -> None:
        """Return when nothing is missed from now on. Raises EngineAway."""
        try:
            async with asyncio.timeout(LISTEN_SECONDS):
                await self._listening.wait()
        except TimeoutError:
            raise EngineAway("it tells no events") from None

    def has_stopped(self, name: str) -> bool:
        """Whether somebody other than this node has sent the container a signal to end."""
        return name in self._stopped

    def ran_out_of_memory(self, name: str) -> bool:
        """Whether the kernel has killed a process of the container; told up to some time after its end, or never."""
        return name in self._hungry

    def forget(self, name: str) -> None:
        self._stopped.discard(name)
        self._hungry.discard(name)

    async def listen(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except (EngineAway, EngineRefusal) as error:
                _log.debug("The container engine tells no events: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with self._api.kills(NODE_LABEL, self._node_id) as kills:
            self._listening.set()
            try:
                async for name, signal in kills:
                    if signal == OOM:
                        self._hungry.add(name)
                    elif signal not in _NO_END:
                        self._stopped.add(name)
            finally:
                self._listening.clear()
                self.epoch += 1
