"""Uploads of more than one part: several are on their way while the next one is packed.

The orchestrator begins and completes the upload. Each part that S3 has is written down, so that a node which dies in
the middle goes on with what is missing.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from pathlib import Path

from compute.archive.part_size import MAX_PARTS
from compute.archive.stream import ArchiveStream, Part
from compute.upload.grants import ExecutionGrants, PartUrls, UploadIsLost, Urls
from compute.upload.journal import StoredPart, UploadJournal
from compute.upload.meter import UploadMeter
from compute.upload.put import Stored
from compute.upload.shared_limits import PartBuffers
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for

PARTS_IN_FLIGHT = 3
"""On their way, beside the one that is being packed."""

Deliver = Callable[[memoryview, bytes, Urls], Awaitable[Stored | S3Failure]]


class PartRefused(Exception):
    """S3 will not take a part, however often it is sent."""


class TooLarge(Exception):
    """The packed result has more bytes than it may have."""


class MultipartUpload:
    """One upload in parts. `send`, called once, raises UploadIsLost, PartRefused, TooLarge, GrantRefused, OSError.

    After it comes `complete`.
    """

    def __init__(
        self,
        archive: ArchiveStream,
        grants: ExecutionGrants,
        deliver: Deliver,
        buffers: PartBuffers,
        *,
        scratch: Path,
        part_bytes: int,
        limit_bytes: int,
        meter: UploadMeter,
    ) -> None:
        self._archive = archive
        self._grants = grants
        self._deliver = deliver
        self._buffers = buffers
        self._journal = UploadJournal(scratch)
        self._part_bytes = part_bytes
        self._limit_bytes = limit_bytes
        self._meter = meter
        self._in_flight = asyncio.Semaphore(PARTS_IN_FLIGHT)
        self._begun = asyncio.Event()
        self._upload_id = ""
        self._goes_on = False
        """Whether the upload was begun by an earlier process, which may have sent a part with other bytes."""
        self._urls: PartUrls
        self._stored: dict[int, StoredPart] = {}
        self._digests: dict[int, bytes] = {}

    def __repr__(self) -> str:
        return f"<MultipartUpload, {len(self._stored)} of {len(self._digests)} parts stored>"

    @property
    def parts(self) -> int:
        return len(self._digests)

    @property
    def md5(self) -> str:
        """As S3 has it (Amazon S3 User Guide, "Checking object integrity"): of the digests, with their number."""
        digests = b"".join(self._digests[number] for number in range(1, self.parts + 1))
        return f"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{self.parts}"

    async def send(self, first: Part, lost: str) -> None:
        """Send all parts, of which `first` is packed; `lost` is the id of an upload that S3 does not know."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._begin(lost), name="beginning of the upload")
                await self._send_parts(first, group)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one reason is enough

    async def complete(self) -> None:
        """Make the parts one object. Raises UploadIsLost, GrantRefused."""
        etags = tuple(self._stored[number].etag for number in range(1, self.parts + 1))
        await self._grants.complete(self._upload_id, etags)

    async def _begin(self, lost: str) -> None:
        begun = await asyncio.to_thread(self._journal.read)
        if begun is not None and begun.part_bytes == self._part_bytes and not lost:
            self._upload_id, self._stored = begun.upload_id, begun.parts
            self._goes_on = True
        else:
            self._upload_id = await self._grants.begin_upload(lost)
            await asyncio.to_thread(self._journal.begin, self._upload_id, self._part_bytes)
        self._urls = self._grants.parts(self._upload_id)
        self._begun.set()

    async def _send_parts(self, part: Part, group: asyncio.TaskGroup) -> None:
        while True:
            self._check_size(part)
            await self._in_flight.acquire()
            group.create_task(self._send(part, group), name=f"part {part.number}")
            if part.is_last:
                return
            await self._buffers.take()
            part = await anext(self._archive)

    def _check_size(self, part: Part) -> None:
        if part.number > MAX_PARTS or (part.number - 1) * self._part_bytes + len(part.content) > self._limit_bytes:
            raise TooLarge

    async def _send(self, part: Part, group: asyncio.TaskGroup) -> None:
        try:
            md5 = await part.md5()
            self._digests[part.number] = md5
            await self._begun.wait()
            stored = self._stored.get(part.number)
            if stored is None or stored.md5 != md5.hex():
                if self._urls.wants_more(part.number):
                    group.create_task(self._urls.ask_ahead(part.number), name="urls of parts")
                await self._put(part, md5)
            else:
                self._meter.stored(len(part.content))  # by an earlier process
        finally:
            self._in_flight.release()
            self._buffers.give_back()

    async def _put(self, part: Part, md5: bytes) -> None:
        answer = await self._deliver(part.content, md5, await self._urls.of(part.number))
        match answer:
            case Stored(etag):
                stored = StoredPart(number=part.number, md5=md5.hex(), etag=etag or md5.hex())
                self._stored[part.number] = stored
                await asyncio.to_thread(self._journal.add, stored)
            case S3Failure() if action_for(answer) is UploadAction.SETTLE or self._is_irreplaceable(answer):
                raise UploadIsLost(self._upload_id, str(answer))
            case S3Failure():
                raise PartRefused(str(answer))

    def _is_irreplaceable(self, answer: S3Failure) -> bool:
        """Some servers pass parts on as they come, and say 501 to one that comes again with other bytes."""
        return self._goes_on and answer.status == 501
