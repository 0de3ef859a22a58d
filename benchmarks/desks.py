"""Who answers the questions of a publishing node in a benchmark, in the orchestrator's place."""

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path

from orchestrator.s3.bucket import Bucket
from orchestrator.s3.multipart import Completed, UploadGone
from shared.protocol.messages import (
    BeginFiles,
    BeginUpload,
    BesideGiven,
    BesideRequest,
    CompleteUpload,
    FilesRequest,
    GrantGiven,
    GrantRequest,
    IndexGrantGiven,
    IndexGrantRequest,
    NodeRequest,
    PartsGiven,
    PartsRequest,
    Registration,
    StoreRequest,
    UploadAnswer,
    UploadBegun,
    UploadCompleted,
    UploadLost,
    decode,
    encode,
    node_requests,
)
from shared.protocol.nodes.inputs import InputsRequest
from shared.protocol.objects import Beside, beside_key, index_key
from shared.protocol.signed_url import CHECKSUM_HEADER, SignedUrl

LIFETIME_SECONDS = 3600
MAX_REQUEST_BYTES = 4 << 20


class Desk(ABC):
    """Gives the rights to write one archive and its index."""

    async def answer(self, request: NodeRequest) -> UploadAnswer:
        match request:
            case GrantRequest():
                return GrantGiven(archive=await self.archive())
            case IndexGrantRequest():
                return IndexGrantGiven(index=await self.index())
            case BesideRequest(beside=what):
                return BesideGiven(url=await self.beside(what))
            case BeginUpload(checksums=checksums):
                return await self.begin(has_checksums=checksums)
            case PartsRequest():
                return PartsGiven(parts=await self.parts(request))
            case CompleteUpload():
                return await self.complete(request)
            case Registration() | InputsRequest() | StoreRequest() | BeginFiles() | FilesRequest():
                raise ValueError("An upload asks for nothing else.")

    @abstractmethod
    async def archive(self) -> SignedUrl: ...

    @abstractmethod
    async def index(self) -> SignedUrl: ...

    @abstractmethod
    async def beside(self, what: Beside) -> SignedUrl: ...

    @abstractmethod
    async def begin(self, *, has_checksums: bool) -> UploadBegun: ...

    @abstractmethod
    async def parts(self, request: PartsRequest) -> tuple[SignedUrl, ...]: ...

    @abstractmethod
    async def complete(self, request: CompleteUpload) -> UploadAnswer: ...


class DiscardDesk(Desk):
    """For a server that takes whatever comes."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def archive(self) -> SignedUrl:
        return _put(self._url)

    async def index(self) -> SignedUrl:
        return _put(index_key(self._url))

    async def beside(self, what: Beside) -> SignedUrl:
        return _put(beside_key(self._url, what))

    async def begin(self, *, has_checksums: bool) -> UploadBegun:
        return UploadBegun(upload_id="upload", checksums=has_checksums)

    async def parts(self, request: PartsRequest) -> tuple[SignedUrl, ...]:
        base = f"{self._url}?uploadId={request.upload_id}&partNumber="
        if request.crc32:
            checked = enumerate(request.crc32, request.first)
            return tuple(_put(f"{base}{number}", {CHECKSUM_HEADER: crc32}) for number, crc32 in checked)
        return tuple(_put(f"{base}{number}") for number in range(request.first, request.first + request.count))

    async def complete(self, request: CompleteUpload) -> UploadAnswer:  # noqa: ARG002  # kept nowhere
        return UploadCompleted()


class BucketDesk(Desk):
    """With the orchestrator's own code. The bucket has been probed, which tells whether objects are written once."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._bucket = bucket
        self._key = key

    async def archive(self) -> SignedUrl:
        return await self._sign(self._key)

    async def index(self) -> SignedUrl:
        return await self._sign(index_key(self._key))

    async def beside(self, what: Beside) -> SignedUrl:
        return await self._sign(beside_key(self._key, what))

    async def begin(self, *, has_checksums: bool) -> UploadBegun:
        has_checksums = has_checksums and bool(self._bucket.compares_checksums)
        upload_id = await self._bucket.begin_multipart(self._key, has_checksums=has_checksums)
        return UploadBegun(upload_id=upload_id, checksums=has_checksums)

    async def parts(self, request: PartsRequest) -> tuple[SignedUrl, ...]:
        if request.crc32:
            checked = dict(enumerate(request.crc32, request.first))
            return await self._bucket.sign_checked_parts(self._key, request.upload_id, checked)
        return await self._bucket.sign_parts(self._key, request.upload_id, request.first, request.count)

    async def complete(self, request: CompleteUpload) -> UploadAnswer:
        match await self._bucket.complete_multipart(self._key, request.upload_id, request.etags, request.crc32):
            case Completed():
                return UploadCompleted()
            case UploadGone(why=why):
                return UploadLost(message=why)

    async def _sign(self, key: str) -> SignedUrl:
        return await self._bucket.sign_put(key, create_only=self._bucket.health.outcome.create_only)


async def serve(desk: Desk, path: Path) -> asyncio.Server:
    """Answer on this Unix socket: one line a request, one line an answer, both as they are on the wire."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                writer.write(encode(await desk.answer(decode(node_requests, line))) + b"\n")
                await writer.drain()
        finally:
            writer.close()

    return await asyncio.start_unix_server(answer, path, limit=MAX_REQUEST_BYTES)


def _put(url: str, headers: dict[str, str] | None = None) -> SignedUrl:
    return SignedUrl(method="PUT", url=url, headers=headers or {}, lifetime_seconds=LIFETIME_SECONDS)
