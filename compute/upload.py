"""How a result folder becomes an object in the bucket: packed into memory, sent, and sent again until it is there.

The archive is packed once. As long as it fits in one part buffer it goes out with a single PUT.
"""

import base64
import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from compute.archive import ArchiveStream, ArchiveSummary
from compute.backoff import Backoff
from compute.grants import Grants
from compute.put import NotAnswered, put
from shared.errors import GrantRefused
from shared.ids import ExecutionId
from shared.quantities import format_bytes
from shared.s3_errors import S3Failure, UploadAction, action_for
from shared.signed_url import Grant
from shared.states import FailureReason

_log = logging.getLogger(__name__)

PART_SIZE_BYTES = 16 << 20
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
SLOW_PAUSE_SECONDS = 2.0
MAX_RESENDS = 3
UNANSWERED_PER_URL = 3
"""An answer to a refused URL can be lost when the connection is cut under it; then a new URL helps."""
MARGIN_SECONDS = 5.0
ASSUMED_BYTES_PER_SECOND = float(1 << 20)
MIN_MEASURED_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A whole archive in memory."""

    content: bytearray
    md5: bytes
    summary: ArchiveSummary


@dataclass(frozen=True, kw_only=True)
class Sent:
    """The object is in the bucket, or S3 says that one is there already, which the orchestrator then compares."""

    md5: str
    summary: ArchiveSummary


@dataclass(frozen=True, kw_only=True)
class NotSent:
    reason: FailureReason
    detail: str


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


class Upload:
    """The way of one result to the bucket. It never gives up because of time: the caller sets the deadline."""

    def __init__(
        self,
        execution_id: ExecutionId,
        folder: Path,
        grants: Grants,
        *,
        http: aiohttp.ClientSession,
        pace: Pace,
        part_size_bytes: int = PART_SIZE_BYTES,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self.retries = 0
        self.renewals = 0
        self._execution_id = execution_id
        self._folder = folder
        self._grants = grants
        self._http = http
        self._pace = pace
        self._part_size_bytes = part_size_bytes
        self._pauses = Backoff(first_pause_seconds, LONGEST_PAUSE_SECONDS)
        self._problem = ""
        self._fresh = False
        self._unanswered = 0
        self._resends = 0
        self._renewed_once = False
        self._s3_code = ""

    def __repr__(self) -> str:
        return f"<Upload of {self._execution_id}, {self.retries} retries, {self.renewals} renewals>"

    @property
    def last_problem(self) -> str:
        return self._problem or self._grants.last_problem

    async def run(self) -> Sent | NotSent:
        try:
            packed = await self._pack()
        except OSError as error:
            return NotSent(reason=FailureReason.RESULT_UNREADABLE, detail=f"The result cannot be read: {error}")
        if packed is None:
            limit = format_bytes(self._part_size_bytes)
            detail = f"The packed result is larger than the limit of {limit} for one upload."
            return NotSent(reason=FailureReason.RESULT_TOO_LARGE, detail=detail)
        try:
            return await self._send(packed)
        except GrantRefused as refusal:
            detail = f"The orchestrator gives no URL for the upload: {refusal.message}"
            return NotSent(reason=FailureReason.PUBLISH_REFUSED, detail=detail)

    async def _pack(self) -> Packed | None:
        """None if the archive does not fit in one part buffer."""
        content = bytearray()
        digest = hashlib.md5(usedforsecurity=False)
        async with ArchiveStream(self._folder) as archive:
            async for chunk in archive:
                if len(content) + len(chunk) > self._part_size_bytes:
                    return None
                content += chunk
                digest.update(chunk)
        return Packed(content=content, md5=digest.digest(), summary=archive.summary)

    async def _send(self, packed: Packed) -> Sent | NotSent:
        sent = Sent(md5=packed.md5.hex(), summary=packed.summary)
        while True:
            grant = await self._usable_grant(len(packed.content))
            try:
                failure = await self._put(grant, packed)
            except NotAnswered as error:
                await self._after_no_answer(str(error))
                continue
            if failure is None:
                return sent
            self._problem, self._s3_code = str(failure), failure.code
            action = action_for(failure)
            _log.info("Execution %s: S3 answered %s; next: %s.", self._execution_id, failure, action.value)
            if action is UploadAction.SETTLE:
                return sent
            if not await self._prepare_another_try(action):
                return NotSent(reason=FailureReason.PUBLISH_REFUSED, detail=f"S3 refused the result: {failure}")

    async def _usable_grant(self, size_bytes: int) -> Grant:
        """A grant whose life is long enough by all that is known. A fresh one is always tried."""
        grant = self._grants.current
        if grant is None or (not self._fresh and grant.remaining_seconds() < self._pace.needed_seconds(size_bytes)):
            grant = await self._renew()
        self._fresh = False
        return grant

    async def _renew(self) -> Grant:
        grant = await self._grants.renew(self._s3_code)
        self._s3_code = ""
        self.renewals += 1
        self._unanswered = 0
        self._fresh = True
        return grant

    async def _put(self, grant: Grant, packed: Packed) -> S3Failure | None:
        begun = time.monotonic()
        content_md5 = base64.b64encode(packed.md5).decode("ascii")
        failure = await put(self._http, grant.url, memoryview(packed.content), content_md5=content_md5)
        self._unanswered = 0
        if failure is None:
            self._pace.learn(len(packed.content), time.monotonic() - begun)
        return failure

    async def _after_no_answer(self, problem: str) -> None:
        _log.info("Execution %s: the upload was cut off (%s); trying again.", self._execution_id, problem)
        self._problem = problem
        self.retries += 1
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
            case UploadAction.RENEW_ONCE:
                if self._renewed_once:
                    return False
                self._renewed_once = True
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
        self.retries += 1
        return True
