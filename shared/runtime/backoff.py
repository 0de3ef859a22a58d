"""Back-off: how long to wait before something that failed is tried again."""

import asyncio
import random


class Backoff:
    """Pauses whose upper bound doubles up to `longest_seconds`, each drawn evenly from below it.

    `spread` is the share of the bound that is drawn from, so that what failed together does not come back together: all
    of it (full jitter), or nothing where nobody else waits for the same.
    """

    __slots__ = ("_bound_seconds", "_first_seconds", "_longest_seconds", "_spread")

    def __init__(self, first_seconds: float, longest_seconds: float, *, spread: float = 1.0) -> None:
        self._first_seconds = first_seconds
        self._longest_seconds = longest_seconds
        self._spread = spread
        self._bound_seconds = first_seconds

    def __repr__(self) -> str:
        return f"<Backoff below {self._bound_seconds} s>"

    def next_seconds(self, *, at_least: float = 0.0) -> float:
        share = random.uniform(1.0 - self._spread, 1.0)  # noqa: S311  # spreads load only
        pause = max(at_least, share * self._bound_seconds)
        self._bound_seconds = min(self._longest_seconds, self._bound_seconds * 2)
        return pause

    def reset(self) -> None:
        """What was tried has succeeded."""
        self._bound_seconds = self._first_seconds

    async def pause(self, *, at_least: float = 0.0) -> None:
        await asyncio.sleep(self.next_seconds(at_least=at_least))
