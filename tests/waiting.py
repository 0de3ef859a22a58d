"""How a test waits for a fact that comes about elsewhere (no tests in here)."""

import asyncio
import time
from collections.abc import Callable

POLL_SECONDS = 0.01


async def eventually(is_so: Callable[[], object], *, within: float = 10.0, what: str = "") -> None:
    """Return as soon as `is_so()` is true; fail the test, naming `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or is_so}"
        await asyncio.sleep(POLL_SECONDS)
