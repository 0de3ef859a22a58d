"""Progress of a fetch, in a sentence, and how seldom that is told.

The history of a job is read by people and stored. So the first sentence comes when a fetch takes longer than a moment,
and each pause is longer than the one before.
"""

import time
from collections.abc import Callable

from shared.jobs.quantities import format_bytes

FIRST_SECONDS = 1.0
FIRST_PAUSE_SECONDS = 5.0
PAUSE_FACTOR = 1.15


class FetchProgress:
    """Of `total` inputs of a task, which are `total_bytes` together."""

    def __init__(
        self, total: int, total_bytes: int, tell: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._total_bytes = total_bytes
        self._tell = tell
        self._clock = clock
        self._done = 0
        self._done_bytes = 0
        self._pause_seconds = FIRST_PAUSE_SECONDS
        self._next_at = clock() + FIRST_SECONDS
        self._told = ""

    def __repr__(self) -> str:
        return f"<FetchProgress {self.sentence!r}>"

    @property
    def sentence(self) -> str:
        return f"Fetching inputs: {self._done} of {self._total}, {_of(self._done_bytes, self._total_bytes)}"

    def came(self, size_bytes: int) -> None:
        self._done_bytes += size_bytes
        self._tell_if_due()

    def done(self, count: int = 1) -> None:
        """So many more files."""
        self._done += count
        self._tell_if_due()

    def _tell_if_due(self) -> None:
        now = self._clock()
        if now < self._next_at:
            return
        self._next_at = now + self._pause_seconds
        self._pause_seconds *= PAUSE_FACTOR
        if self.sentence != self._told:
            self._told = self.sentence
            self._tell(self._told)


def _of(done_bytes: int, total_bytes: int) -> str:
    """`1.2 of 4.0 GiB`."""
    total, unit = format_bytes(total_bytes).split()
    scale = {"B": 0, "KiB": 1, "MiB": 2, "GiB": 3, "TiB": 4}.get(unit, 5)
    done = str(done_bytes) if not scale else f"{done_bytes / 1024**scale:.1f}"
    return f"{done} of {total} {unit}"
