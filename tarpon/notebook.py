"""Jobs in a notebook, shown as they go on: `tarpon.notebook.show(client, job)`.

Jobs, lists of them and fetched results show themselves as tables. IPython is not needed: where none runs in a notebook,
`show` waits and shows nothing.
"""

import sys
import time
from collections import deque
from collections.abc import Coroutine
from typing import Any, overload

from shared.data.markup import table
from shared.jobs.markup import job_rows
from shared.jobs.spec import JobView
from shared.protocol.rest import HistoryItem
from tarpon.blocking.client import SyncClient
from tarpon.client import Client
from tarpon.http.watching import Progress

LAST_EVENTS = 8
ALWAYS_DRAWN = 100
"""So many changes are drawn at once; of those that follow, as many as PAUSE_SECONDS lets."""
PAUSE_SECONDS = 0.2


@overload
def show(client: SyncClient, job: str, *, namespace: str = "") -> JobView: ...
@overload
def show(client: Client, job: str, *, namespace: str = "") -> Coroutine[Any, Any, JobView]: ...
def show(client: SyncClient | Client, job: str, *, namespace: str = "") -> JobView | Coroutine[Any, Any, JobView]:
    """Show a job below the cell, with the last of its history, until it has ended, and give it then.

    With a `Client` it is awaited. An interruption of the cell ends it; the job goes on. Raises what a watch raises.
    """
    if isinstance(client, Client):
        return _show_awaited(client, job, namespace)
    display = LiveDisplay(job)
    try:
        for event in client.watch(job, namespace=namespace):
            display.take(event)
        ended = client.get(job, namespace=namespace)
        display.take(ended)
    finally:
        display.draw()
    return ended


async def _show_awaited(client: Client, job: str, namespace: str) -> JobView:
    display = LiveDisplay(job)
    try:
        async for event in client.watch(job, namespace=namespace):
            display.take(event)
        ended = await client.get(job, namespace=namespace)
        display.take(ended)
    finally:
        display.draw()
    return ended


class LiveDisplay:
    """What is shown of a job, and where. Each change replaces what was drawn before it."""

    def __init__(self, job: str) -> None:
        self._asked = job
        self._job: JobView | None = None
        self._events: deque[HistoryItem] = deque(maxlen=LAST_EVENTS)
        self._drawn = 0
        self._drawn_at = 0.0
        self._shown = _handle(self)

    def __repr__(self) -> str:
        return f"<job {self._asked}, {self._job.state.state_type if self._job else 'not seen yet'}>"

    def take(self, event: Progress) -> None:
        if isinstance(event, JobView):
            self._job = event
        else:
            self._events.append(event)
        if self._drawn < ALWAYS_DRAWN or time.monotonic() - self._drawn_at >= PAUSE_SECONDS:
            self.draw()

    def draw(self) -> None:
        self._drawn, self._drawn_at = self._drawn + 1, time.monotonic()
        if self._shown is not None:
            self._shown.update(self)

    def _repr_html_(self) -> str:
        rows = job_rows(self._job) if self._job is not None else [("Job", self._asked)]
        events = [(f"{item.time:%H:%M:%S}", item.event.topic, item.event.message) for item in self._events]
        return table(rows) + (table(events, heading=("Time", "Topic", "Event")) if events else "")


def _handle(shown: object) -> Any:
    """Of a display that can be changed; None outside of notebooks."""
    interactive = sys.modules.get("IPython")
    shell = interactive.get_ipython() if interactive is not None else None
    if getattr(shell, "kernel", None) is None:  # a terminal would get each change as a line of its own
        return None
    from IPython.display import display  # it is there

    return display(shown, display_id=True)
