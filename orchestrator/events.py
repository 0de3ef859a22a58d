"""How users watch a job: its history and its states as server-sent events, until it ends.

The format is that of https://html.spec.whatwg.org/multipage/server-sent-events.html; the ids are the sequence numbers
of the history, so that a reader that comes back with `Last-Event-ID` gets what it has not seen.
"""

import asyncio

import msgspec
from aiohttp import web

from orchestrator import views
from orchestrator.model import JobEntry, Model
from shared import rest
from shared.jobspec import JobView

KEEP_ALIVE_SECONDS = 15.0
GATHER_SECONDS = 0.02
"""Changes that come this close together are sent together."""


async def stream_events(request: web.Request, model: Model, entry: JobEntry) -> web.StreamResponse:
    """Send what has happened, then what happens, and end after the job has ended."""
    response = web.StreamResponse(
        headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
    await response.prepare(request)
    seen = _last_seen(request)
    state = ""
    with model.watch(entry.job.id) as watch:
        while True:
            job = views.job_view(model, entry)
            items = views.history(entry)
            for item in items[seen:]:
                await response.write(_event(item.seq_num, rest.EVENT_HISTORY, item))
            seen = max(seen, len(items))
            if _state(job) != state:
                state = _state(job)
                await response.write(_event(seen, rest.EVENT_JOB, job))
            if entry.progress.state.is_terminal:
                break
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    await watch.changed()
                await asyncio.sleep(GATHER_SECONDS)
            except TimeoutError:
                await response.write(b":\n\n")
    await response.write_eof()
    return response


def _last_seen(request: web.Request) -> int:
    text = request.headers.get("Last-Event-ID", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0


def _state(job: JobView) -> str:
    return f"{job.state.state_type} {job.state.message}"


def _event(number: int, kind: str, data: msgspec.Struct) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (number, kind.encode(), msgspec.json.encode(data))
