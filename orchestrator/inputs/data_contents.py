"""The contents of sent data: which are missing in the bucket, the URLs to send them by, and whether all are there.

Contents are kept for each namespace by the SHA-256 of their bytes. That of one request is signed into its URL, so that
S3 itself refuses other bytes, where it knows the header. Where it does not, and of files that are sent in parts, what
is there under a digest is not believed: a node compares the bytes, and finds damage in what somebody of the same
namespace has sent under a digest of something else.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from orchestrator.inputs.data_records import DataRecords
from orchestrator.inputs.manifests import ManifestMissing, Manifests, Tree
from orchestrator.rules.records import DataRecord, SweepRecord
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import ObjectFacts
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.jobs.inputs.manifest import DataFile
from shared.protocol import subjects
from shared.protocol.namespaces.rest_data import FileOfData, MissingContent, MissingResponse, SignedPut
from shared.protocol.objects import content_key
from shared.protocol.signed_url import SignedUrl
from shared.runtime.aio import pipelined

ONE_PUT_BYTES = 64 << 20
"""What is larger is sent in parts."""
PAGE = 500
LOOKS_AT_ONCE = 32
"""At the bucket, of all who send: signing and asking takes the time of jobs."""
FINISH_SECONDS = 8.0
"""For one answer to whoever wants all checked; the next one goes on."""
MOST_REMEMBERED = 256


class Finished(msgspec.Struct, frozen=True, kw_only=True):
    """How many contents are missing, and how many were seen; the record is ready only once all were."""

    record: DataRecord
    missing: int = 0
    checked: int = 0


class _Checked(msgspec.Struct, frozen=True):
    """So many of the first contents were there, while the sweep of this number was the last one."""

    sweep: int
    count: int = 0


class DataContents:
    def __init__(self, records: DataRecords, manifests: Manifests, store: Store, locations: Locations) -> None:
        self._records = records
        self._manifests = manifests
        self._store = store
        self._locations = locations
        self._looking = asyncio.Semaphore(LOOKS_AT_ONCE)
        self._checked: OrderedDict[str, _Checked] = OrderedDict()

    def __repr__(self) -> str:
        return f"<DataContents of {self._records!r}>"

    async def tree(self, record: DataRecord) -> Tree:
        """Its files, which are what was said of them. Raises ManifestMissing, ManifestInvalid, DataFileTooLarge."""
        tree = await self._manifests.read(record)
        self._records.check_manifest(record, tree.manifest)
        return tree

    async def sign_manifest(self, record: DataRecord) -> SignedPut | None:
        """The right to write the manifest; None where it is there."""
        if await self._manifests.is_there(record):
            return None
        bucket = await self._locations.bucket_of(record.location)
        url = await bucket.sign_content(
            record.location.key, size_bytes=record.manifest_bytes, sha256=record.digest, create_only=False
        )
        return signed_put(url)

    async def missing(self, record: DataRecord, first: int) -> MissingResponse:
        """Raises as `tree`, and StorageUnavailable. What is there with another size is replaced."""
        tree = await self.tree(record)
        page = tree.contents[max(0, first) : max(0, first) + PAGE]
        facts = await self._look(record, page)
        bucket = await self._locations.bucket_of(record.location)
        missing = [
            MissingContent(
                sha256=each.sha256,
                size=each.size,
                put=await _put(bucket, record, each, create_only=each.sha256 not in facts),
            )
            for each in page
            if not _is_there(each, facts.get(each.sha256))
        ]
        after = max(0, first) + len(page)
        following = after if page and after < len(tree.contents) else 0
        return MissingResponse(missing=tuple(missing), next=following, total=len(tree.contents))

    async def finish(self, record: DataRecord) -> Finished:
        """Look at all contents, some at each call, and make the record ready once all are there.

        A sweep of deleted data may take away what was seen: what was seen before one began is looked at again.
        """
        sweep = await self._sweep()
        if sweep.is_on:
            return Finished(record=record)
        tree = await self.tree(record)
        if not await self._manifests.is_there(record):
            raise ManifestMissing(record.digest)
        checked = self._progress(record, sweep)
        deadline = time.monotonic() + FINISH_SECONDS
        while checked.count < len(tree.contents) and time.monotonic() < deadline:
            page = tree.contents[checked.count : checked.count + PAGE]
            facts = await self._look(record, page)
            missing = sum(not _is_there(each, facts.get(each.sha256)) for each in page)
            if missing:
                return Finished(record=record, missing=missing, checked=checked.count)
            checked = _Checked(sweep.number, checked.count + len(page))
            self._remember(record, checked)
        if checked.count < len(tree.contents) or await self._sweep() != sweep:
            return Finished(record=record, checked=checked.count)
        self._checked.pop(record.key, None)
        return Finished(record=await self._records.change(record, _ready), checked=checked.count)

    async def files(self, record: DataRecord, first: int, count: int) -> tuple[tuple[FileOfData, ...], int]:
        """Some of the files with the URLs to read them by, and where to go on."""
        tree = await self.tree(record)
        page = tree.manifest.files[max(0, first) : max(0, first) + count]
        bucket = await self._locations.bucket_of(record.location)
        found = [
            FileOfData(file=each, url=(await bucket.sign_get(content_key(record.location.key, each.sha256))).url)
            for each in page
        ]
        after = max(0, first) + len(page)
        return tuple(found), after if page and after < len(tree.manifest.files) else 0

    async def _sweep(self) -> SweepRecord:
        """As it is stored now: whoever sweeps marks it before it looks which data there is."""
        found = await self._store.read(subjects.SWEEP_RECORD)
        return found if isinstance(found, SweepRecord) else SweepRecord(number=0)

    def _progress(self, record: DataRecord, sweep: SweepRecord) -> _Checked:
        known = self._checked.get(record.key)
        return known if known is not None and known.sweep == sweep.number else _Checked(sweep.number)

    def _remember(self, record: DataRecord, checked: _Checked) -> None:
        self._checked[record.key] = checked
        self._checked.move_to_end(record.key)
        if len(self._checked) > MOST_REMEMBERED:
            self._checked.popitem(last=False)

    async def _look(self, record: DataRecord, page: Sequence[DataFile]) -> dict[str, ObjectFacts]:
        """What is there of these contents."""
        bucket, found = await self._locations.bucket_of(record.location), dict[str, ObjectFacts]()

        async def look(content: DataFile) -> None:
            async with self._looking:
                facts = await bucket.head(content_key(record.location.key, content.sha256))
            if isinstance(facts, ObjectFacts):
                found[content.sha256] = facts

        await pipelined(page, look, at_once=LOOKS_AT_ONCE)
        return found


async def _put(bucket: Bucket, record: DataRecord, content: DataFile, *, create_only: bool) -> SignedPut | None:
    if content.size > ONE_PUT_BYTES:
        return None
    key = content_key(record.location.key, content.sha256)
    url = await bucket.sign_content(key, size_bytes=content.size, sha256=content.sha256, create_only=create_only)
    return signed_put(url)


def signed_put(url: SignedUrl) -> SignedPut:
    return SignedPut(url=url.url, headers=url.headers)


def _is_there(content: DataFile, facts: ObjectFacts | None) -> bool:
    return facts is not None and facts.size_bytes == content.size


def _ready(record: DataRecord) -> DataRecord:
    now = now_ns()
    return record if record.ready else msgspec.structs.replace(record, ready=now, last_use=now)
