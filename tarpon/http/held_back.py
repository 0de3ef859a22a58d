"""What a client does that is told to wait: it waits, and asks again, within a bound."""

import asyncio
import random

from shared.errors import RemoteError

LEAST_SECONDS, LONGEST_SECONDS = 0.1, 30.0
"""Of one wait, whatever an orchestrator says."""
IN_ALL_SECONDS = 120.0
"""Of the waits for one answer. Then the orchestrator's own words are told."""
SPREAD = 0.25
"""So much longer some wait, so that not all ask again at once."""


class HeldBackWaits:
    """The waits for one answer."""

    __slots__ = ("_left_seconds",)

    def __init__(self) -> None:
        self._left_seconds = IN_ALL_SECONDS

    async def after(self, error: RemoteError) -> bool:
        """Whether to ask again now; else it is something else, or has been waited for long enough."""
        if error.status != RemoteError.TOO_MUCH:
            return False
        pause = min(LONGEST_SECONDS, max(LEAST_SECONDS, error.wait_seconds))
        pause *= random.uniform(1.0, 1.0 + SPREAD)  # noqa: S311  # spreads load only
        if pause > self._left_seconds:
            return False
        self._left_seconds -= pause
        await asyncio.sleep(pause)
        return True

    def __repr__(self) -> str:
        return f"<HeldBackWaits, {self._left_seconds:.0f} s left>"
