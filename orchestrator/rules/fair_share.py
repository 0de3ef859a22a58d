"""Fair share: namespaces whose jobs wait share the fleet by their weights; priority counts within each of them alone.

What a namespace has is told by the resource of the fleet of which its executions hold the largest part, its dominant
one, so that neither CPU nor memory nor GPUs alone decide for jobs that need something else. Whoever has the least for
its weight is next. That counts which is more: what it holds now, or what it has held on average lately. Without the
former two that come at the same time would not share what is free; without the latter one whose short jobs have just
ended would be first again and again, and another that holds a little for long would wait for ever.

All of it is pure: the same waits, uses and weights give the same order.
"""

import heapq
import math
import sys
from collections.abc import Iterator, Mapping

import msgspec
from msgspec.structs import replace

from orchestrator.rules.placement import Wanted
from shared.jobs.capacity import Capacity

DEFAULT_WEIGHT = 1
MOST_WEIGHT = 1000
HALF_LIFE_SECONDS = 300.0
"""What was held so long ago counts half."""
MOST_EXECUTIONS = 1_000_000
"""So many would be the whole fleet, so that also jobs that ask for nothing take turns."""
FORGOTTEN = 1e-6
"""So small a share is none."""
_DIGITS = 9
"""To which shares are compared, as sums of floats differ in the last ones."""


class Held(msgspec.Struct, kw_only=True):
    """What the executions of one namespace hold together."""

    cpu: float = 0.0
    memory: int = 0
    disk: int = 0
    gpu: int = 0
    executions: int = 0

    def add(self, amounts: Capacity, executions: int, times: int = 1) -> None:
        self.cpu += times * amounts.cpu
        self.memory += times * amounts.memory
        self.disk += times * amounts.disk
        self.gpu += times * amounts.gpu
        self.executions += executions

    def pairs(self, total: Capacity) -> tuple[tuple[float, float], ...]:
        """Each amount, and how much of it the fleet has."""
        return (
            (self.cpu, total.cpu),
            (self.memory, total.memory),
            (self.disk, total.disk),
            (self.gpu, total.gpu),
            (self.executions, MOST_EXECUTIONS),
        )

    def share(self, total: Capacity) -> float:
        """Of its dominant resource."""
        return max(amount / whole for amount, whole in self.pairs(total) if whole > 0)


class Lately:
    """The average share of each namespace, in which what is long ago counts less and less."""

    def __init__(self) -> None:
        self.of: dict[str, float] = {}
        self._at: float | None = None

    def look(self, now: float, shares: Mapping[str, float]) -> None:
        """Take in what each has at this instant, which counts since the last look."""
        kept = 0.5 ** ((now - (now if self._at is None else self._at)) / HALF_LIFE_SECONDS)
        self._at = now
        for namespace in self.of.keys() | shares.keys():
            share = shares.get(namespace, 0.0)
            self.of[namespace] = share + (self.of.get(namespace, 0.0) - share) * kept
        self.of = {namespace: share for namespace, share in self.of.items() if share > FORGOTTEN}

    def __repr__(self) -> str:
        return f"<Lately of {len(self.of)} namespaces>"


class Shares:
    """Whose turn it is while plans are made. `held` is copied as it is charged for what is planned."""

    def __init__(
        self, held: Mapping[str, Held], total: Capacity, weights: Mapping[str, int], lately: Mapping[str, float]
    ) -> None:
        self._held = held
        self._total = total
        self._weights = weights
        self._lately = lately
        self._charged: dict[str, Held] = {}
        self._placed: dict[str, int] = {}

    def of(self, namespace: str) -> float:
        """For its weight."""
        share = max(self._of(namespace).share(self._total), self._lately.get(namespace, 0.0))
        return round(share / self._weight(namespace), _DIGITS)

    def placed(self, namespace: str) -> int:
        """How many of its executions are planned."""
        return self._placed.get(namespace, 0)

    def charge(self, wanted: Wanted, count: int) -> None:
        """So many parts of this job are planned."""
        namespace = wanted.job.namespace
        if namespace not in self._charged:
            self._charged[namespace] = replace(self._of(namespace))
        self._charged[namespace].add(wanted.resources, count, count)
        self._placed[namespace] = self.placed(namespace) + count

    def turn(self, wanted: Wanted, up_to: float) -> int:
        """How many parts of the job may be placed before another one is next, which has `up_to`; at least one."""
        if math.isinf(up_to):
            return sys.maxsize
        namespace = wanted.job.namespace
        part = Held()
        part.add(wanted.resources, 1)
        limit, held = up_to * self._weight(namespace), self._of(namespace)
        return max(
            1,
            min(
                math.floor((limit * whole - there) / each) + 1
                for (each, whole), (there, _) in zip(part.pairs(self._total), held.pairs(self._total), strict=True)
                if each > 0 and whole > 0
            ),
        )

    def _of(self, namespace: str) -> Held:
        return self._charged.get(namespace) or self._held.get(namespace) or Held()

    def _weight(self, namespace: str) -> int:
        return self._weights.get(namespace, DEFAULT_WEIGHT)

    def __repr__(self) -> str:
        return f"<Shares of {len(self._held)} namespaces>"


def in_turn(lines: Mapping[str, Iterator[Wanted]], shares: Shares) -> Iterator[Wanted]:
    """What each namespace wants, in an order of its own, in the order in which they are to be looked at.

    Each is asked for its next job when it is its turn. A job may come several times, with a few parts each time: who
    places some charges `shares` before asking for more. What is not placed as a whole has to wait, and is passed over.
    """
    turns = [(shares.of(namespace), namespace) for namespace in lines]
    heapq.heapify(turns)
    begun: dict[str, Wanted] = {}
    while turns:
        _, namespace = turns[0]
        head = begun.pop(namespace, None) or next(lines[namespace], None)
        if head is None:
            heapq.heappop(turns)
            continue
        count = len(head.missing)
        if not head.targets:  # else some of them may have to wait, and others not, and a node gets one at most
            count = min(count, shares.turn(head, _second(turns)))
        before = shares.placed(namespace)
        yield head if count == len(head.missing) else replace(head, most=count)
        placed = shares.placed(namespace) - before
        if placed == count < len(head.missing):
            begun[namespace] = replace(head, missing=head.missing[count:])
        heapq.heapreplace(turns, (shares.of(namespace), namespace))


def _second(turns: list[tuple[float, str]]) -> float:
    """What the next one has, if there is another."""
    return min((share for share, _ in turns[1:3]), default=math.inf)
