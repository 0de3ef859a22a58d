"""What becomes of an upload in parts that no result came of: it is aborted, so that its parts are not paid for.

The documented least policy does not allow it (s3:AbortMultipartUpload). Then a life-cycle rule of the bucket does the
same after some days, and the first refusal is logged.
"""

import asyncio
import logging

from orchestrator.locations import Locations
from orchestrator.records import ExecutionRecord, Location
from shared.errors import StorageUnavailable
from shared.states import ExecutionState

_log = logging.getLogger(__name__)

TRIES = 3
RETRY_SECONDS = 5.0
"""A part that is on its way when the upload is aborted may still arrive; aborting again removes it."""
MOST_WAITING = 10_000


class AbandonedUploads:
    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._waiting: asyncio.Queue[tuple[Location, str]] = asyncio.Queue(MOST_WAITING)
        self._has_complained = False

    def __repr__(self) -> str:
        return f"<AbandonedUploads, {self._waiting.qsize()} waiting>"

    def on_end(self, record: ExecutionRecord) -> None:
        """To be told of every execution whose record has changed."""
        ended_without_result = record.state.is_terminal and record.state is not ExecutionState.COMPLETED
        if record.upload_id and record.location is not None and ended_without_result:
            self.add(record.location, record.upload_id)

    def add(self, location: Location, upload_id: str) -> None:
        if not self._waiting.full():
            self._waiting.put_nowait((location, upload_id))

    async def run(self) -> None:
        """Abort until cancelled."""
        while True:
            location, upload_id = await self._waiting.get()
            try:
                await self._abort(location, upload_id)
            except StorageUnavailable as error:
                self._complain(location, error)

    async def _abort(self, location: Location, upload_id: str) -> None:
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(RETRY_SECONDS)
            await self._locations.abort_multipart(location, upload_id)

    def _complain(self, location: Location, error: StorageUnavailable) -> None:
        level = logging.DEBUG if self._has_complained else logging.WARNING
        self._has_complained = True
        _log.log(
            level,
            "The unfinished upload of %s cannot be aborted: %s Allow s3:AbortMultipartUpload, or let a life-cycle rule"
            " of the bucket remove unfinished uploads.",
            location.key,
            error.message,
        )
