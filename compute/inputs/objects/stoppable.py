"""Work in a thread that can be stopped: it ends soon once nobody waits for it any more."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from functools import partial
from typing import TypeVar

T = TypeVar("T")

IsUnwanted = Callable[[], bool]


async def stoppable(act: Callable[[IsUnwanted], T], *, pool: Executor | None = None) -> T:
    """Run `act` in a thread. When cancelled it is told, and waited for, so that nothing goes on behind its back."""
    unwanted = threading.Event()
    running = asyncio.get_running_loop().run_in_executor(pool, partial(act, unwanted.is_set))
    cancelled: asyncio.CancelledError | None = None
    while not running.done():
        try:
            await asyncio.wait((running,))
        except asyncio.CancelledError as error:
            cancelled = error
            unwanted.set()
    if cancelled is not None:
        running.exception()  # marks it as retrieved
        raise cancelled
    return running.result()
