"""Large files of sent data, which are written in parts: begun, gone on with, and completed.

The id of an upload is in the record before any URL of a part is given, so that whoever sends the same file again goes
on with it, and what is left of it is aborted.
"""

import logging

from msgspec.structs import replace

from orchestrator.inputs.data_contents import ONE_PUT_BYTES, DataContents, signed_put
from orchestrator.inputs.data_problems import DataContentUnknown
from orchestrator.inputs.data_records import DataRecords
from orchestrator.rules.records import DataRecord
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations
from orchestrator.s3.multipart import OCTETS, UploadGone
from orchestrator.s3.part_listing import MOST_LISTED
from orchestrator.s3.verification import ObjectFacts
from shared.errors import Conflict, InvalidInput, StorageUnavailable
from shared.jobs.inputs.manifest import DataFile
from shared.protocol.namespaces.rest_data import CompleteFileResponse, FilePartsRequest, FilePartsResponse, SentPart
from shared.protocol.objects import content_key

_log = logging.getLogger(__name__)

LEAST_PART_BYTES = 16 << 20
MOST_URLS = 64
MOST_OPEN = 64
"""Uploads of one tree that may be open at once."""
MAX_ETAG_CHARACTERS = 100
_MIB = 1 << 20


class TooManyOpenUploads(Conflict):
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            f"{MOST_OPEN} uploads in parts of this data are open; another one is not begun.",
            hint="Complete some of them first.",
        )


class PartsMakeNoSense(InvalidInput):
    def __init__(self, why: str) -> None:
        super().__init__(f"The parts are not those of the file: {why}.", hint="Ask for the URLs of its parts again.")


def part_bytes(size: int) -> int:
    """Of all parts but the last; no file has more parts than S3 lists at once."""
    return max(LEAST_PART_BYTES, -(-size // (MOST_LISTED * _MIB)) * _MIB)


def part_sizes(size: int) -> list[int]:
    each = part_bytes(size)
    whole, rest = divmod(size, each)
    return [each] * whole + ([rest] if rest else [])


class DataParts:
    def __init__(self, records: DataRecords, contents: DataContents, locations: Locations) -> None:
        self._records = records
        self._contents = contents
        self._locations = locations

    def __repr__(self) -> str:
        return f"<DataParts of {self._records!r}>"

    async def parts(self, record: DataRecord, request: FilePartsRequest) -> FilePartsResponse:
        """Raises DataContentUnknown, PartsMakeNoSense, TooManyOpenUploads, StorageUnavailable."""
        content = await self._content(record, request.sha256)
        sizes = part_sizes(content.size)
        if not 1 <= request.first <= len(sizes):
            raise PartsMakeNoSense(f"there is no part {request.first}")
        bucket = await self._locations.bucket_of(record.location)
        key = content_key(record.location.key, content.sha256)
        upload_id = record.uploads.get(content.sha256, "")
        is_new = not upload_id or upload_id == request.lost
        if is_new:
            upload_id = await self._begin(bucket, key, record, content.sha256, request.lost)
        last = min(len(sizes), request.first - 1 + max(1, min(request.count, MOST_URLS)))
        wanted = {number: sizes[number - 1] for number in range(request.first, last + 1)}
        urls = await bucket.sign_sized_parts(key, upload_id, wanted)
        listed = {} if is_new or request.first > 1 else await bucket.parts(key, upload_id)
        there = [
            SentPart(number=number, etag=etag)
            for number, (etag, size) in sorted(listed.items())
            if number <= len(sizes) and size == sizes[number - 1]
        ]
        return FilePartsResponse(
            upload_id=upload_id,
            part_bytes=part_bytes(content.size),
            parts=tuple(map(signed_put, urls)),
            there=tuple(there),
        )

    async def _content(self, record: DataRecord, sha256: str) -> DataFile:
        tree = await self._contents.tree(record)
        found = next((each for each in tree.contents if each.sha256 == sha256 and each.size > ONE_PUT_BYTES), None)
        if found is None:
            raise DataContentUnknown(sha256)
        return found

    async def _begin(self, bucket: Bucket, key: str, record: DataRecord, sha256: str, lost: str) -> str:
        if len(record.uploads) >= MOST_OPEN and sha256 not in record.uploads:
            raise TooManyOpenUploads
        begun = await bucket.begin_multipart(key, media_type=OCTETS)

        def with_it(known: DataRecord) -> DataRecord | None:
            if known.uploads.get(sha256, lost) != lost:
                return None  # somebody else has begun one meanwhile
            return replace(known, uploads=known.uploads | {sha256: begun})

        try:
            after = await self._records.change(record, with_it)
        except BaseException:
            await self._abort(bucket, key, begun)
            raise
        kept = after.uploads[sha256]
        if kept != begun:
            await self._abort(bucket, key, begun)
        elif lost:
            await self._abort(bucket, key, lost)
        return kept

    async def _abort(self, bucket: Bucket, key: str, upload_id: str) -> bool:
        try:
            await bucket.abort_multipart(key, upload_id)
        except StorageUnavailable as error:
            _log.info("An unfinished upload of sent data is left for the bucket's own rules: %s", error.message)
            return False
        return True

    async def complete(
        self, record: DataRecord, sha256: str, upload_id: str, etags: tuple[str, ...]
    ) -> CompleteFileResponse:
        """Raises DataContentUnknown, PartsMakeNoSense, StorageUnavailable."""
        content = await self._content(record, sha256)
        if len(etags) != len(part_sizes(content.size)) or any(len(each) > MAX_ETAG_CHARACTERS for each in etags):
            raise PartsMakeNoSense(f"there are {len(part_sizes(content.size))} of them")
        bucket = await self._locations.bucket_of(record.location)
        key = content_key(record.location.key, sha256)
        if record.uploads.get(sha256) == upload_id:
            outcome = await bucket.complete_multipart(key, upload_id, etags)
            if isinstance(outcome, UploadGone):
                facts = await bucket.head(key)  # it may have been completed, and the answer lost
                if not (isinstance(facts, ObjectFacts) and facts.size_bytes == content.size):
                    return CompleteFileResponse(lost=outcome.why)
            elif outcome.exists and (lost := await self._settle(bucket, key, upload_id, content.size)) is not None:
                return CompleteFileResponse(lost=lost)
            await self._records.change(record, lambda known: _without(known, sha256, upload_id))
            return CompleteFileResponse()
        facts = await bucket.head(key)
        is_there = isinstance(facts, ObjectFacts) and facts.size_bytes == content.size
        return CompleteFileResponse(lost="" if is_there else "Another upload has been begun since.")

    async def _settle(self, bucket: Bucket, key: str, upload_id: str, size: int) -> str | None:
        """Of an upload that met an object: what to answer, or None where nothing is left of it.

        An object of another size is not the file. It goes, and the upload is completed when it is asked for again.
        """
        facts = await bucket.head(key)
        if isinstance(facts, ObjectFacts) and facts.size_bytes != size:
            await bucket.delete(key)
            return "Something else was there under its digest, and is deleted."
        return None if await self._abort(bucket, key, upload_id) else ""


def _without(record: DataRecord, sha256: str, upload_id: str) -> DataRecord | None:
    if record.uploads.get(sha256) != upload_id:
        return None
    return replace(record, uploads={each: known for each, known in record.uploads.items() if each != sha256})
