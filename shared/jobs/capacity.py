"""Capacity: how much CPU, memory, disk and GPU there is, is asked for and is left."""

import math
from collections.abc import Iterable

import msgspec


class Capacity(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Amounts of one node or one execution: cores, bytes, bytes, devices."""

    cpu: float = msgspec.field(name="CPU", default=0.0)
    memory: int = msgspec.field(name="Memory", default=0)
    disk: int = msgspec.field(name="Disk", default=0)
    gpu: int = msgspec.field(name="GPU", default=0)

    def plus(self, other: "Capacity") -> "Capacity":
        return Capacity(
            cpu=self.cpu + other.cpu,
            memory=self.memory + other.memory,
            disk=self.disk + other.disk,
            gpu=self.gpu + other.gpu,
        )

    def minus(self, other: "Capacity") -> "Capacity":
        """What is left, never below zero."""
        return Capacity(
            cpu=max(0.0, self.cpu - other.cpu),
            memory=max(0, self.memory - other.memory),
            disk=max(0, self.disk - other.disk),
            gpu=max(0, self.gpu - other.gpu),
        )

    def at_most(self, other: "Capacity") -> "Capacity":
        """Of each amount the smaller one."""
        return Capacity(
            cpu=min(self.cpu, other.cpu),
            memory=min(self.memory, other.memory),
            disk=min(self.disk, other.disk),
            gpu=min(self.gpu, other.gpu),
        )

    @property
    def is_possible(self) -> bool:
        """Whether something could have these amounts: none is negative, and the CPU is a number."""
        return math.isfinite(self.cpu) and min(self.cpu, self.memory, self.disk, self.gpu) >= 0

    def fits_in(self, other: "Capacity") -> bool:
        """Whether `other` is at least as much; CPU to a thousandth of a core, so that sums of floats do not matter."""
        return (
            self.cpu <= other.cpu + 0.0005
            and self.memory <= other.memory
            and self.disk <= other.disk
            and self.gpu <= other.gpu
        )

    def share_lacking(self, other: "Capacity") -> float:
        """How much of this is not in `other`: 0.0 if it fits, 1.0 if there is nothing at all of what it lacks most."""
        pairs = ((self.cpu, other.cpu), (self.memory, other.memory), (self.disk, other.disk), (self.gpu, other.gpu))
        return max((max(0.0, (mine - there) / mine) for mine, there in pairs if mine > 0), default=0.0)

    def lacks(self, other: "Capacity") -> tuple[str, ...]:
        """The names of the amounts of which `other` has too little for this."""
        pairs = (
            ("CPU", self.cpu > other.cpu + 0.0005),
            ("memory", self.memory > other.memory),
            ("disk", self.disk > other.disk),
            ("GPU", self.gpu > other.gpu),
        )
        return tuple(name for name, lacking in pairs if lacking)


def sum_of(amounts: Iterable[Capacity]) -> Capacity:
    """All of them together."""
    found = tuple(amounts)
    return Capacity(
        cpu=math.fsum(each.cpu for each in found),
        memory=sum(each.memory for each in found),
        disk=sum(each.disk for each in found),
        gpu=sum(each.gpu for each in found),
    )
