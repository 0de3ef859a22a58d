"""Outages, told once each to a person whose command waits for a job: when nobody answers, and when somebody does."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from shared.data.plain_text import one_line
from shared.runtime.aio import background
from tarpon.client import Client
from tarpon.http.calls import Absence

TOLD_AFTER_SECONDS = 2.0
"""An orchestrator that is started again at once is not worth a line."""
_LOOK_SECONDS = 0.25


@asynccontextmanager
async def outages_told(client: Client, tell: Callable[[str], None]) -> AsyncIterator[None]:
    """While the body waits for an orchestrator, however often it asks. `tell` writes a line of its own on stderr."""
    outages = Outages(tell)

    async def looking() -> None:
        while True:
            outages.look(client.absence())
            await asyncio.sleep(_LOOK_SECONDS)

    try:
        async with background(outages=looking()):
            yield
    finally:
        outages.look(client.absence())


class Outages:
    """Tells the beginning and the end of each."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._is_told = False

    def __repr__(self) -> str:
        return f"<Outages, {'one' if self._is_told else 'none'} at present>"

    def look(self, absence: Absence | None) -> None:
        if absence is None:
            if self._is_told:
                self._tell("The orchestrator answers again.")
            self._is_told = False
        elif not self._is_told and absence.seconds >= TOLD_AFTER_SECONDS:
            self._is_told = True
            self._tell(
                f"Warning: No orchestrator answers at {absence.told}: {one_line(absence.why)}."
                " Waiting for it; the job goes on meanwhile."
            )
