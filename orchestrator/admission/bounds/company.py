"""Company: whether somebody has something to itself, or others do the same at the time."""

import time
from collections.abc import Callable

BESIDE_SECONDS = 2.0
"""For so long after another one did the same somebody is not alone."""
CHANGE_COST = 5
"""A change counts as so many requests beside others who make some: the work of a job comes after the answer to it."""


class Company:
    """`clock` gives monotonic seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._last, self._last_other = ("", 0.0), ("", 0.0)
        """Who has done it last, and who of all others, and when."""

    def note(self, who: str) -> None:
        """This one has done it once more."""
        if self._last[0] not in {who, ""}:
            self._last_other = self._last
        self._last = (who, self._clock())

    def has_others(self, who: str) -> bool:
        other, at = self._last if self._last[0] != who else self._last_other
        return bool(other) and self._clock() - at < BESIDE_SECONDS

    def __repr__(self) -> str:
        return f"<Company of {self._last[0] or 'nobody'}>"
