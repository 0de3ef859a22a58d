"""Spent ids: sessions that were signed out of and links that were used, until they would have expired."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from orchestrator.state.by_instant import ByInstant


class Spent:
    def __init__(self) -> None:
        self._expires: ByInstant[str] = ByInstant()
        self._held: dict[str, set[asyncio.Event]] = {}

    def put(self, id_: str, expires: int) -> None:
        self._expires.put(id_, expires)
        for event in self._held.get(id_, ()):
            event.set()

    def drop(self, id_: str) -> None:
        self._expires.drop(id_)

    def over(self, now: int, *, most: int) -> list[str]:
        """Some that have expired by now, which is nanoseconds since 1970, the oldest first."""
        return self._expires.until(now)[:most]

    @contextmanager
    def held(self, id_: str) -> Iterator[asyncio.Event]:
        """What is set when it is spent."""
        event = asyncio.Event()
        self._held.setdefault(id_, set()).add(event)
        try:
            yield event
        finally:
            self._held[id_].discard(event)
            if not self._held[id_]:
                del self._held[id_]

    def __contains__(self, id_: str) -> bool:
        return self._expires.instant_of(id_) is not None

    def __len__(self) -> int:
        return len(self._expires)

    def __repr__(self) -> str:
        return f"<Spent, {len(self)} of them>"
