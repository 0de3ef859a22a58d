"""Items by instant: which of many is the oldest, known at little cost while they come and go."""

import heapq
from typing import Generic, TypeVar

T = TypeVar("T", bound=str)

LEAST_CLEARED = 1024


class ByInstant(Generic[T]):
    """Items by an instant each; an item may come again with another one."""

    def __init__(self) -> None:
        self._instants: dict[T, int] = {}
        self._heap: list[tuple[int, T]] = []

    def put(self, item: T, instant: int) -> None:
        if self._instants.get(item) != instant:
            self._instants[item] = instant
            heapq.heappush(self._heap, (instant, item))
            self._clear()

    def drop(self, item: T) -> None:
        """Also where it is not there."""
        if self._instants.pop(item, None) is not None:
            self._clear()

    def _clear(self) -> None:
        if len(self._heap) > LEAST_CLEARED + 2 * len(self._instants):
            self._heap = [(instant, each) for each, instant in self._instants.items()]
            heapq.heapify(self._heap)

    @property
    def instant(self) -> int | None:
        """That of the oldest; None where there is nothing."""
        while self._heap and self._instants.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, most: int, before: int) -> list[T]:
        """Drop at most so many that are not later than `before`, and give them, the oldest first."""
        taken: list[T] = []
        while len(taken) < most and (oldest := self.instant) is not None and oldest <= before:
            item = heapq.heappop(self._heap)[1]
            del self._instants[item]
            taken.append(item)
        return taken

    def instant_of(self, item: T) -> int | None:
        """None if it is not there."""
        return self._instants.get(item)

    def until(self, instant: int) -> list[T]:
        """Those whose instant is not after this one, the oldest first."""
        found = []
        while self.instant is not None and self._heap[0][0] <= instant:
            found.append(heapq.heappop(self._heap))
        for each in found:
            heapq.heappush(self._heap, each)
        return [item for _, item in found]

    def __len__(self) -> int:
        return len(self._instants)

    def __repr__(self) -> str:
        return f"<ByInstant of {len(self)}>"
