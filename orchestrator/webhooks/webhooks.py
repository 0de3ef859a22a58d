"""The leader's webhooks: each end of a job goes to each receiver at least once, whoever leads meanwhile.

What was sent is stored by one number for each receiver: up to it every end of a job has been taken or given up. Who
leads next begins there, so that some events come twice, under the same id, and none is left out but what is dropped.
"""

import asyncio
import hashlib
import logging
from collections.abc import Sequence

import aiohttp

from orchestrator.rules.records import WebhooksRecord
from orchestrator.state.event_numbers import last_number
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.webhooks.events import WebhookEvent, event_of
from orchestrator.webhooks.receiver import Receiver
from orchestrator.webhooks.totals import WebhookTotals
from shared.data.addresses import AllowedAddresses, allowed_networks
from shared.errors import MessagingUnavailable
from shared.protocol import subjects
from shared.runtime.aio import background, finish
from shared.runtime.tls.trust import trusting_store
from shared.settings.webhooks import WebhookSettings
from shared.web.guarded_http import guarded_session

_log = logging.getLogger(__name__)

STORE_SECONDS = 2.0
STOP_SECONDS = 1.0
RETRY_SECONDS = 0.5


class Webhooks:
    """`secret` is what events are signed with."""

    def __init__(
        self, settings: WebhookSettings, secret: bytes, model: Model, store: Store, totals: WebhookTotals
    ) -> None:
        self._settings = settings
        self._secret = secret
        self._model = model
        self._store = store
        self._totals = totals

    def __repr__(self) -> str:
        return f"<Webhooks to {len(self._settings.urls)} receivers>"

    async def run(self) -> None:
        """Until cancelled."""
        trust = await asyncio.to_thread(trusting_store, self._settings.ca_file)
        allowed = AllowedAddresses(allowed_networks(self._settings.allowed_addresses))
        with self._model.news.following() as following:
            sent = await self._stored()
            begun = last_number(self._model.news.settled)
            async with guarded_session(allowed, trust) as http:
                receivers = [self._receiver(url, http, sent.get(_key(url), begun)) for url in self._settings.urls]
                await self._catch_up(receivers, after=min((each.sent_up_to for each in receivers), default=begun))
                for receiver in receivers:
                    receiver.reach(begun)
                sending = {f"webhooks {number}": each.run() for number, each in enumerate(receivers)}
                try:
                    async with background(**sending, webhooks_stored=self._keep(receivers, sent)):
                        while True:
                            changed = await following.next()
                            settled = last_number(self._model.news.settled)
                            self._tell(receivers, [self._model.jobs[job] for job in changed if job in self._model.jobs])
                            for receiver in receivers:
                                receiver.reach(settled)
                finally:
                    self._totals.waiting = 0
                    await finish(self._store_sent(receivers), within=STOP_SECONDS)  # so that little is told twice

    def _receiver(self, url: str, http: aiohttp.ClientSession, sent_up_to: int) -> Receiver:
        return Receiver(
            url,
            http,
            self._secret,
            max_age_seconds=float(self._settings.max_age),
            totals=self._totals,
            sent_up_to=sent_up_to,
        )

    async def _catch_up(self, receivers: Sequence[Receiver], *, after: int) -> None:
        """What ended while nobody told it, of the end with this number the last was told."""
        for jobs in self._model.jobs.ended_after(after):
            await asyncio.sleep(0)
            self._tell(receivers, [entry for job in jobs if (entry := self._model.jobs.get(job)) is not None])

    def _tell(self, receivers: Sequence[Receiver], entries: Sequence[JobEntry]) -> None:
        for entry in entries:
            event = self._event(entry)
            if event is not None:
                for receiver in receivers:
                    receiver.put(event)

    def _event(self, entry: JobEntry) -> WebhookEvent | None:
        """Of what is settled: until then something may still come before it."""
        if not entry.progress.state.is_terminal:
            return None
        event = event_of(entry, self._settings.events, self._settings.namespaces)
        is_settled = event is not None and event.number <= last_number(self._model.news.settled)
        return event if is_settled else None

    async def _keep(self, receivers: Sequence[Receiver], stored: dict[str, int]) -> None:
        """Store how far each has come: at first, and whenever one has done with something."""
        done = -1 if set(stored) != {_key(receiver.url) for receiver in receivers} else 0
        while True:
            now = sum(receiver.done for receiver in receivers)
            if now != done and await self._store_sent(receivers):
                done = now
            self._totals.waiting = sum(receiver.waiting for receiver in receivers)
            await asyncio.sleep(STORE_SECONDS)

    async def _stored(self) -> dict[str, int]:
        while True:
            try:
                found = await self._store.read(subjects.WEBHOOKS_RECORD)
            except MessagingUnavailable as error:
                _log.info("It is not known yet which webhooks were sent: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)
            else:
                return dict(found.sent_up_to) if isinstance(found, WebhooksRecord) else {}

    async def _store_sent(self, receivers: Sequence[Receiver]) -> bool:
        record = WebhooksRecord(sent_up_to={_key(each.url): each.sent_up_to for each in receivers})
        try:
            return await changes.put(self._store, record)
        except MessagingUnavailable as error:
            _log.info("Which webhooks were sent is stored later: %s", error.message)
            return False


def _key(url: str) -> str:
    """Of a receiver, in what is stored: its URL may hold a token."""
    return hashlib.sha256(url.encode()).hexdigest()[:16]
