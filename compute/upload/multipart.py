"""Uploads of more than one part: several are on their way while the next one is packed.

The orchestrator begins and completes the upload. Each part that S3 has is written down, so that a node which dies in
the middle goes on with what is missing.
"""

import asyncio
import base64
import hashlib
from collections.abc import Awaitable, Callable

from compute.archive.part_size import MAX_PARTS
from compute.archive.stream import ArchiveStream, Part
from compute.upload.grants import ExecutionGrants, PartUrls, UploadIsLost, Urls
from compute.upload.journal import BegunUpload, StoredPart, UploadJournal
from compute.upload.meter import UploadMeter
from compute.upload.put import Stored
from compute.upload.shared_limits import PartBuffers
from shared.protocol.s3_errors import S3Failure, UploadAction, action_for

PARTS_IN_FLIGHT = 3
"""On their way, beside the one that is being packed."""

Deliver = Callable[[memoryview, bytes, Urls], Awaitable[Stored | S3Failure]]
"""Takes the bytes, their MD5, which is empty where the URLs are signed with a checksum, and the URLs."""


class PartRefused(Exception):
    """S3 will not take a part, however often it is sent."""


class TooLarge(Exception):
    """The packed result has more bytes than it may have."""


class MultipartUpload:
    """One upload in parts, which an earlier process of this node may have begun `before`.

    `send`, called once, raises UploadIsLost, PartRefused, TooLarge, GrantRefused, OSError. After it comes `complete`.
    """

    def __init__(
        self,
        archive: ArchiveStream,
        grants: ExecutionGrants,
        deliver: Deliver,
        buffers: PartBuffers,
        *,
        journal: UploadJournal,
        before: BegunUpload | None,
        part_bytes: int,
        limit_bytes: int,
        meter: UploadMeter,
    ) -> None:
        self._archive = archive
        self._grants = grants
        self._deliver = deliver
        self._buffers = buffers
        self._journal = journal
        self._before = before
        self._part_bytes = part_bytes
        self._limit_bytes = limit_bytes
        self._meter = meter
        self._in_flight = asyncio.Semaphore(PARTS_IN_FLIGHT)
        self._begun = asyncio.Event()
        self._upload_id = ""
        self._goes_on = False
        """Whether the upload was begun by an earlier process, which may have sent a part with other bytes."""
        self._has_checksums = False
        self._urls: PartUrls
        self._stored: dict[int, StoredPart] = {}
        self._crc32: dict[int, str] = {}

    def __repr__(self) -> str:
        return f"<MultipartUpload, {len(self._stored)} of {len(self._crc32)} parts stored>"

    @property
    def parts(self) -> int:
        return len(self._crc32)

    @property
    def md5(self) -> str:
        """As S3 has it (Amazon S3 User Guide, "Checking object integrity"): of the digests, with their number.

        Of a part that S3 has compared by its CRC the ETag is taken for the digest, which it mostly is. Empty where it
        is none.
        """
        parts = [self._stored[number] for number in range(1, self.parts + 1)]
        try:
            digests = b"".join(bytes.fromhex(part.md5 or part.etag) for part in parts)
        except ValueError:
            return ""
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
        numbers = range(1, self.parts + 1)
        etags = tuple(self._stored[number].etag for number in numbers)
        crc32 = tuple(self._crc32[number] for number in numbers) if self._has_checksums else ()
        await self._grants.complete(self._upload_id, etags, crc32)

    async def _begin(self, lost: str) -> None:
        begun = self._before
        if begun is not None and begun.part_bytes == self._part_bytes and not lost:
            self._upload_id, self._stored = begun.upload_id, begun.parts
            self._has_checksums = begun.has_checksums
            self._goes_on = True
        else:
            self._upload_id, self._has_checksums = await self._grants.begin_upload(lost)
            await asyncio.to_thread(
                self._journal.begin, self._upload_id, self._part_bytes, has_checksums=self._has_checksums
            )
        self._urls = self._grants.parts(self._upload_id)
        self._begun.set()

    async def _send_parts(self, part: Part, group: asyncio.TaskGroup) -> None:
        while True:
            self._check_size(part)
            self._crc32[part.number] = base64.b64encode(part.crc32.to_bytes(4, "big")).decode("ascii")
            # Asked for while the part waits for its turn.
            urls = group.create_task(self._urls_of(part, group), name=f"url of part {part.number}")
            await self._in_flight.acquire()
            group.create_task(self._send(part, urls), name=f"part {part.number}")
            if part.is_last:
                return
            await self._buffers.take()
            part = await anext(self._archive)

    def _check_size(self, part: Part) -> None:
        if part.number > MAX_PARTS or (part.number - 1) * self._part_bytes + len(part.content) > self._limit_bytes:
            raise TooLarge

    async def _urls_of(self, part: Part, group: asyncio.TaskGroup) -> Urls | None:
        """None if S3 has the part."""
        await self._begun.wait()
        if await self._is_stored(part):
            return None
        if self._has_checksums:
            return await self._urls.for_checksum(part.number, self._crc32[part.number])
        if self._urls.wants_more(part.number):
            group.create_task(self._urls.ask_ahead(part.number), name="urls of parts")
        return await self._urls.of(part.number)

    async def _is_stored(self, part: Part) -> bool:
        stored = self._stored.get(part.number)
        if stored is None:
            return False
        if stored.sha256:
            return stored.sha256 == (await part.sha256()).hex()
        return stored.md5 == (await part.md5()).hex()

    async def _send(self, part: Part, asked: asyncio.Task[Urls | None]) -> None:
        try:
            urls = await asked
            if urls is None:
                self._meter.stored(len(part.content))  # by an earlier process
            else:
                await self._put(part, urls)
        finally:
            self._in_flight.release()
            self._buffers.give_back()

    async def _put(self, part: Part, urls: Urls) -> None:
        md5 = b"" if self._has_checksums else await part.md5()
        answer = await self._deliver(part.content, md5, urls)
        match answer:
            case Stored(etag):
                etag = etag or (await part.md5()).hex()
                stored = StoredPart(
                    number=part.number,
                    md5=md5.hex(),
                    sha256=(await part.sha256()).hex(),
                    etag=etag,
                    blocks=part.levels.blocks,
                )
                self._stored[part.number] = stored
                await asyncio.to_thread(self._journal.add, stored, part.levels.switches)
            case S3Failure() if action_for(answer) is UploadAction.SETTLE or self._is_irreplaceable(answer):
                raise UploadIsLost(self._upload_id, str(answer))
            case S3Failure():
                raise PartRefused(str(answer))

    def _is_irreplaceable(self, answer: S3Failure) -> bool:
        """Some servers pass parts on as they come, and say 501 to one that comes again with other bytes."""
        return self._goes_on and answer.status == 501
