"""Waiting jobs, the most urgent first, then those that have waited longest.

Jobs of one shape suit the same nodes (orchestrator/rules/fleet.py). They stand in a queue of their own, so that where
one of them has to wait, the others need not be looked at.
"""

import heapq
import itertools
from collections.abc import Container, Hashable, Iterator
from itertools import islice

from shared.ids import JobId

Shape = Hashable

_Queue = dict[JobId, int]
"""Jobs with their numbers, which count in order of arrival."""


class WaitingJobs:
    def __init__(self) -> None:
        self._queues: dict[int, dict[Shape, _Queue]] = {}
        self._places: dict[JobId, tuple[int, Shape]] = {}
        self._unexplained: dict[Shape, dict[JobId, None]] = {}
        self._numbers = itertools.count()

    def put(self, job: JobId, *, priority: int, shape: Shape) -> None:
        """A job that waits already keeps its place, unless its priority is another."""
        before = self._places.get(job)
        if before == (priority, shape):
            return
        number = next(self._numbers)
        if before is not None:
            known = self._queues[before[0]][before[1]][job]
            number = known if before[0] == priority else number
            self.drop(job)
        self._places[job] = priority, shape
        self._queues.setdefault(priority, {}).setdefault(shape, {})[job] = number
        self._unexplained.setdefault(shape, {})[job] = None

    def renew(self, job: JobId) -> None:
        """It has to be told anew why it waits; also where it does not wait."""
        place = self._places.get(job)
        if place is not None:
            self._unexplained.setdefault(place[1], {})[job] = None

    def drop(self, job: JobId) -> None:
        """Also where it does not wait."""
        place = self._places.pop(job, None)
        if place is None:
            return
        priority, shape = place
        queue = self._queues[priority][shape]
        del queue[job]
        if not queue:
            del self._queues[priority][shape]
        if not self._queues[priority]:
            del self._queues[priority]
        self._forget_unexplained(shape, job)

    def walk(self, blocked: Container[Shape] = ()) -> Iterator[JobId]:
        """In order, without those whose shape is `blocked` by the time that it is their turn. To be read at once."""
        for priority in sorted(self._queues, reverse=True):
            heads: list[tuple[int, JobId, int, Shape, Iterator[tuple[JobId, int]]]] = []
            for tie, (shape, queue) in enumerate(self._queues[priority].items()):
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
