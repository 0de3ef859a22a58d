"""Abandoned uploads in parts: no result came of them, so they are aborted and their parts not paid for.

So are the objects of a plain result that never became whole: these are one upload, of an id of ours.

Which these are follows from the records, where each stays until it is aborted, so that the next leader goes on. The
documented least policy does not allow it (s3:AbortMultipartUpload). Then a life-cycle rule of the bucket does the same
after some days; until it is allowed the uploads are listed, and it is tried with one of them now and then.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator

import msgspec
from msgspec.structs import replace

from orchestrator.rules.location import Location
from orchestrator.s3.deletion import DeletionRefused
from orchestrator.s3.locations import Locations
from orchestrator.s3.multipart import S3_CODE
from orchestrator.s3.plain_objects import delete_unfinished
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from shared.errors import MessagingUnavailable, StorageUnavailable
from shared.ids import ExecutionId
from shared.protocol.objects import is_plain
from shared.runtime.aio import pipelined

_log = logging.getLogger(__name__)

TIMES = 3
RETRY_SECONDS = 5.0
"""A part that is on its way when the upload is aborted may still arrive; aborting again removes it."""
AWAY_SECONDS = 60.0
REFUSED_SECONDS = 3600.0
"""How long nothing is asked of a bucket that was away, or refused."""
TICK_SECONDS = 1.0
LOOK_SECONDS = 10.0
"""How often all that is left is looked through, the second while there is a bucket that is asked nothing."""
AT_ONCE = 8
BATCH = 256
MOST_UNRECORDED = 10_000
REFUSALS = frozenset({"AccessDenied", "AllAccessDisabled"})


class AbandonedUpload(msgspec.Struct, frozen=True):
    """`execution` is empty for one that is in no record."""

    location: Location
    id: str
    execution: ExecutionId = ExecutionId("")

    @property
    def bucket(self) -> tuple[str, str]:
        return self.location.bucket, self.location.endpoint


class AbandonedUploads:
    """The leader's. `clock` gives monotonic seconds."""

    def __init__(
        self, model: Model, store: Store, locations: Locations, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._model = model
        self._store = store
        self._locations = locations
        self._clock = clock
        self._unrecorded: dict[str, AbandonedUpload] = {}
        self._aborted: dict[str, tuple[int, float]] = {}
        """By its id, how often an upload was aborted, and when it is again."""
        self._left_alone: dict[tuple[str, str], float] = {}

    def __repr__(self) -> str:
        return f"<AbandonedUploads, {len(self._model.endings.uploads) + len(self._unrecorded)} waiting>"

    def add(self, location: Location, upload_id: str) -> None:
        """One that is in no record: it was begun, and its id could not be stored."""
        if len(self._unrecorded) < MOST_UNRECORDED:
            self._unrecorded[upload_id] = AbandonedUpload(location, upload_id)

    async def run(self) -> None:
        """Abort until cancelled."""
        while True:
            try:
                await pipelined(self._due(), self._abort, at_once=AT_ONCE)
                await pipelined(self._done(), self._clear, at_once=AT_ONCE)
            except MessagingUnavailable as error:
                _log.info("That uploads are aborted cannot be stored: %s", error.message)
            await asyncio.sleep(LOOK_SECONDS if self._left_alone else min(TICK_SECONDS, RETRY_SECONDS))

    def _due(self) -> list[AbandonedUpload]:
        now, due = self._clock(), list[AbandonedUpload]()
        self._left_alone = {bucket: until for bucket, until in self._left_alone.items() if until > now}
        for upload in self._known():
            times, again_at = self._aborted.get(upload.id, (0, 0.0))
            if times < TIMES and again_at <= now and upload.bucket not in self._left_alone:
                due.append(upload)
            if len(due) == BATCH:
                break
        return due

    def _known(self) -> Iterator[AbandonedUpload]:
        yield from self._unrecorded.values()
        for execution in self._model.endings.uploads:
            record = self._model.execution(execution)
            if record is not None and record.location is not None:
                for upload_id in record.unfinished_uploads:
                    yield AbandonedUpload(record.location, upload_id, execution)

    async def _abort(self, upload: AbandonedUpload) -> None:
        if upload.bucket in self._left_alone:
            return
        key = upload.location.key
        try:
            bucket = await self._locations.bucket_of(upload.location)
            await (delete_unfinished(bucket, key) if is_plain(key) else bucket.abort_multipart(key, upload.id))
        except (StorageUnavailable, DeletionRefused) as error:
            self._leave_alone(upload, error)
            return
        times, _ = self._aborted.get(upload.id, (0, 0.0))
        self._aborted[upload.id] = times + 1, self._clock() + RETRY_SECONDS
        if times + 1 >= TIMES and not upload.execution:
            self._unrecorded.pop(upload.id, None)
            self._aborted.pop(upload.id, None)

    def _leave_alone(self, upload: AbandonedUpload, error: StorageUnavailable | DeletionRefused) -> None:
        is_refused = isinstance(error, DeletionRefused) or error.details.get(S3_CODE) in REFUSALS
        if upload.bucket not in self._left_alone:
            told = "%d unfinished uploads cannot be aborted, such as that of %s: %s%s"
            cure = (
                "s3:DeleteObject and s3:ListBucket"
                if is_plain(upload.location.key)
                else "s3:AbortMultipartUpload, or let a life-cycle rule of the bucket remove unfinished uploads"
            )
            hint = f" Allow {cure}. `tarpon agent uploads` lists them."
            count = len(self._model.endings.uploads) + len(self._unrecorded)
            level = logging.WARNING if is_refused else logging.INFO
            _log.log(level, told, count, upload.location.key, error.message, hint if is_refused else "")
        self._left_alone[upload.bucket] = self._clock() + (REFUSED_SECONDS if is_refused else AWAY_SECONDS)

    def _done(self) -> list[ExecutionId]:
        """Executions all of whose unfinished uploads have been aborted for good."""
        known = {upload_id for upload_id, (times, _) in self._aborted.items() if times >= TIMES}
        found = [self._model.execution(each) for each in self._model.endings.uploads] if known else []
        return [each.id for each in found if each is not None and known.issuperset(each.unfinished_uploads)]

    async def _clear(self, execution: ExecutionId) -> None:
        record = self._model.execution(execution)
        if record is None:
            return
        is_left = record.upload_id in record.unfinished_uploads
        after = replace(record, upload_id="" if is_left else record.upload_id, left_uploads=())
        if await changes.update(self._store, after):
            for each in record.unfinished_uploads:
                self._aborted.pop(each, None)
