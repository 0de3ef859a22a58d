"""How far a `map` runs ahead of who reads it: an endless iterable takes bounded memory and bounded work."""

from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")

LEAST_AHEAD = 2_000
MOST_AHEAD_BYTES = 512 << 20
"""Of arguments of calls whose values were not read yet; one call may be larger."""


class Ahead(Generic[T]):
    """`submit` has a call with these arguments be made, and says how many bytes it takes.

    More are submitted when half of `most` were read, so that many still go into one job.
    """

    def __init__(
        self, arguments: Iterator[tuple[Any, ...]], submit: Callable[[tuple[Any, ...]], tuple[T, int]], most: int
    ) -> None:
        self._arguments = arguments
        self._submit = submit
        self._most = most
        self._calls: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._is_filling = True

    def __repr__(self) -> str:
        return f"<Ahead of {len(self._calls)} calls>"

    def may_submit(self) -> bool:
        if self._is_filling:
            self._is_filling = len(self._calls) < self._most and self._bytes < MOST_AHEAD_BYTES
        else:
            self._is_filling = len(self._calls) <= self._most // 2 and self._bytes <= MOST_AHEAD_BYTES // 2
        return self._is_filling

    def submit_next(self) -> bool:
        """False where there is none."""
        arguments = next(self._arguments, None)
        if arguments is None:
            return False
        call, size_bytes = self._submit(arguments)
        self._calls.append((call, size_bytes))
        self._bytes += size_bytes
        return True

    def take(self) -> T | None:
        """The one that was submitted first."""
        if not self._calls:
            return None
        call, size_bytes = self._calls.popleft()
        self._bytes -= size_bytes
        return call

    def rest(self) -> list[T]:
        return [call for call, _ in self._calls]
