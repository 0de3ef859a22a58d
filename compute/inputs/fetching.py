"""Fetching of inputs: all that a task is to read is where it looks for it, before it is started."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from compute.disk.input_files import MountedInput, seal
from compute.disk.workspace import DISK_SECONDS, Workspace
from compute.inputs.failures import InputFailed
from compute.inputs.places import InputPlace, make_way, mounted, places_of
from shared.ids import ExecutionId
from shared.jobs.durations import format_duration
from shared.jobs.spec import Task
from shared.jobs.states import FailureReason
from shared.runtime.aio import in_thread


@dataclass(frozen=True, kw_only=True)
class InputOrder:
    """What is to be fetched for an execution whose folder is there. `disk_bytes` is what it may fill; 0 is no limit.

    `on_progress` is told in a sentence how far it is.
    """

    execution_id: ExecutionId
    task: Task
    workspace: Workspace
    disk_bytes: int = 0
    on_progress: Callable[[str], None] = field(default=lambda _: None, repr=False)


class OwnInputs(Protocol):
    """A kind of input that nodes read by themselves, without the orchestrator."""

    async def provide(self, place: InputPlace) -> Path:
        """The path of what the task is to see: that of the place, where it is made, or another one to be mounted.

        What is made is sealed afterwards. Raises InputFailed, and OSError where the node itself is to blame. When it is
        cancelled, nothing goes on, and what is there is removed with the execution.
        """


class Inputs:
    """Of a node. `own` are the kinds that it reads by itself, by their names in lower case."""

    def __init__(self, own: Mapping[str, OwnInputs], *, timeout_seconds: float = 0.0) -> None:
        self._own = own
        self._timeout_seconds = timeout_seconds

    def __repr__(self) -> str:
        return f"<Inputs {', '.join(self.kinds)}>"

    @property
    def kinds(self) -> tuple[str, ...]:
        """What this node can fetch, in lower case."""
        return tuple(sorted(self._own))

    async def fetch(self, order: InputOrder) -> tuple[MountedInput, ...]:
        """Where all of the task's inputs are. Raises InputFailed, OSError. When cancelled nothing goes on."""
        deadline = asyncio.timeout(self._timeout_seconds or None)
        try:
            async with deadline:
                return await self._fetch(order)
        except TimeoutError:
            if not deadline.expired():
                raise
            limit = format_duration(self._timeout_seconds)
            detail = f"The inputs of the task were not fetched within {limit} (Compute.Inputs.FetchTimeout)."
            raise InputFailed(FailureReason.INPUT_UNAVAILABLE, detail) from None

    async def _fetch(self, order: InputOrder) -> tuple[MountedInput, ...]:
        places = places_of(order.task, order.workspace)
        await in_thread(lambda: make_way(places, order.workspace), within=DISK_SECONDS)
        return tuple([await self._provide(place) for place in places])

    async def _provide(self, place: InputPlace) -> MountedInput:
        path = await self._own[place.source.source.type.lower()].provide(place)
        if path == place.path:
            await in_thread(lambda: seal(path), within=DISK_SECONDS)
        return mounted(place, path)
