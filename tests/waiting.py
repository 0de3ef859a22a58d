"""How a test waits for a fact that comes about elsewhere (no tests in here)."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

POLL_SECONDS = 0.01

A = TypeVar("A")


async def eventually(is_so: Callable[[], object], *, within: float = 10.0, what: str = "") -> None:
    """Return as soon as `is_so()` is true; fail the test, naming `what`, after `within` seconds."""
    deadline = time.monotonic() + within
    while not is_so():
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or is_so}"
        await asyncio.sleep(POLL_SECONDS)


async def answered(
    ask: Callable[[], Awaitable[A]], is_so: Callable[[A], object] = bool, *, within: float = 10.0, what: str = ""
) -> A:
    """The first answer of which `is_so` is true; fail the test, with the last one, after `within` seconds."""
    deadline = time.monotonic() + within
    while not is_so(answer := await ask()):
        assert time.monotonic() < deadline, f"not within {within:g} s: {what or is_so}, but {answer!r}"
        await asyncio.sleep(POLL_SECONDS)
    return answer
