"""Uploads in parts: begun, completed and aborted here. Nodes only ever PUT parts, by URLs signed for them.

Few results are so large, so these calls go through aioboto3; everything that happens for each job is signed directly.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

import aioboto3
import msgspec
from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession
from botocore.exceptions import BotoCoreError, ClientError

from orchestrator.rules.location import Location
from orchestrator.s3.credentials.chain import Snapshot
from shared.errors import StorageUnavailable
from shared.protocol.s3_errors import S3Failure

CREATE_ONLY = "*"
ALGORITHM = "CRC32"
"""Of checksums of parts: processors have instructions for it, and isal uses them."""
ARCHIVES, OCTETS = "application/gzip", "application/octet-stream"
S3_CODE = "S3Code"
"""Under which name the details of a StorageUnavailable from here tell what S3 said."""
# After a conflict the whole upload has to be made again (Amazon S3 API reference, "CompleteMultipartUpload").
_LOST = frozenset({"NoSuchUpload", "InvalidPart", "InvalidPartOrder", "EntityTooSmall", "ConditionalRequestConflict"})
_CONNECT_SECONDS = 5
_BEGIN_SECONDS = 8.0
"""For what S3 does at once. A node asks again after 10 s; it must not find its last question still being worked on."""
_COMPLETE_SECONDS = 240
"""S3 may take minutes to put many parts together; it answers with white space meanwhile."""


class Completed(msgspec.Struct, frozen=True):
    """The object is there; `exists` where one was there before, which is not replaced."""

    exists: bool = False


class UploadGone(msgspec.Struct, frozen=True):
    """Nothing can come of the upload any more: S3 does not know it, or not all of its parts, or it met another one."""

    why: str


class MultipartUploads:
    """For one bucket. Use as an async context manager. All methods raise StorageUnavailable."""

    def __init__(self, location: Location, *, ca_file: str = "") -> None:
        self._location = location
        self._ca_file = ca_file
        self._session: aioboto3.Session | None = None
        self._loading = asyncio.Lock()
        self._current: _Client | None = None

    def __repr__(self) -> str:
        return f"<MultipartUploads in {self._location.place}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        current, self._current = self._current, None
        if current is not None:
            await current.close()

    async def begin(self, key: str, *, keys: Snapshot, media_type: str = ARCHIVES, has_checksums: bool = False) -> str:
        """The id of a new upload, for which S3 may have to be told the CRC-32 of each part."""
        checksums = {"ChecksumAlgorithm": ALGORITHM} if has_checksums else {}
        try:
            async with asyncio.timeout(_BEGIN_SECONDS), self._client(keys) as client:
                answer = await client.create_multipart_upload(
                    Bucket=self._location.bucket, Key=key, ContentType=media_type, **checksums
                )
        except (ClientError, BotoCoreError, TimeoutError) as error:
            raise _unavailable("begin an upload", error) from None
        if "UploadId" not in answer:
            raise StorageUnavailable("S3 would not begin an upload: it answered without an id.")
        return str(answer["UploadId"])

    async def complete(
        self,
        key: str,
        upload_id: str,
        etags: tuple[str, ...],
        crc32: tuple[str, ...] = (),
        *,
        create_only: bool,
        keys: Snapshot,
    ) -> Completed | UploadGone:
        """`crc32` of each part, in base64, where the upload was begun with checksums."""
        parts: list[dict[str, int | str]] = [
            {"PartNumber": number, "ETag": etag} for number, etag in enumerate(etags, 1)
        ]
        for part, checksum in zip(parts, crc32, strict=False):
            part["ChecksumCRC32"] = checksum
        condition = {"IfNoneMatch": CREATE_ONLY} if create_only else {}
        try:
            async with self._client(keys) as client:
                await client.complete_multipart_upload(
                    Bucket=self._location.bucket,
                    Key=key,
                    UploadId=upload_id,
                    MultipartUpload={"Parts": parts},
                    **condition,
                )
        except ClientError as error:
            failure = _failure(error)
            if failure.code in _LOST:
                return UploadGone(str(failure))
            if failure.status == 412:
                return Completed(exists=True)
            raise _unavailable("complete an upload", error) from None
        except BotoCoreError as error:
            raise _unavailable("complete an upload", error) from None
        return Completed()

    async def abort(self, key: str, upload_id: str, *, keys: Snapshot) -> None:
        """Needs s3:AbortMultipartUpload, which the least policy does not grant. An unknown upload is fine."""
        try:
            async with asyncio.timeout(_BEGIN_SECONDS), self._client(keys) as client:
                await client.abort_multipart_upload(Bucket=self._location.bucket, Key=key, UploadId=upload_id)
        except ClientError as error:
            if _failure(error).code != "NoSuchUpload":
                raise _unavailable("abort an upload", error) from None
        except (BotoCoreError, TimeoutError) as error:
            raise _unavailable("abort an upload", error) from None

    @asynccontextmanager
    async def _client(self, keys: Snapshot) -> AsyncIterator[Any]:
        """One client for each set of keys, as making one takes some 10 ms; an older one goes after its requests."""
        session = await self._loaded()
        client = self._current
        if client is None or client.keys is not keys:
            replaced, client = client, _Client(session, self._location, keys, self._ca_file)
            self._current = client
            if replaced is not None and not replaced.users:
                await replaced.close()
        client.users += 1
        try:
            yield await client.opened()
        finally:
            client.users -= 1
            if not client.users and client is not self._current:
                await client.close()

    async def _loaded(self) -> aioboto3.Session:
        async with self._loading:
            if self._session is None:
                self._session = await asyncio.to_thread(_new_session)
        return self._session


class _Client:
    """botocore's client for one set of keys, made when it is first needed. `users` is the number of its requests."""

    def __init__(self, session: aioboto3.Session, location: Location, keys: Snapshot, ca_file: str) -> None:
        self.keys = keys
        self.users = 0
        self._session = session
        self._location = location
        self._ca_file = ca_file
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._opened: Any = None

    def __repr__(self) -> str:
        return f"<_Client of {self._location.place}, {self.users} users>"

    async def opened(self) -> Any:
        async with self._opening:
            if self._opened is None:
                self._opened = await self._stack.enter_async_context(self._new())
        return self._opened

    async def close(self) -> None:
        await self._stack.aclose()

    def _new(self) -> Any:
        location = self._location
        config = AioConfig(
            signature_version="s3v4",
            s3={"addressing_style": location.finds_bucket_in(location.endpoint)},
            # Services other than AWS may refuse the checksums that botocore adds by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            connect_timeout=_CONNECT_SECONDS,
            read_timeout=_COMPLETE_SECONDS,
            retries={"total_max_attempts": 2},
            ignore_configured_endpoint_urls=True,
        )
        return self._session.client(
            "s3",
            region_name=location.region,
            endpoint_url=location.endpoint or None,
            aws_access_key_id=self.keys.access_key,
            aws_secret_access_key=self.keys.secret_key,
            aws_session_token=self.keys.token,
            config=config,
            verify=self._ca_file or None,
        )


def _new_session() -> aioboto3.Session:
    """Blocks for some 300 ms: it reads what botocore has to know of S3, which making a client would do otherwise."""
    session = AioSession()
    loader = session.get_component("data_loader")
    for kind in ("service-2", "endpoint-rule-set-1", "paginators-1", "waiters-2"):
        loader.load_service_model("s3", kind)
    for name in ("endpoints", "partitions", "sdk-default-configuration", "_retry"):
        loader.load_data(name)
    return aioboto3.Session(botocore_session=session)


def _failure(error: ClientError) -> S3Failure:
    """Also of an answer with the status 200 and an error in its body, which botocore finds by itself."""
    told = error.response.get("Error", {})
    about = error.response.get("ResponseMetadata", {})
    return S3Failure(
        status=int(about.get("HTTPStatusCode", 0)),
        code=str(told.get("Code", "")),
        message=str(told.get("Message", ""))[:300],
        request_id=str(about.get("RequestId", "")),
    )


def _unavailable(what: str, error: ClientError | BotoCoreError | TimeoutError) -> StorageUnavailable:
    if not isinstance(error, ClientError):
        return StorageUnavailable(f"S3 would not {what}: {type(error).__name__}.")
    failure = _failure(error)
    return StorageUnavailable(f"S3 would not {what}: {failure}.", details={S3_CODE: failure.code})
