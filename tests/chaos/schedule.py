"""Which faults happen when, to whom and for how long: data that follows from the seed alone (no tests in here)."""

import random
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

ORCHESTRATORS = ("o0", "o1", "o2")
NATS_SERVERS = ("nats-0", "nats-1", "nats-2")
S3 = "s3"

BETWEEN_SECONDS = 5.0
"""From one fault to the next on average, where the run is long enough for every kind."""
GAP_SECONDS = 2.0
"""How long a process is left alone after it was healed."""
STOP_SECONDS = 18.0
"""How long a node may take to stop in good order."""
SKEWS_HOURS = (-26.0, -6.0, -2.0, -0.5, 0.5, 2.0, 6.0, 26.0)


class Kind(StrEnum):
    """What happens, named by whom it happens to."""

    ORCHESTRATOR_KILL = "orchestrator-kill"
    ORCHESTRATOR_TERMINATE = "orchestrator-terminate"
    ORCHESTRATOR_PAUSE = "orchestrator-pause"
    ORCHESTRATOR_CLOCK = "orchestrator-clock"
    ORCHESTRATOR_NATS_STALL = "orchestrator-nats-stall"
    ORCHESTRATOR_NATS_CUT = "orchestrator-nats-cut"
    ORCHESTRATOR_S3_STALL = "orchestrator-s3-stall"
    ORCHESTRATOR_S3_CUT = "orchestrator-s3-cut"
    NODE_KILL = "node-kill"
    NODE_TERMINATE = "node-terminate"
    NODE_PAUSE = "node-pause"
    NODE_CLOCK = "node-clock"
    NODE_DISK = "node-disk"
    NODE_NATS_STALL = "node-nats-stall"
    NODE_NATS_CUT = "node-nats-cut"
    NODE_S3_STALL = "node-s3-stall"
    NODE_S3_CUT = "node-s3-cut"
    NATS_KILL = "nats-kill"
    NATS_TERMINATE = "nats-terminate"
    NATS_PAUSE = "nats-pause"
    NATS_DISK = "nats-disk"
    S3_KILL = "s3-kill"
    S3_PAUSE = "s3-pause"
    S3_ERRORS = "s3-errors"


NEEDS_CLOCK = frozenset({Kind.ORCHESTRATOR_CLOCK, Kind.NODE_CLOCK})
NEEDS_DISK = frozenset({Kind.NODE_DISK, Kind.NATS_DISK})


class Fault(NamedTuple):
    """`at` counts from the beginning of the load. `hours` is by how much a clock is wrong."""

    number: int
    at: float
    kind: Kind
    target: str
    seconds: float
    hours: float = 0.0

    @property
    def until(self) -> float:
        return self.at + self.seconds

    def __str__(self) -> str:
        how = f" by {self.hours:+g} h" if self.hours else ""
        return f"{self.kind} of {self.target}{how} for {self.seconds:.1f} s"


def node_names(count: int) -> tuple[str, ...]:
    return tuple(f"node-{number}" for number in range(count))


def plan_faults(
    seed: int, seconds: float, *, nodes: int, kinds: Iterable[Kind] = Kind, between: float = BETWEEN_SECONDS
) -> tuple[Fault, ...]:
    """Every kind comes once before any comes again; no process suffers two at once; all are over after `seconds`."""
    dice = random.Random(f"{seed}/faults")
    known = sorted(kinds)
    between = min(between, 0.75 * seconds / max(1, len(known)))
    free_at = dict.fromkeys((*ORCHESTRATORS, *NATS_SERVERS, S3, *node_names(nodes)), 0.0)
    faults: list[Fault] = []
    bag: list[Kind] = []
    at = between
    while known and at < seconds - 1.0:
        if not bag:
            bag = dice.sample(known, len(known))
        found = _next(bag, free_at, at, dice)
        if found is not None:
            kind, target = found
            bag.remove(kind)
            lasts = min(_lasts(dice, seconds), seconds - at)
            hours = dice.choice(SKEWS_HOURS) if kind in NEEDS_CLOCK else 0.0
            faults.append(Fault(len(faults), round(at, 3), kind, target, round(lasts, 3), hours))
            ending = min(STOP_SECONDS, seconds / 10) if kind is Kind.NODE_TERMINATE else 0.0
            free_at[target] = at + lasts + ending + min(GAP_SECONDS, between)
        at += between * dice.uniform(0.5, 1.5)
    return tuple(faults)


def _next(bag: Sequence[Kind], free_at: Mapping[str, float], at: float, dice: random.Random) -> tuple[Kind, str] | None:
    """The first kind in the bag for which somebody is free."""
    for kind in bag:
        free = [name for name in free_at if name.startswith(_begins(kind)) and free_at[name] <= at]
        if free:
            return kind, dice.choice(free)
    return None


def _begins(kind: Kind) -> str:
    who = kind.partition("-")[0]
    return "o" if who == "orchestrator" else who


def _lasts(dice: random.Random, seconds: float) -> float:
    """Mostly shorter than the lease; sometimes longer; now and then longer than all time-outs for the silent."""
    roll = dice.random()
    if roll < 0.55:
        wanted = dice.uniform(0.5, 3.0)
    elif roll < 0.85:
        wanted = dice.uniform(3.0, 10.0)
    else:
        wanted = dice.uniform(18.0, 32.0)
    return min(wanted, max(1.0, seconds / 10))
