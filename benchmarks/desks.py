"""Who answers the questions of a publishing node in a benchmark, in the orchestrator's place."""

import asyncio
from abc import ABC, abstractmethod
from pathlib import Path

from orchestrator.s3.bucket import Bucket
from orchestrator.s3.multipart import Completed, UploadGone
from shared.protocol.messages import (
    BeginUpload,
    CompleteUpload,
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
from shared.protocol.objects import index_key
from shared.protocol.signed_url import SignedUrl

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
            case BeginUpload():
                return UploadBegun(upload_id=await self.begin())
            case PartsRequest(upload_id=upload_id, first=first, count=count):
                return PartsGiven(parts=await self.parts(upload_id, first, count))
            case CompleteUpload(upload_id=upload_id, etags=etags):
                return await self.complete(upload_id, etags)
            case Registration() | InputsRequest() | StoreRequest():
                raise ValueError("An upload asks for nothing else.")

    @abstractmethod
    async def archive(self) -> SignedUrl: ...

    @abstractmethod
    async def index(self) -> SignedUrl: ...

    @abstractmethod
    async def begin(self) -> str: ...

    @abstractmethod
    async def parts(self, upload_id: str, first: int, count: int) -> tuple[SignedUrl, ...]: ...

    @abstractmethod
    async def complete(self, upload_id: str, etags: tuple[str, ...]) -> UploadAnswer: ...


class DiscardDesk(Desk):
    """For a server that takes whatever comes."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def archive(self) -> SignedUrl:
        return _put(self._url)

    async def index(self) -> SignedUrl:
        return _put(index_key(self._url))

    async def begin(self) -> str:
        return "upload"

    async def parts(self, upload_id: str, first: int, count: int) -> tuple[SignedUrl, ...]:
        numbers = range(first, first + count)
        return tuple(_put(f"{self._url}?partNumber={number}&uploadId={upload_id}") for number in numbers)

    async def complete(self, upload_id: str, etags: tuple[str, ...]) -> UploadAnswer:  # noqa: ARG002  # kept nowhere
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

    async def begin(self) -> str:
        return await self._bucket.begin_multipart(self._key)

    async def parts(self, upload_id: str, first: int, count: int) -> tuple[SignedUrl, ...]:
        return await self._bucket.sign_parts(self._key, upload_id, first, count)

    async def complete(self, upload_id: str, etags: tuple[str, ...]) -> UploadAnswer:
        match await self._bucket.complete_multipart(self._key, upload_id, etags):
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


def _put(url: str) -> SignedUrl:
    return SignedUrl(method="PUT", url=url, lifetime_seconds=LIFETIME_SECONDS)
