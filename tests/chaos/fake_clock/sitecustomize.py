"""What every Python process with a wrong clock does first: it sleeps by select().

libfaketime up to 0.9.10 answers clock_nanosleep() until an absolute time, which is what time.sleep() calls, with EINVAL
where monotonic clocks are left alone.
"""

import select
import time
from typing import SupportsIndex


def _sleep(seconds: float | SupportsIndex) -> None:
    seconds = seconds if isinstance(seconds, float) else seconds.__index__()
    if seconds < 0:
        raise ValueError("sleep length must be non-negative")
    select.select([], [], [], seconds)


time.sleep = _sleep
