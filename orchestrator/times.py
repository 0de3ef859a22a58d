"""What time it is, for records: the one place where the orchestrator reads the wall clock."""

import time


def now_ns() -> int:
    """Nanoseconds since 1970."""
    return time.time_ns()
