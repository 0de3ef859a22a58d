"""Contention: who change the same thing at once take turns, instead of all trying again after each loss.

Only within this process; between orchestrators the revisions of records decide, and who has lost waits for a moment
before it tries again. How often one may lose is no measure: each loss is another's success, so that of many on a busy
machine some lose often though all are served in a second. Who loses for too long hears so.
"""

import asyncio
import contextlib
import time
from collections.abc import Hashable

from shared.errors import RevisionConflict
from shared.runtime.backoff import Backoff

PATIENCE_SECONDS = 5.0
"""How long one waits for its turn; then it tries out of turn."""
LOSING_SECONDS = 10.0
"""How long one goes on that loses; less than any client waits for an answer."""
FIRST_SECONDS, LAST_SECONDS = 0.001, 0.1


class Losses:
    """How often somebody else was quicker with the same record."""

    __slots__ = ("_count", "_pauses", "_until")

    def __init__(self) -> None:
        self._count = 0
        self._pauses: Backoff | None = None
        self._until = 0.0

    async def stand_back(self, conflict: RevisionConflict) -> None:
        """Let others go first; what is known by then has to be read again. Raises the conflict after a while."""
        now = time.monotonic()
        if self._pauses is None:
            self._pauses, self._until = Backoff(FIRST_SECONDS, LAST_SECONDS), now + LOSING_SECONDS
        elif now >= self._until:
            raise conflict
        self._count += 1
        await self._pauses.pause()

    def __repr__(self) -> str:
        return f"<Losses, {self._count}>"


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
