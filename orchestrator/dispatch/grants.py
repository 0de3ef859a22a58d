"""Grants: which node may write which object, in assignments and when a node asks.

An upload in parts is begun and completed here. Its id is in the execution's record before any URL of a part is given,
so that another orchestrator goes on with it and what is left of it can be aborted. A node may say that S3 has lost one
and have another begun; three are open at most, so that each is in the record until it is aborted.
"""

import asyncio
from collections.abc import Iterator
from weakref import WeakValueDictionary

import msgspec

from orchestrator.audit.events import AuditEvent
from orchestrator.audit.recorder import Audit, AuditUnwritable
from orchestrator.dispatch.abandoned_uploads import AbandonedUploads
from orchestrator.dispatch.asked_uploads import checked_crc32, may_be_file
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord
from orchestrator.s3.locations import Locations
from orchestrator.s3.multipart import Completed, UploadGone
from orchestrator.s3.signed_events import refused_to_node, signed_for_node
from orchestrator.s3.verification import ObjectFacts, md5_of_parts
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from shared.errors import GrantRefused, RevisionConflict, StorageUnavailable
from shared.ids import ExecutionId, NodeId
from shared.protocol.messages import (
    BeginFiles,
    BeginUpload,
    BesideGiven,
    BesideRequest,
    CompleteUpload,
    FilesBegun,
    FilesGiven,
    FilesRequest,
    GrantGiven,
    GrantRequest,
    IndexGrantGiven,
    IndexGrantRequest,
    PartsGiven,
    PartsRequest,
    RequestRefused,
    UploadAnswer,
    UploadBegun,
    UploadCompleted,
    UploadLost,
    UploadRequest,
)
from shared.protocol.objects import Beside, beside_key, index_key, is_plain, plain_folder
from shared.protocol.results.content_manifest import MOST_FILES
from shared.protocol.results.file_urls import file_urls
from shared.protocol.results.object_names import MAX_KEY_BYTES
from shared.protocol.s3_errors import is_of_keys
from shared.protocol.signed_url import SignedUrl

CONFIRM_SECONDS = 8.0
"""For the request by which it is found out whose fault a refusal is. A node asks again after 10 s."""
MAX_PARTS = 10_000
MAX_URLS = 64
"""In one answer, which has to fit into a message."""
MAX_ETAG_CHARACTERS = 100
MOST_OPEN = 3
"""How many uploads of one execution may be open: the one that goes on, and others that were given up for lost."""
TRIES = 8
FAILURES_BEFORE_LOOK = 3
"""After so many failed completions, and as many more, it is looked whether the upload is there."""
MOST_FAILING = 10_000


class TooManyUploads(GrantRefused):
    """Worth asking again: those that were given up are aborted as soon as S3 allows that."""

    retryable = True

    def __init__(self, execution: str) -> None:
        super().__init__(
            f"Of execution {execution} {MOST_OPEN} uploads in parts are open; another one is not begun yet.",
            hint="Allow the orchestrator s3:AbortMultipartUpload, so that uploads that were given up can be aborted;"
            " `tarpon agent uploads` lists them.",
        )


class Grants:
    """Gives rights to PUT archives, their parts and their indexes, or files, each for one object.

    A plain result may have `most_files`.
    """

    def __init__(
        self,
        model: Model,
        store: Store,
        locations: Locations,
        abandoned: AbandonedUploads,
        audit: Audit,
        *,
        most_files: int = MOST_FILES,
    ) -> None:
        self._most_files = most_files
        self._audit = audit
        self._model = model
        self._store = store
        self._locations = locations
        self._abandoned = abandoned
        self._failures: dict[str, int] = {}
        """How often in a row the completion of an upload has failed, by its id."""
        self._completing: WeakValueDictionary[ExecutionId, asyncio.Lock] = WeakValueDictionary()
        self._beginning: WeakValueDictionary[ExecutionId, asyncio.Lock] = WeakValueDictionary()

    async def archive(self, location: Location) -> SignedUrl:
        """The right to PUT this archive. Raises StorageUnavailable if nothing can be signed at present."""
        bucket = await self._locations.bucket_of(location)
        return await bucket.sign_put(location.key, create_only=bucket.health.create_only)

    async def _index(self, location: Location) -> SignedUrl:
        """The right to PUT the index beside it, which may replace an earlier one: readers know it by its digest."""
        bucket = await self._locations.bucket_of(location)
        return await bucket.sign_put(index_key(location.key), create_only=False)

    async def beside(self, location: Location, what: Beside) -> SignedUrl:
        """The same of what else lies beside it."""
        bucket = await self._locations.bucket_of(location)
        return await bucket.sign_put(beside_key(location.key, what), create_only=False)

    async def answer(self, sender: NodeId, request: UploadRequest) -> UploadAnswer:
        """Answer the node that the subject names. Nothing that it says about itself counts."""
        try:
            record, location = self._entitled(sender, request.execution_id)
            answer = await self._answered(record, location, request)
            await self._audit.record(*self._signed(record, location, request, answer))
        except GrantRefused as error:
            asked = type(request).__name__
            self._audit.note(refused_to_node(sender, request.execution_id, operation=asked, code=error.code))
            return RequestRefused(code=error.code, message=error.message, retryable=error.retryable)
        except (StorageUnavailable, AuditUnwritable) as error:
            return RequestRefused(code=error.code, message=error.message, retryable=error.retryable)
        return answer

    async def _answered(self, record: ExecutionRecord, location: Location, request: UploadRequest) -> UploadAnswer:
        if not _is_for_all(request) and is_plain(location.key) != isinstance(request, BeginFiles | FilesRequest):
            raise GrantRefused(f"The result of execution {record.id} is published in another way.")
        match request:
            case GrantRequest(s3_code=code):
                await self._vouch(location, code)
                return GrantGiven(archive=await self.archive(location))
            case IndexGrantRequest(s3_code=code):
                await self._vouch(location, code)
                return IndexGrantGiven(index=await self._index(location))
            case BesideRequest(beside=what, s3_code=code):
                await self._vouch(location, code)
                return BesideGiven(url=await self.beside(location, what))
            case BeginUpload():
                return await self._begin(record, location, request)
            case PartsRequest():
                return await self._parts(record, location, request)
            case CompleteUpload():
                return await self._complete(record, location, request)
            case BeginFiles():
                await self._begin_files(record)
                room = MAX_KEY_BYTES - len(plain_folder(location.key).encode())
                return FilesBegun(most_files=self._most_files, most_key_bytes=room)
            case FilesRequest():
                return await self._files(record, location, request)

    def signed_archive(self, record: ExecutionRecord, url: SignedUrl) -> AuditEvent:
        """What the audit log tells of the right to PUT an archive, which it has to hold before the node has it."""
        assert record.location is not None
        namespace = self._namespace(record)
        return signed_for_node(record, record.location, url, operation="archive", namespace=namespace)

    def signed_beside(self, record: ExecutionRecord, what: Beside, url: SignedUrl) -> AuditEvent:
        """The same of what lies beside it."""
        assert record.location is not None
        namespace, key = self._namespace(record), beside_key(record.location.key, what)
        return signed_for_node(record, record.location, url, operation=what, namespace=namespace, key=key)

    def _signed(
        self, record: ExecutionRecord, location: Location, request: UploadRequest, answer: UploadAnswer
    ) -> Iterator[AuditEvent]:
        namespace = self._namespace(record)
        match answer:
            case GrantGiven(archive=archive):
                yield self.signed_archive(record, archive)
            case IndexGrantGiven(index=index):
                below = index_key(location.key)
                yield signed_for_node(record, location, index, operation="index", namespace=namespace, key=below)
            case BesideGiven(url=url) if isinstance(request, BesideRequest):
                yield self.signed_beside(record, request.beside, url)
            case FilesGiven(signatures=files) as given if isinstance(request, FilesRequest):
                first = file_urls(request.files[:1], msgspec.structs.replace(given, signatures=files[:1]))[0]
                yield signed_for_node(
                    record,
                    location,
                    first,
                    operation="files",
                    namespace=namespace,
                    key=f"{plain_folder(location.key)}{request.files[0].key}",
                    count=len(files),
                )
            case PartsGiven(parts=parts) if parts:
                yield signed_for_node(
                    record,
                    location,
                    parts[0],
                    operation="parts",
                    namespace=namespace,
                    first=request.first if isinstance(request, PartsRequest) else 0,
                    count=len(parts),
                )

    def _namespace(self, record: ExecutionRecord) -> str:
        entry = self._model.jobs.get(record.job_id)
        return entry.job.namespace if entry is not None else ""

    def _entitled(self, sender: NodeId, execution: ExecutionId) -> tuple[ExecutionRecord, Location]:
        record = self._model.execution(execution)
        location = entitled(sender, execution, record)
        assert record is not None
        if not self._model.may_hold(record):
            raise GrantRefused(f"Execution {record.id} is not this node's any more.")
        if self._model.is_surplus(record):
            raise GrantRefused(f"Execution {record.id} is being stopped.")
        return record, location

    async def _vouch(self, location: Location, s3_code: str) -> None:
        """Whether a refusal is our fault is found out before another URL is given. Raises StorageUnavailable if so.

        `s3_code` is what the node says that S3 said to the last one.
        """
        if not is_of_keys(s3_code):
            return
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                problem = await (await self._locations.bucket_of(location)).problem()
        except TimeoutError:
            raise StorageUnavailable("S3 refuses uploads, and why is not known yet: it does not answer.") from None
        if problem is not None:
            raise StorageUnavailable(f"S3 refuses uploads: {problem.message}", hint=problem.hint)

    async def _begin(self, before: ExecutionRecord, location: Location, request: BeginUpload) -> UploadBegun:
        """One at a time: whoever asks meanwhile finds the upload begun.

        One with checksums is lost to a node of an earlier version, which tells none.
        """
        async with self._beginning.setdefault(before.id, asyncio.Lock()):
            record = self._model.execution(before.id) or before
            if record.upload_id not in {"", request.lost} and (request.checksums or not record.upload_has_checksums):
                return UploadBegun(upload_id=record.upload_id, checksums=record.upload_has_checksums)
            aborted = await self._make_room(record, location)
            bucket = await self._locations.bucket_of(location)
            has_checksums = request.checksums and bool(bucket.compares_checksums)
            begun = UploadBegun(
                upload_id=await bucket.begin_multipart(location.key, has_checksums=has_checksums),
                checksums=has_checksums,
            )
            try:
                await self._keep(record, begun, aborted)
            except BaseException:
                self._abandoned.add(location, begun.upload_id)
                raise
            return begun

    async def _begin_files(self, before: ExecutionRecord) -> None:
        """That there may be objects is known before there is a URL for one. They are one upload, of an id of ours."""
        async with self._beginning.setdefault(before.id, asyncio.Lock()):
            record = self._model.execution(before.id) or before
            if record.upload_id != _files_of(record):
                await self._keep(record, UploadBegun(upload_id=_files_of(record)), "")

    async def _files(self, record: ExecutionRecord, location: Location, request: FilesRequest) -> FilesGiven:
        await self._vouch(location, request.s3_code)
        if record.upload_id != _files_of(record):
            raise GrantRefused(f"That files of execution {record.id} come was not told.")
        folder = plain_folder(location.key)
        for file in request.files:
            if not may_be_file(folder, file):
                raise GrantRefused("A file that is to be sent makes no sense, by its key, size or digest.")
        return await (await self._locations.bucket_of(location)).sign_files(folder, request.files)

    async def _make_room(self, record: ExecutionRecord, location: Location) -> str:
        """The oldest upload that was given up, which is aborted if there would be too many. Raises TooManyUploads."""
        if len({record.upload_id, *record.left_uploads} - {""}) < MOST_OPEN:
            return ""
        oldest = record.left_uploads[0]
        try:
            bucket = await self._locations.bucket_of(location)
            await bucket.abort_multipart(location.key, oldest)
        except StorageUnavailable as error:
            raise TooManyUploads(record.id) from error
        self._abandoned.add(location, oldest)  # a part that is on its way may still arrive
        return oldest

    async def _keep(self, before: ExecutionRecord, begun: UploadBegun, aborted: str) -> None:
        """Write the id into the record as it is now: it has often moved since, by the report of the task's end.

        Raises RevisionConflict where another upload was begun meanwhile; asked again, that one's id is the answer.
        """
        for _ in range(TRIES):
            record = self._model.execution(before.id)
            if record is None or record.is_over_there:
                raise GrantRefused(f"Execution {before.id} has ended.")
            if record.upload_id != before.upload_id:
                break
            left = tuple(each for each in (*record.left_uploads, record.upload_id) if each not in {"", aborted})
            after = msgspec.structs.replace(
                record, upload_id=begun.upload_id, upload_has_checksums=begun.checksums, left_uploads=left
            )
            if await changes.update(self._store, after):
                return
        raise RevisionConflict(before.key)

    async def _parts(self, record: ExecutionRecord, location: Location, request: PartsRequest) -> UploadAnswer:
        await self._vouch(location, request.s3_code)
        if not record.upload_id or request.upload_id != record.upload_id:
            return UploadLost(message="Another upload has been begun since.")
        if not 1 <= request.first <= MAX_PARTS:
            raise GrantRefused(f"There is no part {request.first} of an upload.")
        count = max(1, min(request.count, MAX_URLS, MAX_PARTS - request.first + 1))
        bucket = await self._locations.bucket_of(location)
        if not record.upload_has_checksums:
            return PartsGiven(parts=await bucket.sign_parts(location.key, record.upload_id, request.first, count))
        if not request.crc32:
            return UploadLost(message="It was begun by a node of a later version, which told checksums.")
        checksums = dict(enumerate(checked_crc32(request.crc32[:count]), request.first))
        return PartsGiven(parts=await bucket.sign_checked_parts(location.key, record.upload_id, checksums))

    async def _complete(self, record: ExecutionRecord, location: Location, request: CompleteUpload) -> UploadAnswer:
        if not record.upload_id or request.upload_id != record.upload_id:
            return UploadLost(message="Another upload has been begun since.")
        if not 1 <= len(request.etags) <= MAX_PARTS or any(len(each) > MAX_ETAG_CHARACTERS for each in request.etags):
            raise GrantRefused("The list of parts makes no sense.")
        crc32 = checked_crc32(request.crc32) if record.upload_has_checksums else ()
        if len(crc32) not in {0, len(request.etags)}:
            raise GrantRefused("The list of checksums makes no sense.")
        # S3 may take minutes, and a node asks again before that: it then finds the upload completed.
        async with self._completing.setdefault(record.id, asyncio.Lock()):
            match await self._completed(location, record.upload_id, request.etags, crc32):
                case Completed(exists):
                    if exists:
                        await self._leave(record)
                    return UploadCompleted()
                case UploadGone(why):
                    # It may have been completed, and the answer lost.
                    facts = await (await self._locations.bucket_of(location)).head(location.key)
                    if isinstance(facts, ObjectFacts) and facts.etag == md5_of_parts(request.etags):
                        return UploadCompleted()
                    return UploadLost(message=why)

    async def _completed(
        self, location: Location, upload_id: str, etags: tuple[str, ...], crc32: tuple[str, ...]
    ) -> Completed | UploadGone:
        """What completing comes to. Raises StorageUnavailable.

        Where it fails again and again the upload may be gone: Ceph says of one that was aborted, as by a life-cycle
        rule, that its completion is in progress, for ever.
        """
        failures = self._failures.pop(upload_id, 0)
        bucket, key = await self._locations.bucket_of(location), location.key
        try:
            return await bucket.complete_multipart(key, upload_id, etags, crc32)
        except StorageUnavailable as error:
            if failures + 1 == FAILURES_BEFORE_LOOK:
                if len(etags) < MAX_PARTS and not await bucket.has_multipart(key, upload_id, len(etags) + 1):
                    return UploadGone(f"S3 does not know the upload any more. {error.message}")
            elif len(self._failures) < MOST_FAILING:
                self._failures[upload_id] = failures + 1
            raise

    async def _leave(self, before: ExecutionRecord) -> None:
        """Note that nothing comes of the upload. Raises RevisionConflict where the record moves: asked again, it is."""
        record = self._model.execution(before.id)
        if record is not None and record.upload_id not in record.left_uploads:
            left = (*record.left_uploads, record.upload_id)
            await self._store.update(record.key, msgspec.structs.replace(record, left_uploads=left))


def _is_for_all(request: UploadRequest) -> bool:
    """Whether it makes sense for archives and for plain results, whose manifest is the result."""
    return isinstance(request, GrantRequest) or getattr(request, "beside", None) is Beside.PROVENANCE


def _files_of(record: ExecutionRecord) -> str:
    return f"files-{record.id}"


def entitled(sender: NodeId, execution: ExecutionId, record: ExecutionRecord | None) -> Location:
    """Where this node may publish this execution's result. Raises GrantRefused.

    The execution must exist, be this node's, be going on, and have a result. Whether it exists is not told to a node
    that does not hold it. An execution that is New by the record may be ended on its node, whose report is under way.
    """
    if record is None or record.node_id != sender:
        raise GrantRefused(f"Node {sender} holds no execution {execution}.")
    if record.is_over_there:
        raise GrantRefused(f"Execution {execution} is {record.state}, and its node is done with it.")
    if record.location is None:
        raise GrantRefused(f"Execution {execution} has no publisher.")
    return record.location
