"""The meter of one upload: bytes of the task's output that S3 has or that are on their way.

It is looked at when somebody asks, and counts nothing while bytes travel but what is there anyway.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

TOLD_AFTER_SECONDS = 2.0
"""What goes quicker is over before anybody reads of it."""
PACE_SECONDS = 10.0


Packed = Callable[[], tuple[int, int]]


class Body(Protocol):
    """On its way."""

    sent_bytes: int


class HowFar(NamedTuple):
    """`total_bytes` is 0 where it is not known."""

    done_bytes: int
    total_bytes: int
    bytes_per_second: int


class UploadMeter:
    """Of an archive that is packed while it is sent: what is sent of it stands for its share of what was packed."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.total_bytes = 0
        self._clock = clock
        self._packed: Packed | None = None
        self._stored_bytes = 0
        self._bodies: set[Body] = set()
        self._begun = 0.0
        self._marks: deque[tuple[float, int]] = deque()

    def __repr__(self) -> str:
        return f"<UploadMeter, {self.sent_bytes} bytes sent>"

    def begin(self, packed: Packed, total_bytes: int = 0) -> None:
        """Also anew. `packed` gives how many bytes of output have become how many bytes of the archive so far."""
        self._packed, self.total_bytes, self._stored_bytes = packed, total_bytes, 0
        self._begun = self._clock()
        self._marks.clear()

    def stored(self, size_bytes: int) -> None:
        self._stored_bytes += size_bytes

    @contextmanager
    def sending(self, body: Body) -> Iterator[None]:
        self._bodies.add(body)
        try:
            yield
        finally:
            self._bodies.discard(body)

    @property
    def is_long(self) -> bool:
        """Whether it has gone on for so long that it is worth telling."""
        return self._packed is not None and self._clock() - self._begun >= TOLD_AFTER_SECONDS

    def progress(self) -> tuple[int, int] | None:
        """The bytes that are done, and all; None while it is not worth telling. It does not count as told by this."""
        return self._progress(self._packed) if self._packed is not None and self.is_long else None

    def how_far(self) -> HowFar | None:
        """None while it is not worth telling. The rate is that since a while ago, by what was told then."""
        if self._packed is None or not self.is_long:
            return None
        done, total = self._progress(self._packed)
        now = self._clock()
        self._marks.append((now, done))
        while len(self._marks) > 2 and now - self._marks[1][0] >= PACE_SECONDS:
            self._marks.popleft()
        return HowFar(done, total, self._rate(now, done))

    def _progress(self, packed: Packed) -> tuple[int, int]:
        raw_bytes, packed_bytes = packed()
        share = min(1.0, self.sent_bytes / packed_bytes) if packed_bytes else 0.0
        done = int(raw_bytes * share)
        return done, max(self.total_bytes, done) if self.total_bytes else 0

    @property
    def sent_bytes(self) -> int:
        """Of the archive. May be asked by any thread."""
        return self._stored_bytes + sum(body.sent_bytes for body in tuple(self._bodies))

    def _rate(self, now: float, done: int) -> int:
        then, before = self._marks[0] if len(self._marks) > 1 else (self._begun, 0)
        return int(max(0, done - before) / (now - then)) if now > then else 0
