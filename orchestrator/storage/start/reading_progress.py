"""Progress of reading what is stored, for whoever waits at a start: in the log, and in what `/readyz` answers."""

import logging
import time
from collections.abc import Callable

_log = logging.getLogger(__name__)

TOLD_EVERY_SECONDS = 5.0


class ReadingProgress:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._read = self._pending = 0
        self._begun_at = self._told_at = clock()

    def note(self, pending: int) -> None:
        """One more record was read, and so many are still to come."""
        self._read += 1
        self._pending = pending
        if not self._read % 1024:
            self._tell()

    def _tell(self) -> None:
        now = self._clock()
        if now - self._told_at >= TOLD_EVERY_SECONDS:
            self._told_at = now
            left = (now - self._begun_at) * self._pending / self._read
            _log.info("%s About %.0f s are left.", self.text, left)

    @property
    def text(self) -> str:
        """How far it is; empty where nothing was read yet."""
        if not self._read:
            return ""
        return f"{self._read:,} of {self._read + self._pending:,} stored records are read."

    def __repr__(self) -> str:
        return f"<ReadingProgress: {self._read} read, {self._pending} pending>"
