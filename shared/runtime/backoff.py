"""How long to wait before something that failed is tried again."""

import asyncio
import random


class Backoff:
    """Pauses whose upper bound doubles up to `longest_seconds`, each drawn evenly from below it (full jitter)."""

    def __init__(self, first_seconds: float, longest_seconds: float) -> None:
        self._bound_seconds = first_seconds
        self._longest_seconds = longest_seconds

    def __repr__(self) -> str:
        return f"<Backoff below {self._bound_seconds} s>"

    def next_seconds(self, *, at_least: float = 0.0) -> float:
        pause = max(at_least, random.uniform(0.0, self._bound_seconds))  # noqa: S311  # spreads load only
        self._bound_seconds = min(self._longest_seconds, self._bound_seconds * 2)
        return pause

    async def pause(self, *, at_least: float = 0.0) -> None:
        await asyncio.sleep(self.next_seconds(at_least=at_least))
