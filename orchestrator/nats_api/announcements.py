"""Announcements over NATS: each new line of a job's history and each of its states, as events.

The leader tells them, once each, to whoever listens at the moment. Nothing is stored for it: all of it follows from
the records, and who comes late or has missed something asks for the history after the last number that it has.
"""

import asyncio
import logging
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from orchestrator.jobs import views
from orchestrator.state.model import JobEntry, Model
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable
from shared.ids import JobId
from shared.jobs.spec import StateView
from shared.messaging.transport import Connection
from shared.protocol import subjects

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()

GATHER_SECONDS = 0.002
"""Changes of a job that follow each other this closely are told together, after the first."""
AT_ONCE_BYTES = 64 * 1024
"""Events of so many bytes are sent together."""
QUIET_SECONDS = 600.0
"""How long after its end what changes in a job that is not remembered is taken for news."""
REMEMBERED = 100_000
"""Of how many jobs, those that changed last, it is known what has been told; another is told from the beginning."""

Event = tuple[str, bytes]
"""Its subject, and what it says."""


class Announcements:
    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model
        self._told: dict[JobId, tuple[int, str]] = {}

    async def run(self) -> None:
        """Tell what changes from now on, until cancelled."""
        self._told = {
            job: (self._last_number(entry), _state(entry, self._stands(entry)))
            for job, entry in self._model.jobs.live.items()
            if not entry.progress.state.is_terminal
        }
        with self._model.news.following() as following:
            while True:
                changed = await following.next()
                for events in _batches(event for job in changed for event in self._events(job)):
                    await self._publish(events)
                await asyncio.sleep(GATHER_SECONDS)

    def _is_news(self, job: JobId, entry: JobEntry) -> bool:
        """What is cleared away after a job that ended long ago tells nobody anything; all of it was told before."""
        if entry.job.removal is not None:
            return False
        ended_at = None if job in self._told else self._model.endings.ended_at(job)
        return ended_at is None or now_ns() - ended_at <= QUIET_SECONDS * 1e9

    def _events(self, job: JobId) -> Iterator[Event]:
        """What there is to tell about a job, which counts as told."""
        entry = self._model.jobs.get(job)
        if entry is None:
            self._told.pop(job, None)
            return
        if not self._is_news(job, entry):
            return
        told, state = self._told.get(job, (0, ""))
        settled = self._model.news.settled
        items, stands = views.announced(entry, after=told, up_to=settled), self._stands(entry)
        now = _state(entry, stands) if views.is_told(entry, settled) else state  # an end is told after what led to it
        self._told.pop(job, None)
        self._told[job] = items[-1].seq_num if items else told, now
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]
        if items:
            subject = subjects.event(entry.namespace, job, "history")
            for item in items:
                yield subject, _encoder.encode(item)
        if now != state:
            view = views.job_view(self._model, entry, stands)
            yield subjects.event(entry.namespace, job, "state"), _encoder.encode(view)

    async def _publish(self, events: Sequence[Event]) -> None:
        try:
            await self._connection.publish_all(events)
        except MessagingUnavailable as error:
            _log.debug("%d events are not told: %s", len(events), error)

    def _last_number(self, entry: JobEntry) -> int:
        items = views.history(entry, up_to=self._model.news.settled)
        return items[-1].seq_num if items else 0

    def _stands(self, entry: JobEntry) -> StateView:
        return views.job_state(entry, self._model.backlog.reasons.get(entry.id, ""))

    def __repr__(self) -> str:
        return f"<Announcements about {len(self._told)} jobs>"


def _batches(events: Iterable[Event]) -> Iterator[list[Event]]:
    batch, size_bytes = list[Event](), 0
    for event in events:
        batch.append(event)
        size_bytes += len(event[1])
        if size_bytes >= AT_ONCE_BYTES:
            yield batch
            batch, size_bytes = [], 0
    if batch:
        yield batch


def _state(entry: JobEntry, stands: StateView) -> str:
    return f"{entry.job.version} {stands.state_type} {stands.message}"
