"""Lines of programs: each has one of its own for its requests over NATS, and the lines take turns.

A program may ask as fast as the orchestrator answers as long as nobody else asks. Beside others it has its share.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Generic, NamedTuple, TypeVar

from orchestrator.admission.bounds.allowance import Allowance
from orchestrator.admission.bounds.company import BESIDE_SECONDS, Company
from orchestrator.admission.bounds.held_back import Bound, HeldBack
from shared.runtime.aio import begin

AT_ONCE, OF_ONE, LEFT = 64, 48, 8
"""In hand; of one program alone, of several each has its share; and what is left to those with nothing in hand."""
WAITING, WAITING_OF_ONE = 4096, 2048
WAITING_BYTES, WAITING_BYTES_OF_ONE = 64 << 20, 16 << 20
LATE_SECONDS = 5.0
"""Who asked waits no longer for an answer: what was not begun by then is refused, and not done after all."""
BYTES_PER_SECOND = 8 << 20
BURST_SECONDS = 2.0
SHARE = 0.1
"""Of what one may ask alone, so much beside others."""
REFUSALS_PER_SECOND, REFUSALS_AT_ONCE = 20.0, 100.0
"""So many are told that it is too much; what comes beyond that is dropped, as to answer it costs as much."""

R = TypeVar("R")


class _Waiting(NamedTuple, Generic[R]):
    """`cost` is that beside others, `until` the instant from which on it is late."""

    request: R
    size: int
    cost: int
    until: float


class _Line(Generic[R]):
    __slots__ = ("in_hand", "is_next", "size_bytes", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[_Waiting[R]] = deque()
        self.in_hand = self.size_bytes = 0
        self.is_next = False
        """It is among the next, or comes back there by itself."""


class Lines(Generic[R]):
    """Calls `act` for each request in a task of `group`, or `refuse`, with who asked; both must not raise."""

    def __init__(
        self,
        group: asyncio.TaskGroup,
        act: Callable[[R], Coroutine[None, None, None]],
        refuse: Callable[[str, R], Coroutine[None, None, None]],
        held_back: HeldBack,
        *,
        per_second: int,
        clock: Callable[[], float],
    ) -> None:
        self._group = group
        self._act = act
        self._refuse = refuse
        self._held_back = held_back
        self._company = Company(clock)
        self._clock = clock
        share = max(1.0, SHARE * per_second)
        self._alone = Allowance(float(per_second), BURST_SECONDS * per_second)
        self._beside = Allowance(share, BURST_SECONDS * share)
        self._bytes = Allowance(float(BYTES_PER_SECOND), BURST_SECONDS * BYTES_PER_SECOND)
        self._refusals = Allowance(REFUSALS_PER_SECOND, REFUSALS_AT_ONCE)
        self._lines: dict[str, _Line[R]] = {}
        self._next: deque[str] = deque()
        self._in_hand = self.waiting = self._size_bytes = 0

    def take(self, who: str, request: R, size: int, *, cost: int = 1) -> None:
        """Deal with it when its turn comes, or refuse it where this one has too much waiting."""
        self._company.note(who)
        line = self._lines.get(who) or _Line()
        if self._is_full(line, size):
            self._turn_away(who, request)
            return
        self._lines[who] = line
        line.waiting.append(_Waiting(request, size, cost, self._clock() + LATE_SECONDS))
        line.size_bytes += size
        self.waiting += 1
        self._size_bytes += size
        self._offer(who, line)
        self._begin()

    def _turn_away(self, who: str, request: R) -> None:
        self._held_back.note(Bound.NATS_REQUESTS, _named(who))
        if self._refusals.take(who, 1, self._clock()):
            begin(self._group, self._refuse(who, request), name="integration refusal")

    def _is_full(self, line: _Line[R], size: int) -> bool:
        """Never for one that has nothing waiting, whatever others have."""
        if not line.waiting:
            return False
        is_over = line.size_bytes + size > WAITING_BYTES_OF_ONE or self._size_bytes + size > WAITING_BYTES
        return is_over or self.waiting >= WAITING or len(line.waiting) >= WAITING_OF_ONE

    def _wait_seconds(self, who: str, now: float) -> float:
        wait = max(self._alone.wait_seconds(who, now), self._bytes.wait_seconds(who, now))
        if self._company.has_others(who):
            return max(wait, self._beside.wait_seconds(who, now))
        return wait

    def _offer(self, who: str, line: _Line[R]) -> None:
        may_more = line.in_hand < self._most_in_hand() and self._in_hand < AT_ONCE - LEFT
        if line.waiting and not line.is_next and (may_more or not line.in_hand):
            line.is_next = True
            self._next.append(who)

    def _most_in_hand(self) -> int:
        others = len(self._lines) - 1
        return max(1, min(OF_ONE, AT_ONCE // (others + 2))) if others else OF_ONE

    def _begin(self) -> None:
        while self._next and self._in_hand < AT_ONCE:
            who = self._next.popleft()
            line, now = self._lines[who], self._clock()
            if wait := self._wait_seconds(who, now):
                self._held_back.note(Bound.NATS_REQUESTS, _named(who))
                asyncio.get_running_loop().call_later(min(wait, BESIDE_SECONDS), self._come_back, who)
                continue
            request, size, cost, until = line.waiting.popleft()
            self.waiting -= 1
            line.is_next = False
            if until < now:
                self._forget(line, size)
                self._turn_away(who, request)
                self._go_on(who, line)
                continue
            line.in_hand += 1
            self._in_hand += 1
            for allowance, used in ((self._alone, 1), (self._beside, cost), (self._bytes, size)):
                allowance.charge(who, used, now)
            self._offer(who, line)
            if not begin(self._group, self._deal_with(who, line, request, size), name="integration request"):
                return

    def _come_back(self, who: str) -> None:
        self._next.append(who)
        self._begin()

    async def _deal_with(self, who: str, line: _Line[R], request: R, size: int) -> None:
        try:
            await self._act(request)
        finally:
            line.in_hand -= 1
            self._in_hand -= 1
            self._forget(line, size)
            self._go_on(who, line)
            self._begin()

    def _forget(self, line: _Line[R], size: int) -> None:
        line.size_bytes -= size
        self._size_bytes -= size

    def _go_on(self, who: str, line: _Line[R]) -> None:
        self._offer(who, line)
        if not line.waiting and not line.in_hand:
            self._lines.pop(who, None)

    def __repr__(self) -> str:
        return f"<Lines, {self._in_hand} in hand and {self.waiting} waiting of {len(self._lines)} programs>"


def _named(who: str) -> str:
    return f"program {who}"
