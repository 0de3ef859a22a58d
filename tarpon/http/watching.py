"""Watching of a job's progress, also over an orchestrator's restart."""

import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import TypeVar

import aiohttp
import msgspec

from shared.errors import Conflict, IsSchedule, OrchestratorUnreachable, RemoteError
from shared.jobs.spec import JobView
from shared.jobs.states import JobState
from shared.protocol.rest import EVENT_HISTORY, EVENT_JOB, HistoryItem
from shared.runtime.network_problems import why_unreachable
from tarpon.http.calls import CONNECT_SECONDS, Calls, NotAnOrchestrator, new_pauses, refusal
from tarpon.http.held_back import HeldBackWaits

SILENCE_SECONDS = 45.0
"""The server sends a comment every 15 s; after three that are missing the connection counts as dead."""
MAX_LINE_BYTES = 4 << 20

T = TypeVar("T")

_ENDS = frozenset(state.value for state in JobState if state.is_terminal)
_BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)

Progress = HistoryItem | JobView


class JobNotEnded(Conflict):
    """What was asked for is there when the job has ended."""

    def __init__(self, message: str, job: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint or f"`tarpon job describe {job}` shows how it is doing.")


class ServerSentEvent(msgspec.Struct, frozen=True):
    """One event of a stream, as the HTML standard describes it (server-sent events)."""

    kind: str = ""
    data: str = ""
    id: str = ""


def is_over(job: JobView) -> bool:
    return job.state.state_type in _ENDS


def runs_of(schedule: JobView) -> str:
    return f"`tarpon job list -l tarpon.schedule={schedule.name}` lists them."


def refuse_endless(job: str, view: JobView) -> None:
    """Raise IsSchedule where a wait for the job's end would last until somebody stops it."""
    if view.schedule_status and not is_over(view):
        raise IsSchedule(f"Job {job} is a schedule, and has no end: its runs have.", hint=runs_of(view))


async def watch(calls: Calls, path: str, query: dict[str, str], *, patience: float) -> AsyncGenerator[Progress, None]:
    """History items as they happen and the job whenever its state changes; ends after a terminal state.

    Raises OrchestratorUnreachable when there never was one, or when it stays away for `patience` seconds.
    """
    last_id = why = ""
    pauses = new_pauses(longest_seconds=3.0)
    seen_at, waits = time.monotonic(), HeldBackWaits()
    while True:
        url = calls.url
        try:
            async with aclosing(_events(calls, path, query, last_id)) as events:
                async for event in events:
                    seen_at, waits = time.monotonic(), HeldBackWaits()
                    calls.answered()
                    if event is None:
                        continue
                    pauses.reset()
                    last_id = event.id or last_id
                    progress = _decoded(event, calls.url)
                    if progress is not None:
                        yield progress
                    if isinstance(progress, JobView) and is_over(progress):
                        return
        except _BROKEN as error:
            calls.missed(why := why_unreachable(error))
            if not calls.turn(url):
                raise OrchestratorUnreachable(calls.told, why) from error
        except (RemoteError, NotAnOrchestrator) as error:
            if isinstance(error, RemoteError) and await waits.after(error):
                continue
            if not _may_pass(error, calls):
                raise
            calls.missed(why := _not_ready(error))
            calls.turn(url)
        if time.monotonic() - seen_at > patience:
            raise OrchestratorUnreachable(calls.told, why)
        await pauses.pause()


async def patiently(calls: Calls, ask: Callable[[], Awaitable[T]], *, patience: float) -> T:
    """What `ask` gives, asked again while an orchestrator that has answered once is away, for `patience` seconds."""
    began, pauses = time.monotonic(), new_pauses(longest_seconds=3.0)
    while True:
        try:
            return await ask()
        except (OrchestratorUnreachable, RemoteError, NotAnOrchestrator) as error:
            if not _may_pass(error, calls) or not calls.reached or time.monotonic() - began > patience:
                raise
            if not isinstance(error, OrchestratorUnreachable):
                calls.missed(_not_ready(error))
        await pauses.pause()


def _may_pass(error: OrchestratorUnreachable | RemoteError | NotAnOrchestrator, calls: Calls) -> bool:
    """Whether an orchestrator, or a proxy before one that has answered through it, is only away for a while."""
    match error:
        case RemoteError():
            return error.status >= 500
        case NotAnOrchestrator():
            return error.is_of_proxy and calls.reached
        case _:
            return True


def _not_ready(error: RemoteError | NotAnOrchestrator) -> str:
    """Why nobody answers, as shared/runtime/network_problems.py has it."""
    if isinstance(error, NotAnOrchestrator):
        return f"something else answers in its place (HTTP status {error.status})"
    return f"it is not ready ({error.message.rstrip('.')})"


def _decoded(event: ServerSentEvent, url: str) -> Progress | None:
    """None for an event of a kind that this program does not know."""
    try:
        if event.kind == EVENT_HISTORY:
            return msgspec.json.decode(event.data, type=HistoryItem)
        if event.kind == EVENT_JOB:
            return msgspec.json.decode(event.data, type=JobView)
    except msgspec.DecodeError as error:
        raise NotAnOrchestrator(url, 200) from error
    return None


async def _events(
    calls: Calls, path: str, query: dict[str, str], last_id: str
) -> AsyncGenerator[ServerSentEvent | None, None]:
    """The events of one connection, and None for every other sign of life."""
    headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    await calls.fresh()
    asked = calls.asking(calls.url, "GET", path, query=query)
    async with calls.session.get(
        asked.url, headers=headers | asked.headers, timeout=limits, read_bufsize=MAX_LINE_BYTES
    ) as response:
        asked.check(response.headers, response.status)
        if response.status >= 400:
            raise refusal(calls.url, response.status, await response.read())
        calls.answered()
        yield None
        fields = _Fields()
        async for line in response.content:
            yield fields.take(line.decode("utf-8", errors="replace").rstrip("\r\n"))


class _Fields:
    """Collects the lines of one event until the empty line that ends it."""

    def __init__(self) -> None:
        self._event = ServerSentEvent()

    def take(self, line: str) -> ServerSentEvent | None:
        """The event that this line ends, if it ends one."""
        if line:
            self._event = _with_line(self._event, line)
            return None
        event, self._event = self._event, ServerSentEvent()
        return event if event.data else None


def _with_line(event: ServerSentEvent, line: str) -> ServerSentEvent:
    name, _, value = line.partition(":")
    value = value.removeprefix(" ")
    match name:
        case "event":
            return msgspec.structs.replace(event, kind=value)
        case "id":
            return msgspec.structs.replace(event, id=value)
        case "data":
            return msgspec.structs.replace(event, data=f"{event.data}\n{value}" if event.data else value)
        case _:  # a comment, which keeps the connection alive, or a field that we do not use
            return event
