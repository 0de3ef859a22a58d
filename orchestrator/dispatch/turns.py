"""Turns of nodes: each has a line of its own for its messages, and the lines take turns.

A node whose messages take long, such as those for which S3 has to be asked, or that sends many, holds up itself alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from shared.ids import NodeId
from shared.messaging.transport import Received
from shared.runtime.aio import begin


class _Line:
    __slots__ = ("in_hand", "size_bytes", "waiting")

    def __init__(self) -> None:
        self.waiting: deque[Received] = deque()
        self.in_hand = 0
        self.size_bytes = 0


class Turns:
    """Calls `act`, which must not raise, for each message in tasks of `group`: `at_once` in all, `of_one` of one node.

    A node's line has `most_waiting` messages and `most_bytes` at most; what more comes is for the caller to turn away.
    """

    def __init__(
        self,
        group: asyncio.TaskGroup,
        act: Callable[[NodeId, Received], Awaitable[None]],
        *,
        at_once: int,
        of_one: int,
        most_waiting: int,
        most_bytes: int,
    ) -> None:
        self._group = group
        self._act = act
        self._at_once = at_once
        self._of_one = of_one
        self._most_waiting = most_waiting
        self._most_bytes = most_bytes
        self._lines: dict[NodeId, _Line] = {}
        self._next: deque[NodeId] = deque()
        """The nodes that have something waiting which may begin."""
        self._in_hand = 0

    def take(self, node: NodeId, message: Received) -> bool:
        """Deal with it when its turn comes; False if this node's line is full."""
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = _Line()
        size = len(message.payload)
        if len(line.waiting) >= self._most_waiting or (line.waiting and line.size_bytes + size > self._most_bytes):
            return False
        line.waiting.append(message)
        line.size_bytes += size
        if len(line.waiting) == 1 and line.in_hand < self._of_one:
            self._next.append(node)
        self._begin()
        return True

    def _begin(self) -> None:
        while self._next and self._in_hand < self._at_once:
            node = self._next.popleft()
            line = self._lines[node]
            message = line.waiting.popleft()
            line.in_hand += 1
            self._in_hand += 1
            if line.waiting and line.in_hand < self._of_one:
                self._next.append(node)
            if not begin(self._group, self._deal_with(node, line, message), name=f"message of {node}"):
                return

    async def _deal_with(self, node: NodeId, line: _Line, message: Received) -> None:
        try:
            await self._act(node, message)
        finally:
            line.in_hand -= 1
            line.size_bytes -= len(message.payload)
            self._in_hand -= 1
            if line.waiting and line.in_hand == self._of_one - 1:
                self._next.append(node)
            elif not line.waiting and not line.in_hand:
                del self._lines[node]
            self._begin()

    def __repr__(self) -> str:
        waiting = sum(len(line.waiting) for line in self._lines.values())
        return f"<Turns, {self._in_hand} in hand and {waiting} waiting of {len(self._lines)} nodes>"
