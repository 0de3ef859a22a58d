"""Levels of compression: how much processor time each block gets, where the link and not the processor is the limit.

As long as what is packed waits to be sent, the next part need not be ready, and time goes into its size. Which level a
block got follows from the clock, so it is written down, for the same bytes after a restart.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

LADDER = (2, 3, 6, 9)
"""Up to 3 the levels are ISA-L's, above they are zlib's: 3 to 15 percent smaller, and 2 to 30 times as slow."""
_COSTS = {2: 1.0, 3: 2.5, 6: 14.0, 9: 60.0}
"""Against the fastest, as far as a level has not been tried: of text, roughly."""

_SHARE = 0.7
"""Of the time for which there is something to send, that the next part may take."""
_HELD_BLOCKS = 4
"""So many have a level before there is a higher one."""
_LEAST_SECONDS, _MARK_SECONDS, _WINDOW_SECONDS = 0.03, 0.05, 1.0
_LEAST_FAST, _LEAST_SLOW = 0.5, 0.75
"""Of its time, a thread that compresses has less of a processor where others want them too. At the fastest level it
waits for Python's lock as well."""
_FORGOTTEN_BLOCKS = 64
"""After so many at the fastest level it is tried again whether others want the processors still."""
_KEPT = 0.95
_NEWEST = 0.3


class Switch(NamedTuple):
    """From this block on, counted from 0, the level is this one."""

    block: int
    level: int


class Told(NamedTuple):
    """Levels that were written down, of so many blocks."""

    blocks: int
    switches: tuple[Switch, ...]


NOTHING_TOLD = Told(0, ())


class _Share:
    """Of the time of threads, that for which they had a processor."""

    def __init__(self) -> None:
        self._seconds = self._processor_seconds = 0.0

    @property
    def of_time(self) -> float:
        return self._processor_seconds / self._seconds if self._seconds else 1.0

    def add(self, seconds: float, processor_seconds: float) -> None:
        self._seconds = _KEPT * self._seconds + seconds
        self._processor_seconds = _KEPT * self._processor_seconds + processor_seconds


class Levels:
    """Of the blocks of one archive. `sent` tells how many bytes have left so far; without it all blocks are `fastest`.

    Blocks that were `told` get the same level again.
    """

    def __init__(
        self,
        fastest: int,
        *,
        told: Told = NOTHING_TOLD,
        sent: Callable[[], int] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.blocks = 0
        self.switches: list[Switch] = []
        self._rungs = (fastest, *(level for level in LADDER if level > fastest))
        self._told = told
        self._sent = sent
        self._clock = clock
        self._rates: dict[int, float] = {}
        self._fast, self._slow = _Share(), _Share()
        """Of the last blocks, at the fastest level and at others."""
        self._fast_in_a_row = 0
        self._marks: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<Levels, {len(self.switches)} switches in {self.blocks} blocks>"

    @property
    def so_far(self) -> Told:
        return Told(self.blocks, tuple(self.switches))

    def choose(self, *, packed_bytes: int, missing_bytes: int, threads: float) -> int:
        """The level of the next block. `packed_bytes` are in whole parts, and so many are missing in the next one."""
        before = self.switches[-1].level if self.switches else self._rungs[0]
        level = self._again() or self._wanted(packed_bytes, missing_bytes, threads)
        is_first_of_own = self.blocks == self._told.blocks > 0  # what was told beyond it does not count any more
        if level > before and not is_first_of_own and self.blocks >= self._told.blocks:
            level = before if self._held < _HELD_BLOCKS else level
        if level != before or is_first_of_own:
            self.switches.append(Switch(self.blocks, level))
        self.blocks += 1
        return level

    def learn(self, level: int, size_bytes: int, *, seconds: float, processor_seconds: float) -> None:
        """A block became so many bytes, which took so long."""
        if seconds > 0:
            rate = size_bytes / seconds
            known = self._rates.get(level, rate)
            self._rates[level] = known + _NEWEST * (rate - known)
            is_slow = level != self._rungs[0]
            self._fast_in_a_row = 0 if is_slow else self._fast_in_a_row + 1
            if self._fast_in_a_row == _FORGOTTEN_BLOCKS:
                self._slow = _Share()
            share = self._slow if is_slow else self._fast
            share.add(seconds, processor_seconds)

    @property
    def _held(self) -> int:
        return self.blocks - (self.switches[-1].block if self.switches else 0)

    def _again(self) -> int:
        """What was told of the next block; 0 if nothing was."""
        if self.blocks >= self._told.blocks:
            return 0
        return next((each.level for each in reversed(self._told.switches) if each.block <= self.blocks), self._rungs[0])

    def _wanted(self, packed_bytes: int, missing_bytes: int, threads: float) -> int:
        seconds = _SHARE * self._seconds_to_send(packed_bytes)
        is_idle = self._fast.of_time >= _LEAST_FAST and self._slow.of_time >= _LEAST_SLOW
        if not seconds or not is_idle or self._rungs[0] not in self._rates:
            return self._rungs[0]
        fitting = (level for level in self._rungs if missing_bytes / (threads * self._rate(level)) <= seconds)
        return max(fitting, default=self._rungs[0])

    def _seconds_to_send(self, packed_bytes: int) -> float:
        """How long the link has something to do; 0 where that is not known."""
        if self._sent is None:
            return 0.0
        now, sent = self._clock(), self._sent()
        if sent >= packed_bytes:
            self._marks.clear()  # how fast it is cannot be seen while it has nothing to do
            return 0.0
        if not self._marks or now - self._marks[-1][0] >= _MARK_SECONDS:
            self._marks.append((now, sent))
        while len(self._marks) > 1 and now - self._marks[1][0] >= _WINDOW_SECONDS:
            self._marks.popleft()
        since, before = self._marks[0]
        if now - since < _LEAST_SECONDS:
            return 0.0
        return (packed_bytes - sent) * (now - since) / max(1, sent - before)

    def _rate(self, level: int) -> float:
        """Bytes a second of one thread, as measured, or guessed from the next faster level that was."""
        if level in self._rates:
            return self._rates[level]
        faster = max(each for each in self._rates if each < level)
        return self._rates[faster] * _COSTS.get(faster, 1.0) / _COSTS[level]


def joined(switches: Sequence[Switch]) -> tuple[Switch, ...]:
    """As they were written down, one process after another: one takes the place of all that begin no earlier."""
    kept: list[Switch] = []
    for each in switches:
        while kept and kept[-1].block >= each.block:
            kept.pop()
        kept.append(each)
    return tuple(kept)
