"""Standstills of this process, as when it is stopped, or its machine sleeps.

What it was asked before may be old: who asked has asked another orchestrator meanwhile, and what came of that may have
been removed again, so long ago that no mark tells of it any more. To store it now would bring it back.
"""

import asyncio
import logging
import math
import time
from collections.abc import Callable

from shared.errors import MessagingUnavailable

_log = logging.getLogger(__name__)

LOOK_SECONDS = 0.5
LEAST_SECONDS = 3.0
"""A busy machine may hold a process up for nearly so long."""
REFUSES_SECONDS = 10.0
"""So long nothing new is stored after it: whatever was under way has been given up by then."""


def _running() -> float:
    """Goes on while the machine is suspended, and is never set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Standstill:
    """What counts is one that lasts for half as long as marks of removed records do. `run` has to run all the time."""

    def __init__(self, mark_seconds: float, *, clock: Callable[[], float] = _running) -> None:
        self._longest = max(LEAST_SECONDS, mark_seconds / 2)
        self._clock = clock
        self._looked_at = clock()
        self._refuses_until = -math.inf

    async def run(self) -> None:
        """Until cancelled."""
        self._looked_at = self._clock()
        while True:
            self._look()
            await asyncio.sleep(LOOK_SECONDS)

    def check(self) -> None:
        """Raise MessagingUnavailable for a while after a standstill."""
        self._look()
        if self._clock() < self._refuses_until:
            raise MessagingUnavailable(
                "This orchestrator stood still until just now, and takes nothing new yet.",
                hint="What it was asked before may be old. Try again in some seconds.",
            )

    def _look(self) -> None:
        now = self._clock()
        seconds, self._looked_at = now - self._looked_at, now
        if seconds > self._longest:
            self._refuses_until = now + REFUSES_SECONDS
            _log.warning(
                "This process stood still for %.0f s. It takes nothing new for %.0f s.", seconds, REFUSES_SECONDS
            )

    def __repr__(self) -> str:
        return f"<Standstill, of more than {self._longest:g} s>"
