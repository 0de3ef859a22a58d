"""How many who change the same thing at once take turns, instead of all trying again whenever one of them was quicker.

Only within this process; between orchestrators the revisions of records decide, and who has lost several times waits
for a moment, so that not always the same one loses.
"""

import asyncio
import contextlib
import random
from collections.abc import Hashable

PATIENCE_SECONDS = 5.0


FIRST_SECONDS, LAST_SECONDS = 0.001, 0.25


async def stand_back(lost: int) -> None:
    """Let others go first who want the same, after having lost so many times."""
    await asyncio.sleep(random.uniform(0.0, min(LAST_SECONDS, FIRST_SECONDS * 2**lost)))  # noqa: S311  # spreads only


class _Queue:
    """`lock` is made by the first who has to wait: mostly nobody does."""

    __slots__ = ("lock", "wanted")

    def __init__(self) -> None:
        self.lock: asyncio.Lock | None = None
        self.wanted = 1


async def _patiently(lock: asyncio.Lock) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await lock.acquire()
    return False


class _Turn:
    """A plain context, as each submit goes through one."""

    __slots__ = ("_is_ours", "_queues", "_thing")

    def __init__(self, queues: dict[Hashable, _Queue], thing: Hashable) -> None:
        self._queues = queues
        self._thing = thing
        self._is_ours = False

    async def __aenter__(self) -> None:
        queue = self._queues.get(self._thing)
        if queue is None:
            self._queues[self._thing] = _Queue()
            self._is_ours = True
            return
        queue.wanted += 1
        try:
            if queue.lock is None:
                queue.lock = asyncio.Lock()
                await queue.lock.acquire()  # at once, for who is in here
            self._is_ours = await _patiently(queue.lock)
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._leave()

    def _leave(self) -> None:
        queue = self._queues[self._thing]
        if self._is_ours and queue.lock is not None:
            queue.lock.release()
        queue.wanted -= 1
        if not queue.wanted:
            del self._queues[self._thing]


class Contention:
    def __init__(self) -> None:
        self._queues: dict[Hashable, _Queue] = {}

    def over(self, thing: Hashable) -> _Turn:
        """Nobody else is in this context with the same thing, unless one waits for too long."""
        return _Turn(self._queues, thing)

    def __repr__(self) -> str:
        return f"<Contention over {len(self._queues)}>"
