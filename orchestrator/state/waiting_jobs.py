"""Waiting jobs, by their namespaces; in each the most urgent first, then those that have waited longest.

Jobs of one shape suit the same nodes (orchestrator/rules/fleet.py). They stand in a queue of their own, so that where
one of them has to wait, the others need not be looked at. Whose turn it is among namespaces is decided elsewhere
(orchestrator/rules/fair_share.py).
"""

import heapq
import itertools
from collections.abc import Container, Hashable, Iterator
from itertools import islice
from typing import NamedTuple

from shared.ids import JobId
from shared.jobs.namespaces import DEFAULT_NAMESPACE

Shape = Hashable

_Queue = dict[JobId, int]
"""Jobs with their numbers, which count in order of arrival."""


class _Place(NamedTuple):
    namespace: str
    priority: int
    shape: Shape


class _Line:
    """The jobs of one namespace."""

    def __init__(self) -> None:
        self.queues: dict[int, dict[Shape, _Queue]] = {}

    def put(self, job: JobId, number: int, place: _Place) -> None:
        self.queues.setdefault(place.priority, {}).setdefault(place.shape, {})[job] = number

    def number_of(self, job: JobId, place: _Place) -> int:
        return self.queues[place.priority][place.shape][job]

    def drop(self, job: JobId, place: _Place) -> None:
        shapes = self.queues[place.priority]
        del shapes[place.shape][job]
        if not shapes[place.shape]:
            del shapes[place.shape]
        if not shapes:
            del self.queues[place.priority]

    def walk(self, blocked: Container[Shape]) -> Iterator[JobId]:
        for priority in sorted(self.queues, reverse=True):
            heads: list[tuple[int, JobId, int, Shape, Iterator[tuple[JobId, int]]]] = []
            for tie, (shape, queue) in enumerate(self.queues[priority].items()):
                rest = iter(queue.items())
                job, number = next(rest)
                heads.append((number, job, tie, shape, rest))
            heapq.heapify(heads)
            while heads:
                _, job, tie, shape, rest = heads[0]
                if shape in blocked:
                    heapq.heappop(heads)
                    continue
                yield job
                following = next(rest, None)
                if following is None:
                    heapq.heappop(heads)
                else:
                    heapq.heapreplace(heads, (following[1], following[0], tie, shape, rest))


class WaitingJobs:
    def __init__(self) -> None:
        self._lines: dict[str, _Line] = {}
        self._places: dict[JobId, _Place] = {}
        self._unexplained: dict[Shape, dict[JobId, None]] = {}
        self._numbers = itertools.count()

    def put(self, job: JobId, *, priority: int, shape: Shape, namespace: str = DEFAULT_NAMESPACE) -> None:
        """A job that waits already keeps its place, unless its priority is another."""
        before, place = self._places.get(job), _Place(namespace, priority, shape)
        if before == place:
            return
        number = next(self._numbers)
        if before is not None:
            known = self._lines[before.namespace].number_of(job, before)
            number = known if before.priority == priority else number
            self.drop(job)
        self._places[job] = place
        line = self._lines.get(namespace)
        if line is None:
            line = self._lines[namespace] = _Line()
        line.put(job, number, place)
        self._unexplained.setdefault(shape, {})[job] = None

    def renew(self, job: JobId) -> None:
        """It has to be told anew why it waits; also where it does not wait."""
        place = self._places.get(job)
        if place is not None:
            self._unexplained.setdefault(place.shape, {})[job] = None

    def drop(self, job: JobId) -> None:
        """Also where it does not wait."""
        place = self._places.pop(job, None)
        if place is None:
            return
        line = self._lines[place.namespace]
        line.drop(job, place)
        if not line.queues:
            del self._lines[place.namespace]
        self._forget_unexplained(place.shape, job)

    @property
    def is_shared(self) -> bool:
        """Whether jobs of several namespaces wait."""
        return len(self._lines) > 1

    def count_of(self, namespace: str) -> int:
        """How many jobs of a namespace wait."""
        line = self._lines.get(namespace)
        return sum(len(queue) for shapes in line.queues.values() for queue in shapes.values()) if line else 0

    def groups(self) -> Iterator[tuple[Shape, int, JobId]]:
        """Each shape, in each namespace and priority, with how many jobs of it wait, and the first of them."""
        for line in self._lines.values():
            for shapes in line.queues.values():
                for shape, queue in shapes.items():
                    yield shape, len(queue), next(iter(queue))

    def lines(self, blocked: Container[Shape] = ()) -> dict[str, Iterator[JobId]]:
        """For each namespace its jobs in order, without those whose shape is `blocked` by the time of their turn.

        To be read at once.
        """
        return {namespace: line.walk(blocked) for namespace, line in self._lines.items()}

    def take_unexplained(self, shape: Shape, most: int) -> list[JobId]:
        """Some jobs of this shape that nobody was told about why they wait, each of them once."""
        found = list(islice(self._unexplained.get(shape, ()), most))
        for job in found:
            self._forget_unexplained(shape, job)
        return found

    def _forget_unexplained(self, shape: Shape, job: JobId) -> None:
        waiting = self._unexplained.get(shape)
        if waiting is not None:
            waiting.pop(job, None)
            if not waiting:
                del self._unexplained[shape]

    def __contains__(self, job: object) -> bool:
        return job in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __repr__(self) -> str:
        return f"<WaitingJobs: {len(self._places)} jobs>"
