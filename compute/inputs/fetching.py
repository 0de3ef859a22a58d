"""Fetching of inputs: all that a task is to read is where it looks for it, before it is started."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from compute.disk.input_files import MountedInput, seal
from compute.disk.workspace import DISK_SECONDS
from compute.inputs.failures import InputFailed
from compute.inputs.inline import InlineInputs
from compute.inputs.objects.managed import ManagedInputs
from compute.inputs.order import InputOrder
from compute.inputs.places import InputPlace, make_way, mounted, places_of
from compute.inputs.read_inputs import own_read
from shared.jobs.durations import format_duration
from shared.jobs.inputs.kinds import is_managed
from shared.jobs.states import FailureReason
from shared.protocol.results.provenance import Resource
from shared.runtime.aio import in_thread


def _nothing() -> None: ...


class OwnInputs(Protocol):
    """A kind of input that nodes read by themselves, without the orchestrator."""

    async def provide(self, place: InputPlace, order: InputOrder) -> Path:
        """The path of what the task is to see: that of the place, where it is made, or another one to be mounted.

        What is made is sealed afterwards. Raises InputFailed, and OSError where the node itself is to blame. When it is
        cancelled, nothing goes on, and what is there is removed with the execution.
        """


class Inputs:
    """Of a node. `own` are the kinds that it reads by itself, by their names in lower case."""

    def __init__(
        self, own: Mapping[str, OwnInputs], managed: ManagedInputs | None = None, *, timeout_seconds: float = 0.0
    ) -> None:
        self._own = own
        self._managed = managed
        self._timeout_seconds = timeout_seconds

    def __repr__(self) -> str:
        return f"<Inputs {', '.join(self._own)} and {self._managed!r}>"

    async def fetch(self, order: InputOrder, begin: Callable[[], None] = _nothing) -> tuple[MountedInput, ...]:
        """Where all of the task's inputs are. Raises InputFailed, OSError. When cancelled nothing goes on.

        `begin` makes the workspace, in the first thread that is needed anyway.
        """
        deadline = asyncio.timeout(self._timeout_seconds or None)
        try:
            async with deadline:
                return await self._fetch(order, begin)
        except TimeoutError:
            if not deadline.expired():
                raise
            limit = format_duration(self._timeout_seconds)
            detail = f"The inputs of the task were not fetched within {limit} (Compute.Inputs.FetchTimeout)."
            raise InputFailed(FailureReason.INPUT_UNAVAILABLE, detail) from None

    async def _fetch(self, order: InputOrder, begin: Callable[[], None]) -> tuple[MountedInput, ...]:
        places = places_of(order)

        def begun() -> set[int]:
            begin()
            return self._begun(places, order)

        written = await in_thread(begun, within=DISK_SECONDS)
        managed = {number: place for number, place in enumerate(places) if is_managed(place.source.source)}
        elsewhere: dict[int, Path] = {}
        if managed:
            assert self._managed is not None, "an assignment is refused that has a kind which the node does not offer"
            elsewhere = await self._managed.fetch(order, managed)
        read = list[Resource]()
        own = replace(order, on_known=read.extend)
        fetched = tuple(
            [
                mounted(place, elsewhere.get(number))
                if number in managed or number in written
                else await self._provide(place, own)
                for number, place in enumerate(places)
            ]
        )
        order.on_known(own_read(read))
        return fetched

    def _begun(self, places: Sequence[InputPlace], order: InputOrder) -> set[int]:
        """Which of them are there, once there is a way to all: what is in the job takes no thread of its own."""
        make_way(places, order.workspace)
        written = set()
        for number, place in enumerate(places):
            own = self._own.get(place.source.source.type.lower())
            if isinstance(own, InlineInputs):
                own.write(place)
                seal(place.path)
                written.add(number)
        return written

    async def _provide(self, place: InputPlace, order: InputOrder) -> MountedInput:
        path = await self._own[place.source.source.type.lower()].provide(place, order)
        if path == place.path:
            await in_thread(lambda: seal(path), within=DISK_SECONDS)
        return mounted(place, path)
