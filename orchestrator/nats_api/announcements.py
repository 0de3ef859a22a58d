"""Announcements over NATS: each new line of a job's history and each of its states, as events.

The leader tells them, once each, to whoever listens at the moment. Nothing is stored for it: all of it follows from
the records, and who comes late or has missed something asks for the history after the last number that it has.
"""

import asyncio
import logging

import msgspec

from orchestrator.jobs import views
from orchestrator.state.model import JobEntry, Model
from orchestrator.storage.wall_clock import now_ns
from shared.errors import MessagingUnavailable, PayloadTooLarge
from shared.ids import JobId
from shared.jobs.spec import StateView
from shared.messaging.transport import Connection
from shared.protocol import subjects

_log = logging.getLogger(__name__)
_encoder = msgspec.json.Encoder()

GATHER_SECONDS = 0.002
"""Changes of a job that follow each other this closely are told together, after the first."""
QUIET_SECONDS = 600.0
"""How long after its end what changes in a job that is not remembered is taken for news."""
REMEMBERED = 100_000
"""Of how many jobs, those that changed last, it is known what has been told; another is told from the beginning."""


class Announcements:
    def __init__(self, connection: Connection, model: Model) -> None:
        self._connection = connection
        self._model = model
        self._told: dict[JobId, tuple[int, str]] = {}

    async def run(self) -> None:
        """Tell what changes from now on, until cancelled."""
        self._told = {
            job: (self._last_number(entry), _state(entry, self._stands(entry)))
            for job, entry in self._model.jobs.items()
            if not entry.progress.state.is_terminal
        }
        self._model.news.follow()
        try:
            while True:
                for job in await self._model.news.next():
                    entry = self._model.jobs.get(job)
                    if entry is not None and self._is_news(job, entry):
                        await self._tell(job, entry)
                    elif entry is None:
                        self._told.pop(job, None)
                await asyncio.sleep(GATHER_SECONDS)
        finally:
            self._model.news.unfollow()

    def _is_news(self, job: JobId, entry: JobEntry) -> bool:
        """What is cleared away after a job that ended long ago tells nobody anything; all of it was told before."""
        if entry.job.removal is not None:
            return False
        ended_at = None if job in self._told else self._model.endings.ended.instant_of(job)
        return ended_at is None or now_ns() - ended_at <= QUIET_SECONDS * 1e9

    async def _tell(self, job: JobId, entry: JobEntry) -> None:
        told, state = self._told.get(job, (0, ""))
        settled = self._model.news.settled
        items, stands = views.announced(entry, after=told, up_to=settled), self._stands(entry)
        now = _state(entry, stands) if views.is_told(entry, settled) else state  # an end is told after what led to it
        try:
            for item in items:
                await self._publish(entry, "history", item)
            if now != state:
                await self._publish(entry, "state", views.job_view(self._model, entry, stands))
        except (MessagingUnavailable, PayloadTooLarge) as error:
            _log.debug("Events of job %s are not told: %s", job, error)
        self._told.pop(job, None)
        self._told[job] = items[-1].seq_num if items else told, now
        if len(self._told) > REMEMBERED:
            del self._told[next(iter(self._told))]

    def _last_number(self, entry: JobEntry) -> int:
        items = views.history(entry, up_to=self._model.news.settled)
        return items[-1].seq_num if items else 0

    async def _publish(self, entry: JobEntry, what: str, body: msgspec.Struct) -> None:
        subject = subjects.event(entry.namespace, entry.id, what)
        await self._connection.publish(subject, _encoder.encode(body))

    def _stands(self, entry: JobEntry) -> StateView:
        return views.job_state(entry, self._model.backlog.reasons.get(entry.id, ""))

    def __repr__(self) -> str:
        return f"<Announcements about {len(self._told)} jobs>"


def _state(entry: JobEntry, stands: StateView) -> str:
    return f"{entry.job.version} {stands.state_type} {stands.message}"
