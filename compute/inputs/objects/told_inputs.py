"""Told inputs: of what a node keeps it tells the orchestrator, so that tasks come to where their inputs are."""

from heapq import nlargest

from compute.inputs.objects.cache import InputCache
from shared.protocol.nodes.inputs import MOST_HELD_INPUTS, held_name

MOST_LARGE = MOST_HELD_INPUTS // 2
REPEATED_AFTER = 6
"""Heartbeats after which it is told again, as one may have been lost."""


class ToldInputs:
    """Of the node's cache. Does not block."""

    def __init__(self, cache: InputCache) -> None:
        self._cache = cache
        self._changes = -1
        self._told: tuple[str, ...] = ()
        self._left = 0
        """Heartbeats before it is told again."""

    def __repr__(self) -> str:
        return f"<ToldInputs, {len(self._told)} of {self._cache!r}>"

    @property
    def has_news(self) -> bool:
        return self._changes not in {-1, self._cache.changes}

    def begin_anew(self) -> None:
        """The orchestrator may be another one."""
        self._left = 0

    def next(self) -> tuple[str, ...] | None:
        """What is kept at present; None where that was told lately."""
        self._left -= 1
        if self._left >= 0 and self._changes == self._cache.changes:
            return None
        self._changes = self._cache.changes
        held = self._held()
        if self._left >= 0 and held == self._told:
            return None
        self._told, self._left = held, REPEATED_AFTER
        return held

    def _held(self) -> tuple[str, ...]:
        large = nlargest(MOST_LARGE, self._cache.large_kept, key=self._cache.large_kept.__getitem__)
        views = list(self._cache.views_kept)[-(MOST_HELD_INPUTS - len(large)) :]
        return tuple(sorted(map(held_name, (*large, *views))))
