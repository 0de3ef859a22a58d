"""A receiver of webhooks: what it is to be told, and how it is tried again while it does not take that."""

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from orchestrator.webhooks.events import WebhookEvent, headers_of
from orchestrator.webhooks.totals import WebhookTotals
from shared.web.guarded_http import AddressRefused

_log = logging.getLogger(__name__)

SEND_SECONDS = 15.0
AT_ONCE = 8
MOST_WAITING = 4096
"""Beyond it the oldest event is dropped, so that a receiver which takes nothing does not fill the memory."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 1.0, 300.0
SPREAD = 0.2

_Due = tuple[float, int, WebhookEvent]
"""When it is due by the monotonic clock, and its place in the order in which events came."""


class Receiver:
    """Use `put`, let `run` run, and look at `sent_up_to`. Nothing of the URL but its host is ever told.

    While it fails it is tried with one event at a time, after pauses that double, whatever waits.
    """

    def __init__(
        self,
        url: str,
        http: aiohttp.ClientSession,
        secret: bytes,
        *,
        max_age_seconds: float,
        totals: WebhookTotals,
        sent_up_to: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.url = url
        self.host = urlsplit(url).hostname or ""
        self._http = http
        self._secret = secret
        self._max_age_seconds = max_age_seconds
        self._totals = totals
        self._clock = clock
        self._waiting: list[_Due] = []
        self.done = 0
        """How many events were taken or given up."""
        self._open: dict[str, int] = {}
        """The numbers of all events that have come and are not done, by id."""
        self._reached = sent_up_to
        self._count = 0
        self._failures = 0
        self._not_before = 0.0
        self._changed = asyncio.Event()

    def __repr__(self) -> str:
        return f"<Receiver at {self.host}: {len(self._open)} events wait>"

    @property
    def waiting(self) -> int:
        return len(self._open)

    @property
    def sent_up_to(self) -> int:
        """The number up to which each event has been taken or given up."""
        return min(self._open.values(), default=self._reached + 1) - 1

    def put(self, event: WebhookEvent) -> None:
        """To be sent as soon as may be. What came before is left out."""
        if event.id in self._open or event.number <= self._reached:
            return
        self._open[event.id] = event.number
        self._push(event, due=0.0)
        if len(self._waiting) > MOST_WAITING:
            oldest = min(self._waiting, key=lambda due: due[2].number)
            self._waiting.remove(oldest)
            heapq.heapify(self._waiting)
            self._done(oldest[2], "dropped")

    def reach(self, number: int) -> None:
        """All events up to this number have come."""
        self._reached = max(self._reached, number)

    def _push(self, event: WebhookEvent, *, due: float) -> None:
        self._count += 1
        heapq.heappush(self._waiting, (due, self._count, event))
        self._changed.set()

    def _done(self, event: WebhookEvent, outcome: str) -> None:
        self._open.pop(event.id, None)
        self.done += 1
        self._totals.count(outcome)

    async def run(self) -> None:
        """Until cancelled."""
        slots = 0

        async def send(event: WebhookEvent) -> None:
            nonlocal slots
            try:
                await self._send(event)
            finally:
                slots -= 1
                self._changed.set()

        async with asyncio.TaskGroup() as group:
            while True:
                self._changed.clear()
                now = time.monotonic()
                most = AT_ONCE if not self._failures else 1
                due = max(self._waiting[0][0], self._not_before) if self._waiting else None
                if due is not None and due <= now and slots < most:
                    slots += 1
                    group.create_task(send(heapq.heappop(self._waiting)[2]), name=f"webhook to {self.host}")
                    continue
                pause = None if due is None or slots >= most else due - now
                await _wait(self._changed, pause)

    async def _send(self, event: WebhookEvent) -> None:
        begun = time.monotonic()
        why = await self._try(event)
        if not why:
            if self._failures:
                _log.info("The receiver of webhooks at %s takes them again.", self.host)
            self._failures = 0
            self._done(event, "delivered")
            return
        self._totals.count("failed")
        if begun >= self._not_before:  # else it was on its way with another one that has failed
            self._rest(why)
        if self._clock() - event.made > self._max_age_seconds:
            _log.warning("A webhook to %s is given up, %s: %s.", self.host, event.id, why)
            self._done(event, "dropped")
        else:
            self._push(event, due=0.0)

    def _rest(self, why: str) -> None:
        if not self._failures:
            told = "The receiver of webhooks at %s does not take them: %s. Each is tried again for %.0f s at most."
            _log.warning(told, self.host, why, self._max_age_seconds)
        self._failures += 1
        pause = min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 20))
        self._not_before = time.monotonic() + pause * random.uniform(1 - SPREAD, 1 + SPREAD)  # noqa: S311  # no secret

    async def _try(self, event: WebhookEvent) -> str:
        """Why it was not taken; nothing if it was."""
        headers = headers_of(self._secret, event.id, int(self._clock()), event.body)
        try:
            async with (
                asyncio.timeout(SEND_SECONDS),
                self._http.post(
                    self.url,
                    data=event.body,
                    headers={"Content-Type": "application/json", **headers},
                    allow_redirects=False,
                ) as answer,
            ):
                return "" if 200 <= answer.status < 300 else f"it answers {answer.status}"
        except TimeoutError:
            return f"it does not answer within {SEND_SECONDS:g} s"
        except (aiohttp.ClientError, OSError) as error:
            return _why(error)


def _why(error: BaseException) -> str:
    """In words without the URL, in which a token may be."""
    each: BaseException | None = error
    while each is not None:
        if isinstance(each, AddressRefused):
            return f"its host is {each}, which Orchestrator.Webhooks.AllowedAddresses does not have"
        each = each.__cause__ or each.__context__
    return f"it cannot be reached ({type(error).__name__})"


async def _wait(changed: asyncio.Event, seconds: float | None) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
