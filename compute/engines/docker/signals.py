"""Events of this node's containers, told by the engine as they happen, over one connection.

An engine that is stopped in good order stops its containers first, and what a task answers to that looks like an end of
its own. The end of the connection tells that the engine has ended.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterable

from compute.engines.docker.api import ContainerEvent, DockerApi, EngineAway, EngineRefusal
from compute.engines.docker.spec import NODE_LABEL
from shared.ids import NodeId

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.5
LISTEN_SECONDS = 30.0
"""An engine on a busy machine takes seconds to answer; nothing of a task exists yet."""
TOLD_SECONDS = 5.0
"""So long after a container's end the engine may take to tell it."""
LATE_SECONDS = 2.0
"""So long after that it may take to tell who ended it: Podman tells that last."""
EXPLAINED_SECONDS = 5.0
"""The same of what was killed: on a busy machine Docker tells seconds later that it was for want of memory."""
_NO_END = {"1", "10", "12", "28"}
"""HUP, USR1, USR2 and WINCH ask a task for something else than its end."""
_DIE, _OOM, _KILL, _CLEANUP = "die", "oom", "kill", "cleanup"
_ENDING = {"stop", "restart", "checkpoint"}
_ACTIONS = (_DIE, "died", _OOM, _KILL, _CLEANUP, *sorted(_ENDING))
"""Podman tells of the end as `die`, and finds it as `died`."""


class ContainerSignals:
    """What the engine has told of one container. It may tell the same event again."""

    def __init__(self) -> None:
        self.has_died = asyncio.Event()
        self.exit_code = ""
        """As told with its end; empty where that is not told."""
        self.ran_out_of_memory = False
        """The kernel has killed a process of it; told up to some time after its end, or never."""
        self.was_stopped = False
        """Somebody has sent it a signal to end, or may have: Podman does not tell which signal it was."""
        self._is_explained = asyncio.Event()
        self._cleanups: set[int] = set()

    def __repr__(self) -> str:
        state = "died" if self.has_died.is_set() else "runs"
        return f"<ContainerSignals {state}{', stopped' if self.was_stopped else ''}>"

    async def explained(self, within: float) -> None:
        """Return when it is told why the container was killed, or when the engine has had the time to tell."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._is_explained.wait()

    def take(self, event: ContainerEvent) -> None:
        if event.action == _DIE:
            self.exit_code = event.exit_code
            self.has_died.set()
        elif event.action == _OOM:
            self.ran_out_of_memory = True
        elif event.action == _CLEANUP:
            # Podman's monitor cleans up once after every end, and whoever has stopped a container does so again.
            self._cleanups.add(event.at)
        if (
            event.action in _ENDING
            or (event.action == _KILL and event.signal not in _NO_END)
            or len(self._cleanups) > 1
        ):
            self.was_stopped = True
        if self.was_stopped or self.ran_out_of_memory:
            self._is_explained.set()


class Signals:
    """`epoch` changes when the engine ends, or at least the connection to it."""

    def __init__(self, api: DockerApi, node_id: NodeId) -> None:
        self.epoch = 0
        self._api = api
        self._node_id = node_id
        self._told: dict[str, ContainerSignals] = {}
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

    def told(self, name: str) -> ContainerSignals:
        """What is told of a container, kept from the first time that this is asked until `forget`."""
        return self._told.setdefault(name, ContainerSignals())

    def forget(self, name: str) -> None:
        self._told.pop(name, None)

    async def listen(self) -> None:
        """Until cancelled."""
        while True:
            try:
                await self._listen()
            except (EngineAway, EngineRefusal) as error:
                _log.debug("The container engine tells no events: %s", error)
            await asyncio.sleep(PAUSE_SECONDS)

    async def _listen(self) -> None:
        async with self._api.events(NODE_LABEL, self._node_id, _ACTIONS) as events:
            self._listening.set()
            try:
                async for event in events:
                    self.take([event])
            finally:
                self._listening.clear()
                self.epoch += 1

    def take(self, events: Iterable[ContainerEvent]) -> None:
        for event in events:
            if event.name in self._told:
                self._told[event.name].take(event)
