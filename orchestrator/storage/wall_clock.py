"""The wall clock: the one place where the orchestrator reads it, for records."""

import functools
import time
from datetime import UTC, datetime

from orchestrator.storage.steady_clock import SteadyClock


def now_ns() -> int:
    """Nanoseconds since 1970, by a clock that does not follow the machine's where that jumps for some minutes."""
    return _clock().now(time.time_ns(), _running())


def instant(time_ns: int) -> datetime:
    """A time of a record, as users are told it."""
    return datetime.fromtimestamp(time_ns / 1e9, UTC)


@functools.cache
def _clock() -> SteadyClock:
    """One for the process, as there is one clock on its wall."""
    return SteadyClock(time.time_ns(), _running())


def _running() -> int:
    """Goes on while the machine is suspended, and is never set."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
