"""Delivery of bytes in hand to S3, however often it takes: tried again, with a fresh URL, slower, or given up.

What is done about which answer is in shared/protocol/s3_errors.py.
"""

import asyncio
import base64
import logging
import time
from collections.abc import Callable, Collection

import aiohttp

from compute.upload.grants import Urls
from compute.upload.meter import UploadMeter
from compute.upload.put import Content, NotAnswered, Stored, put
from shared.ids import ExecutionId
from shared.jobs.quantities import format_bytes
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for, may_be_of_keys
from shared.protocol.signed_url import Grant
from shared.runtime.backoff import Backoff
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
SLOW_PAUSE_SECONDS = 2.0
MAX_RESENDS = 3
MAX_ASKED = 5
"""How often bytes are refused with a URL that the orchestrator has just vouched for. New keys are not known to all of
a service at once."""
UNANSWERED_PER_URL = 3
"""An answer to a refused URL can be lost when the connection is cut under it; then a new URL helps."""
MARGIN_SECONDS = 5.0
ASSUMED_BYTES_PER_SECOND = float(1 << 20)
MIN_MEASURED_BYTES = 1 << 20
TOLD_AFTER_SECONDS = 5.0
TOLD_EVERY_SECONDS = 300.0


class Pace:
    """The measured rate of this node's uploads, by which a URL's remaining life is judged."""

    def __init__(self) -> None:
        self._bytes_per_second = ASSUMED_BYTES_PER_SECOND

    def needed_seconds(self, size_bytes: int) -> float:
        return MARGIN_SECONDS + size_bytes / self._bytes_per_second

    def learn(self, size_bytes: int, seconds: float) -> None:
        if size_bytes >= MIN_MEASURED_BYTES and seconds > 0:
            self._bytes_per_second = (self._bytes_per_second + size_bytes / seconds) / 2

    def __repr__(self) -> str:
        return f"<Pace {format_bytes(int(self._bytes_per_second))}/s>"


class UploadTotals:
    """What this node has uploaded since it began, and how often it had to try again or to ask for another URL."""

    def __init__(self) -> None:
        self.bytes = 0
        self.retries = 0
        self.renewals = 0

    def __repr__(self) -> str:
        return f"<UploadTotals {format_bytes(self.bytes)}, {self.retries} retries, {self.renewals} renewals>"


class Trouble:
    """What happened to the deliveries of one upload. `on_waiting` is told when nothing has got through for a while.

    What happens to one happens to those that are `queued` behind it as well.
    """

    def __init__(
        self, on_waiting: Callable[[str], None], queued: Collection["Trouble"] = (), totals: UploadTotals | None = None
    ) -> None:
        self.retries = 0
        self.renewals = 0
        self.problem = ""
        self._on_waiting = on_waiting
        self._queued = queued
        self._totals = totals or UploadTotals()
        self._telling: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        return f"<Trouble: {self.retries} retries, {self.renewals} renewals, now {self.problem or 'none'}>"

    @property
    def is_waiting(self) -> bool:
        """Whether the last that happened is a failure."""
        return self._telling is not None

    def failed(self, problem: str) -> None:
        for each in (self, *self._queued):
            each.problem = problem
            if each._telling is None:  # noqa: SLF001  # of this class
                each._tell_in(TOLD_AFTER_SECONDS)  # noqa: SLF001

    def retried(self) -> None:
        self.retries += 1
        self._totals.retries += 1

    def renewed(self) -> None:
        self.renewals += 1
        self._totals.renewals += 1

    def stored(self, size_bytes: int) -> None:
        """S3 has taken so much."""
        self._totals.bytes += size_bytes
        self.went_well()

    def went_well(self) -> None:
        for each in (self, *self._queued):
            each.end()

    def end(self) -> None:
        """Nothing is waited for any more."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None

    def _tell_in(self, seconds: float) -> None:
        self._telling = asyncio.get_running_loop().call_later(seconds, self._tell)

    def _tell(self) -> None:
        self._tell_in(TOLD_EVERY_SECONDS)
        self._on_waiting(self.problem)


class Delivery:
    """One body on its way. It never gives up because of time: the caller sets the deadline."""

    def __init__(
        self,
        execution_id: ExecutionId,
        content: Content,
        md5: bytes,
        urls: Urls,
        *,
        http: aiohttp.ClientSession,
        pace: Pace,
        trouble: Trouble,
        meter: UploadMeter | None = None,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._execution_id = execution_id
        self._content = content
        self._md5 = base64.b64encode(md5).decode("ascii")
        """Empty where the URLs are signed with a checksum."""
        self._urls = urls
        self._http = http
        self._pace = pace
        self._trouble = trouble
        self._meter = meter
        self._pauses = Backoff(first_pause_seconds, LONGEST_PAUSE_SECONDS)
        self._fresh = False
        self._unanswered = 0
        self._resends = 0
        self._asked = 0
        self._s3_code = ""

    def __repr__(self) -> str:
        return f"<Delivery of {len(self._content)} bytes of {self._execution_id}>"

    async def run(self) -> Stored | S3Failure:
        """Stored, or the answer that repeating does not change. Raises GrantRefused."""
        while True:
            grant = await self._usable_grant()
            begun = time.monotonic()
            try:
                answer = await put(
                    self._http,
                    grant.url,
                    self._content,
                    content_md5=self._md5,
                    meter=self._meter,
                )
            except NotAnswered as error:
                await self._after_no_answer(str(error))
                continue
            self._unanswered = 0
            if isinstance(answer, Stored):
                self._pace.learn(len(self._content), time.monotonic() - begun)
                self._trouble.stored(len(self._content))
                if self._meter is not None:
                    self._meter.stored(len(self._content))
                return answer
            action = action_for(answer)
            if may_be_of_keys(answer):
                self._s3_code = answer.code or str(answer.status)
            told = "Execution %s: S3 answered %s; next: %s."
            _log.info(told, self._execution_id, answer, action.value, extra=about(execution=self._execution_id))
            self._trouble.failed(str(answer))
            if not await self._prepare_another_try(action):
                return answer

    async def _usable_grant(self) -> Grant:
        """A grant whose life is long enough by all that is known. A fresh one is always tried."""
        grant = self._urls.current
        if grant is None:
            grant = await self._urls.renew()
        elif not self._fresh and grant.remaining_seconds() < self._pace.needed_seconds(len(self._content)):
            grant = await self._renew()
        self._fresh = False
        return grant

    async def _renew(self) -> Grant:
        grant = await self._urls.renew(self._s3_code)
        self._s3_code = ""
        self._trouble.renewed()
        self._unanswered = 0
        self._fresh = True
        return grant

    async def _after_no_answer(self, problem: str) -> None:
        told = "Execution %s: the upload was cut off (%s); trying again."
        _log.info(told, self._execution_id, problem, extra=about(execution=self._execution_id))
        self._trouble.failed(problem)
        self._trouble.retried()
        self._unanswered += 1
        await self._pauses.pause()
        if self._unanswered >= UNANSWERED_PER_URL:
            await self._renew()

    async def _prepare_another_try(self, action: UploadAction) -> bool:
        """Wait, and get a new URL where that is the cure. False if no other try can help."""
        match action:
            case UploadAction.RENEW_URL:
                await self._pauses.pause()
                await self._renew()
            case UploadAction.ASK:
                self._asked += 1
                if self._asked > MAX_ASKED:
                    return False
                await self._pauses.pause()
                await self._renew()
            case UploadAction.RETRY:
                await self._pauses.pause()
            case UploadAction.RETRY_SLOWER:
                await self._pauses.pause(at_least=SLOW_PAUSE_SECONDS)
            case UploadAction.RESEND:
                self._resends += 1
                if self._resends > MAX_RESENDS:
                    return False
                await self._pauses.pause()
            case UploadAction.SETTLE | UploadAction.FAIL:
                return False
        self._trouble.retried()
        return True
