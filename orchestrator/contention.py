"""How many who change the same thing at once take turns, instead of all trying again whenever one of them was quicker.

Only within this process; between orchestrators the revisions of records decide, and who has lost several times waits
for a moment, so that not always the same one loses.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

PATIENCE_SECONDS = 5.0


FIRST_SECONDS, LAST_SECONDS = 0.001, 0.25


async def stand_back(lost: int) -> None:
    """Let others go first who want the same, after having lost so many times."""
    await asyncio.sleep(random.uniform(0.0, min(LAST_SECONDS, FIRST_SECONDS * 2**lost)))  # noqa: S311  # spreads only


class _Queue:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.wanted = 0


async def _patiently(lock: asyncio.Lock) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await lock.acquire()
    return False


class Contention:
    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    @asynccontextmanager
    async def over(self, thing: Hashable) -> AsyncIterator[None]:
        """Nobody else is in this context with the same thing, unless one waits for too long."""
        queue = self._queues.setdefault(thing, _Queue())
        queue.wanted += 1
        is_ours = False
        try:
            is_ours = await (_patiently(queue.lock) if queue.wanted > 1 else queue.lock.acquire())
            yield
        finally:
            if is_ours:
                queue.lock.release()
            queue.wanted -= 1
            if not queue.wanted:
                del self._queues[thing]

    def __repr__(self) -> str:
        return f"<Contention over {len(self._queues)}>"
