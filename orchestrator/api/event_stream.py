"""The event stream of a job: its history and its states as server-sent events, until it ends.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html; the ids are the sequence numbers
of the history, so that a reader that comes back with `Last-Event-ID` gets what it has not seen.
"""

import asyncio
import time

import msgspec
from aiohttp import web

from orchestrator.api.access.use import RequestUse, use_key
from orchestrator.jobs import views
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from shared.jobs.spec import WAITS_FOR, JobView
from shared.jobs.states import JobState
from shared.protocol import rest

KEEP_ALIVE_SECONDS = 15.0
GATHER_SECONDS = 0.005
"""Changes that come this close together are sent together."""
REST_FACTOR = 4.0
"""How much longer than it works for one reader the orchestrator rests, so that the reader of a large job slows none."""
MAX_DIGITS = 18
WRITE_SECONDS = 45.0
"""How long a reader may take for what is sent."""


async def stream_events(request: web.Request, model: Model, entry: JobEntry) -> web.StreamResponse:
    """Send what has happened, then what happens, and end after the job has ended."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    reader = _Reader(response, _last_seen(request), request[use_key])
    with model.news.watch(entry.job.id) as watch:
        while True:
            began = time.monotonic()
            ended = entry.progress.state.is_terminal and views.is_told(entry, model.news.settled)
            news = reader.news(model, entry)
            rest_seconds = max(GATHER_SECONDS, REST_FACTOR * (time.monotonic() - began))
            await reader.send(news)
            if ended:
                return response
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await watch.changed()
                await asyncio.sleep(rest_seconds)
            except TimeoutError:
                await reader.send(b":\n\n")


class _Reader:
    """What one reader has been told."""

    def __init__(self, response: web.StreamResponse, seen: int, use: RequestUse) -> None:
        self._response = response
        self._use = use
        self._seen = seen
        self._state = ("", "", "")

    def news(self, model: Model, entry: JobEntry) -> bytes:
        items = views.history(entry, after=self._seen, up_to=model.news.settled)
        parts = [_event(item.seq_num, rest.EVENT_HISTORY, item) for item in items]
        self._seen = items[-1].seq_num if items else self._seen
        job = views.job_view(model, entry)
        state = _state(job)
        if _is_news(state, self._state) and views.is_told(entry, model.news.settled):  # after an end nobody reads on
            self._state = state
            parts.append(_event(self._seen, rest.EVENT_JOB, job))
        return b"".join(parts)

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError for a reader that went away, or does not read."""
        if not data:
            return
        await self._use.stream(len(data))
        try:
            async with asyncio.timeout(WRITE_SECONDS):
                await self._response.write(data)
        except TimeoutError:
            raise ConnectionAbortedError("The reader of events does not read.") from None


def _last_seen(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else 0


def _state(job: JobView) -> tuple[str, str, str]:
    return job.state.state_type, job.state.message, job.state.details.get(WAITS_FOR, "")


def _is_news(now: tuple[str, str, str], before: tuple[str, str, str]) -> bool:
    """That for a moment nothing waits, as whenever a part is placed, is not worth telling a whole job."""
    return now != before and (now[0] != JobState.RUNNING or now[:2] != before[:2] or bool(now[2]))


def _event(number: int, kind: str, data: msgspec.Struct) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), msgspec.json.encode(data))
