"""Slots: who may run now, in order of arrival, when all resources that one names are free."""

import asyncio
from collections import deque
from itertools import islice

from shared.jobs.capacity import Capacity


class Slot:
    """A place in the queue, and then a share of the node. Give it back with `release`, which may be repeated."""

    def __init__(self, slots: "Slots", wanted: Capacity, devices: tuple[str, ...] = ()) -> None:
        self.wanted = wanted
        self.devices = devices
        """The GPUs that it has while it is granted, by their ids; no other slot has them then."""
        self._slots = slots
        self._granted = asyncio.Event()

    @property
    def is_granted(self) -> bool:
        return self._granted.is_set()

    async def granted(self) -> None:
        await self._granted.wait()

    def release(self) -> None:
        self._slots._give_back(self)  # noqa: SLF001  # the two classes are one thing

    def __repr__(self) -> str:
        return f"<Slot {'granted' if self.is_granted else 'waiting'} {self.wanted}>"


class Slots:
    """The node's capacity, and a bounded queue for it.

    GPUs are given one by one: their ids are their numbers, from 0 on, as the tools of their makers count them.

    The one in front waits for as long as it does not fit, also where a later one would: else a large execution would
    wait for ever behind small ones.
    """

    def __init__(self, capacity: Capacity, *, queue_capacity: int) -> None:
        self.capacity = capacity
        self._queue_capacity = queue_capacity
        self._waiting: deque[Slot] = deque()
        self._running: set[Slot] = set()
        self._used = Capacity()

    def __repr__(self) -> str:
        return f"<Slots {self.running} running, {self.queued} queued, {self.free} free>"

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def queued(self) -> int:
        return len(self._waiting)

    @property
    def free(self) -> Capacity:
        return self.capacity.minus(self._used)

    def admit(self, wanted: Capacity) -> Slot | None:
        """A slot, granted already or waiting its turn; None if the queue is full. `wanted` must fit in the node."""
        starts_now = not self._waiting and wanted.fits_in(self.free)
        if not starts_now and self.queued >= self._queue_capacity:
            return None
        slot = Slot(self, wanted)
        self._waiting.append(slot)
        self._grant()
        return slot

    def occupy(self, wanted: Capacity, devices: tuple[str, ...] = ()) -> Slot:
        """A granted slot for what runs already, whether it fits or not.

        Where it is not known which GPUs it has, they are the first: an engine that is told how many only takes those.
        """
        slot = Slot(self, wanted, devices or tuple(map(str, range(wanted.gpu))))
        self._occupy(slot)
        return slot

    def _give_back(self, slot: Slot) -> None:
        if slot in self._running:
            self._running.remove(slot)
            # Sums of floats drift; nothing is exactly nothing again.
            self._used = self._used.minus(slot.wanted) if self._running else Capacity()
        elif slot in self._waiting:
            self._waiting.remove(slot)
        self._grant()

    def _grant(self) -> None:
        while self._waiting and self._waiting[0].wanted.fits_in(self.free):
            slot = self._waiting.popleft()
            if slot.wanted.gpu:
                slot.devices = self._free_devices(slot.wanted.gpu)
            self._occupy(slot)

    def _free_devices(self, count: int) -> tuple[str, ...]:
        taken = {device for slot in self._running for device in slot.devices}
        free = (device for device in map(str, range(self.capacity.gpu)) if device not in taken)
        return tuple(islice(free, count))

    def _occupy(self, slot: Slot) -> None:
        self._running.add(slot)
        self._used = self._used.plus(slot.wanted)
        slot._granted.set()  # noqa: SLF001  # the two classes are one thing
