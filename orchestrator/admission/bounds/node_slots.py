"""Slots for what is read of results: so many at once, and who waits for one is let in node by node.

A node of which much waits holds up itself alone: it never has all slots, and what others have told does not stand
behind what it has.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from shared.errors import StorageUnavailable

WAIT_SECONDS = 1.0
"""A report that waits here takes the place of another; after so long it comes again later."""


class NodeSlots:
    """`at_once` slots, of which one node has three quarters at most; `busy` is what is told where none gets free."""

    def __init__(self, at_once: int, *, busy: str) -> None:
        self._free = at_once
        self._of_one = max(1, at_once * 3 // 4)
        self._busy = busy
        self._held = Counter[str]()
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Each node's line, in the order in which the nodes are let in."""

    @asynccontextmanager
    async def of(self, node: str) -> AsyncIterator[None]:
        """A slot for this node. Raises StorageUnavailable where it gets none within WAIT_SECONDS."""
        if self._may_have(node):
            self._take(node)
        else:
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._turn(node)
            except TimeoutError:
                raise StorageUnavailable(self._busy) from None
        try:
            yield
        finally:
            self._give_back(node)

    async def _turn(self, node: str) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(node, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._leave(node, turn)
            else:  # it came at the same moment
                self._give_back(node)
            raise

    def _leave(self, node: str, turn: asyncio.Future[None]) -> None:
        line = self._waiting.get(node, deque())
        if turn in line:  # or it was passed over
            line.remove(turn)
            if not line:
                del self._waiting[node]

    def _may_have(self, node: str) -> bool:
        return self._free > 0 and self._held[node] < self._of_one

    def _take(self, node: str) -> None:
        self._free -= 1
        self._held[node] += 1

    def _give_back(self, node: str) -> None:
        self._free += 1
        self._held[node] -= 1
        if not self._held[node]:
            del self._held[node]
        while (known := next(filter(self._may_have, self._waiting), None)) is not None:
            line = self._waiting.pop(known)
            turn = line.popleft()
            if line:
                self._waiting[known] = line  # behind the others
            if not turn.cancelled():
                self._take(known)
                turn.set_result(None)

    def __repr__(self) -> str:
        waiting = sum(map(len, self._waiting.values()))
        return f"<NodeSlots, {self._free} free, {waiting} waiting of {len(self._waiting)} nodes>"
