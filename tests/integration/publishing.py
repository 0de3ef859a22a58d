"""A result on its way through an S3 that misbehaves: the node's side and the orchestrator's, without NATS (no tests).

What the orchestrator decides and signs is its own code; its records alone are kept in memory.
"""

import asyncio
import functools
import hashlib
import os
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from compute.upload.grants import ExecutionGrants
from compute.upload.plain import PlainUpload
from compute.upload.put import upload_session
from compute.upload.shared_limits import SharedLimits
from compute.upload.upload import NotSent, Sent, Upload
from orchestrator.dispatch.abandoned_uploads import AbandonedUploads
from orchestrator.dispatch.grants import Grants
from orchestrator.rules.location import Location
from orchestrator.rules.records import ExecutionRecord, Record, SpecRecord
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import ObjectFacts, Verdict, matches
from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.errors import RevisionConflict
from shared.ids import ExecutionId, JobId, NodeId, execution_key, new_execution_id
from shared.jobs.capacity import Capacity
from shared.jobs.namespaces import DEFAULT_NAMESPACE
from shared.jobs.states import ExecutionState
from shared.messaging.transport import Connection
from shared.protocol import messages, subjects
from shared.protocol.messages import GrantRequest, NodeRequestAnswer, RequestRefused, UploadRequest
from shared.protocol.nodes.inputs import InputsRequest
from shared.protocol.objects import Beside, content_manifest_key, index_key
from shared.protocol.signed_url import Grant, SignedUrl
from shared.runtime.aio import background
from tests.audit_logs import audit_in
from tests.builders import new_execution, new_job, new_job_record, new_task
from tests.documented_policies import give_rights
from tests.faulty_s3 import FaultyS3
from tests.servers import REGION, Keys, S3Service

PART_BYTES = 5 << 20
"""The least that S3 takes."""
SECONDS = 30.0


class RecordsInMemory(Store):
    """Conditional writes as JetStream makes them. `before_write` is run before the next one, as another writer."""

    def __init__(self, model: Model) -> None:
        super().__init__(Connection(["nats://127.0.0.1:1"]), model)
        self.before_write: Callable[[], None] | None = None
        self._revisions = 0
        self._stored: dict[str, tuple[Record, int]] = {}

    def feed(self, key: str, record: Record) -> None:
        """Stored, and known to the model."""
        self._put(key, record)
        self.model.apply(key, *self._stored[key])

    def store_elsewhere(self, key: str, record: Record) -> None:
        """Stored by somebody else: the model does not know it yet."""
        self._put(key, record)

    async def _write(self, key: str, record: Record, revision: int) -> None:
        await asyncio.sleep(0)
        hook, self.before_write = self.before_write, None
        if hook is not None:
            hook()
        if self._stored[key][1] != revision:
            raise RevisionConflict(key)
        self.feed(key, record)

    async def read(self, key: str) -> Record | None:
        self.model.apply(key, *self._stored[key])
        return self._stored[key][0]

    def _put(self, key: str, record: Record) -> None:
        self._revisions += 1
        self._stored[key] = record, self._revisions


class Publishing:
    """One execution of node n-1 whose task has ended. `publish` does what its node does next."""

    def __init__(
        self,
        s3: FaultyS3,
        server: S3Service,
        bucket: Bucket,
        uploading: SharedLimits,
        folder: Path,
        *,
        is_plain: bool = False,
    ) -> None:
        self.s3 = s3
        self.is_plain = is_plain
        self.server = server
        self.bucket = bucket
        self.uploading = uploading
        self.scratch = folder / "execution"
        self.root = self.scratch / "result"
        self.root.mkdir(parents=True)
        self.locations = Locations(bucket)
        self.model = Model(max_attempts=3)
        self.store = RecordsInMemory(self.model)
        self.abandoned = AbandonedUploads(self.model, self.store, self.locations)
        self.desk = Grants(self.model, self.store, self.locations, self.abandoned, audit_in(folder / "audit"))
        self.node = NodeId("n-1")
        self.asked: list[UploadRequest] = []
        self.understood: Callable[[UploadRequest], UploadRequest] = lambda request: request
        """As an orchestrator of another version understands it."""
        self.told: list[str] = []
        self.beside: dict[str, SignedUrl] = {}
        """As it comes with the assignment."""
        job = JobId(f"j-{uuid.uuid4().hex[:8]}")
        key = execution_key(job, 1, 0, 0)
        self.key = subjects.execution_record(key)
        self.execution: ExecutionId = new_execution_id(key)
        self._feed(job)

    def _feed(self, job: JobId) -> None:
        task = new_task(publisher="s3managed")
        spec = SpecRecord(job=new_job(tasks=(task,)))
        record = new_job_record(job, name="a-job")
        execution = new_execution(
            ExecutionState.PUBLISHING,
            of=job,
            on=self.node,
            id=self.execution,
            resources=Capacity(),
            location=self.locations.locate(DEFAULT_NAMESPACE, job, self.execution, self.is_plain),
        )
        self.store.feed(subjects.spec_record(job, 1), spec)
        self.store.feed(subjects.job_record(job), record)
        self.store.feed(self.key, execution)

    # ---- the orchestrator's side ------------------------------------------------------------------------------------

    @property
    def record(self) -> ExecutionRecord:
        record = self.model.execution(self.execution)
        assert record is not None
        return record

    @property
    def object_key(self) -> str:
        assert self.record.location is not None
        return self.record.location.key

    async def ask(self, request: UploadRequest) -> NodeRequestAnswer:
        """As a question and its answer travel, and as orchestrator.dispatch.node_requests answers what has moved."""
        self.asked.append(request)
        heard = messages.decode(messages.node_requests, messages.encode(self.understood(request)))
        assert not isinstance(heard, messages.Registration | InputsRequest | messages.StoreRequest)
        answer: NodeRequestAnswer
        try:
            answer = await self.desk.answer(self.node, heard)
        except RevisionConflict as error:
            answer = RequestRefused(code=error.code, message=error.message, retryable=True)
        return messages.decode(messages.node_request_answers, messages.encode(answer))

    # ---- the node's side --------------------------------------------------------------------------------------------

    def fill(self, *, mebibytes: int, files: int = 4) -> None:
        """With bytes that do not compress."""
        for number in range(files):
            (self.root / f"file{number}").write_bytes(os.urandom((mebibytes << 20) // files))

    def upload(self, first: Grant | None = None, **more: Any) -> Upload:
        grants = ExecutionGrants(self.execution, self.ask, first)
        grants.offer_beside(self.beside)
        told = self.told.append
        kind = PlainUpload if self.is_plain else Upload
        return kind(self.execution, self.root, self.scratch, grants, self.uploading, on_waiting=told, **more)

    async def first_grant(self) -> Grant:
        """As it comes with the assignment."""
        assert self.record.location is not None
        self.beside = {Beside.MANIFEST: await self.desk.beside(self.record.location, Beside.MANIFEST)}
        return Grant(await self.desk.archive(self.record.location))

    async def publish(self, **more: Any) -> tuple[Upload, Sent | NotSent]:
        upload = self.upload(await self.first_grant(), **more)
        async with asyncio.timeout(SECONDS):
            return upload, await upload.run()

    async def published(self) -> tuple[Upload, Sent]:
        """Publish, and see that what is in the bucket is what was packed, and is found to be so."""
        upload, end = await self.publish()
        assert isinstance(end, Sent), end
        await self.check(end)
        return upload, end

    async def check(self, end: Sent, *, opaque: bool = False) -> None:
        """`opaque`: the service may give ETags that are no digests of S3's kind."""
        body = await asyncio.to_thread(self.stored)
        assert (len(body), hashlib.sha256(body).hexdigest()) == (end.facts.size_bytes, end.facts.sha256)
        assert self.record.location is not None
        facts = await self.bucket.head(self.object_key)
        assert isinstance(facts, ObjectFacts)
        fine = {Verdict.VERIFIED, *([Verdict.ETAG_OPAQUE] if opaque else [])}
        assert matches(facts, end.facts.size_bytes, end.facts.md5) in fine
        if end.facts.index_bytes:
            index = await asyncio.to_thread(self.stored, index_key(self.object_key))
            assert (len(index), hashlib.sha256(index).hexdigest()) == (end.facts.index_bytes, end.facts.index_sha256)
        assert end.facts.content_digest
        if end.facts.manifest_bytes:
            manifest = await asyncio.to_thread(self.stored, content_manifest_key(self.object_key))
            told = (end.facts.manifest_bytes, end.facts.manifest_sha256)
            assert (len(manifest), hashlib.sha256(manifest).hexdigest()) == told

    # ---- behind the scenes ------------------------------------------------------------------------------------------

    @property
    def client(self) -> Any:
        return self.server.client()

    def stored(self, key: str = "") -> bytes:
        body: bytes = self.client.get_object(Bucket=self.bucket.location.bucket, Key=key or self.object_key)[
            "Body"
        ].read()
        return body

    def uploads(self) -> list[str]:
        """The ids of the execution's unfinished uploads."""
        listed = self.client.list_multipart_uploads(Bucket=self.bucket.location.bucket)
        return [each["UploadId"] for each in listed.get("Uploads", []) if each["Key"] == self.object_key]

    def abort_uploads(self) -> None:
        """As a life-cycle rule of the bucket does."""
        for each in self.uploads():
            self.client.abort_multipart_upload(Bucket=self.bucket.location.bucket, Key=self.object_key, UploadId=each)

    def requests(self, kind: type[UploadRequest] = GrantRequest) -> int:
        return sum(isinstance(each, kind) for each in self.asked)


def keys_from(keys: list[Keys]) -> CredentialSource:
    """The first ones, until they are doubted; then the next."""

    def load() -> Snapshot:
        now = keys.pop(0) if len(keys) > 1 else keys[0]
        return Snapshot(
            access_key=now.access,
            secret_key=now.secret,
            token=None,
            expires_at=None,
            loaded_at=datetime.now(UTC),
            source="test",
        )

    return CredentialSource(load)


@functools.cache
def _bucket_of(server: S3Service) -> str:
    """One for all tests, which keep apart by the names of their executions: making one takes a third of a second."""
    return server.create_bucket()


@asynccontextmanager
async def publishing(
    server: S3Service,
    folder: Path,
    *,
    part_bytes: int = PART_BYTES,
    keys: list[Keys] | None = None,
    url_seconds: float = 3600.0,
    is_plain: bool = False,
    policies: tuple[str, ...] = (),
) -> AsyncIterator[Publishing]:
    """With the orchestrator's probe done and its uploads begun and completed through the proxy too.

    With `policies`, files of deploy/, it has their rights, in a bucket of its own.
    """
    name = await asyncio.to_thread(server.create_bucket) if policies else await asyncio.to_thread(_bucket_of, server)
    if policies:
        await asyncio.to_thread(give_rights, server, name, *policies)
    async with FaultyS3(server.endpoint).serving() as s3, upload_session() as http:
        location = Location(bucket=name, key="results", region=REGION, endpoint=s3.endpoint)
        credentials = keys_from([server.orchestrator] if keys is None else keys)
        uploading = SharedLimits(http, compressing=1, part_bytes=part_bytes, first_pause_seconds=0.01)
        try:
            async with Bucket(location, expiration_seconds=url_seconds, credentials=credentials) as bucket:
                made = Publishing(s3, server, bucket, uploading, folder, is_plain=is_plain)
                await bucket.health.check()
                s3.seen.clear()
                async with made.locations, background(abandoned=made.abandoned.run()):
                    with pytest.MonkeyPatch.context() as patch:
                        patch.setattr("compute.archive.part_size.PART_BYTES", part_bytes)
                        yield made
        finally:
            uploading.short.close()
            await asyncio.to_thread(uploading.close)
