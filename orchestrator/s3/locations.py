"""Where results are, also those that were published under earlier settings: signs and looks by stored location."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from orchestrator.rules.records import Location
from orchestrator.s3 import saved_names
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.multipart import Completed, Lost
from orchestrator.s3.problems import Problem
from orchestrator.s3.settings import BucketSettings
from orchestrator.s3.verification import Absent, ObjectFacts
from shared.ids import ExecutionId, JobId
from shared.protocol.objects import archive_key, index_key, prefix_of
from shared.protocol.signed_url import SignedUrl

DEFAULT_EXPIRATION_SECONDS = 3600.0


class Locations:
    """An async context manager. `current` is the bucket of the present settings, absent where there are none.

    Older locations are reached with the same credentials; a bucket is opened once for each kind of them.
    """

    def __init__(self, current: Bucket | None) -> None:
        self.current = current
        self._credentials = current.credentials if current else CredentialSource()
        self._expiration = current.settings.expiration_seconds if current else DEFAULT_EXPIRATION_SECONDS
        self._opened: dict[tuple[str, str, str, str], Bucket] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self.current is not None:
            self._opened[_place(self.current.settings)] = self.current
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def locate(self, job: JobId, execution: ExecutionId) -> Location:
        """Where the result of a new execution goes."""
        assert self.current is not None, "jobs for the managed publisher are refused where it is not configured"
        settings = self.current.settings
        return Location(
            bucket=settings.bucket,
            key=archive_key(settings.key, job, execution),
            region=settings.region,
            endpoint=settings.endpoint,
            public_endpoint=settings.public_endpoint,
        )

    async def sign_put(self, location: Location) -> SignedUrl:
        """Raises StorageUnavailable."""
        bucket = await self._bucket(location)
        return await bucket.sign_put(location.key, create_only=bucket.health.create_only)

    async def sign_index_put(self, location: Location) -> SignedUrl:
        """For the index beside the archive, which may replace an earlier one: readers know it by its digest.

        Raises StorageUnavailable.
        """
        return await (await self._bucket(location)).sign_put(index_key(location.key), create_only=False)

    async def sign_parts(self, location: Location, upload_id: str, first: int, count: int) -> tuple[SignedUrl, ...]:
        """Raises StorageUnavailable."""
        return await (await self._bucket(location)).sign_parts(location.key, upload_id, first, count)

    async def begin_multipart(self, location: Location) -> str:
        """Raises StorageUnavailable."""
        return await (await self._bucket(location)).begin_multipart(location.key)

    async def complete_multipart(self, location: Location, upload_id: str, etags: tuple[str, ...]) -> Completed | Lost:
        """Raises StorageUnavailable."""
        return await (await self._bucket(location)).complete_multipart(location.key, upload_id, etags)

    async def has_multipart(self, location: Location, upload_id: str, spare_part: int) -> bool:
        """Raises StorageUnavailable."""
        return await (await self._bucket(location)).has_multipart(location.key, upload_id, spare_part)

    async def abort_multipart(self, location: Location, upload_id: str) -> None:
        """Raises StorageUnavailable."""
        await (await self._bucket(location)).abort_multipart(location.key, upload_id)

    async def sign_index_get(self, location: Location, *, name: str) -> SignedUrl:
        """Raises StorageUnavailable."""
        return await (await self._bucket(location)).sign_get(index_key(location.key), saved_as=name + saved_names.INDEX)

    async def sign_get(self, location: Location, *, name: str) -> SignedUrl:
        """A browser saves it under this name, with the ending of an archive. Raises StorageUnavailable."""
        return await (await self._bucket(location)).sign_get(location.key, saved_as=name + saved_names.ARCHIVE)

    async def head(self, location: Location) -> ObjectFacts | Absent:
        """Raises StorageUnavailable."""
        return await (await self._bucket(location)).head(location.key)

    async def delete(self, location: Location) -> None:
        """Delete an archive and its index, if they are there. Raises DeletionRefused, StorageUnavailable."""
        bucket = await self._bucket(location)
        await bucket.delete(index_key(location.key))
        await bucket.delete(location.key)

    async def check_deletion(self, location: Location | None = None) -> None:
        """Whether results there, or those of the present settings, may be deleted. Raises as `delete` does."""
        bucket = await self._bucket(location) if location else self.current
        if bucket is not None:
            await bucket.check_deletion()

    async def problem(self, location: Location) -> Problem | None:
        """Why objects there cannot be written and read now, by a request of our own with keys that are read again.

        What S3 refuses to a node, or does not show, may be the fault of our keys or clock.
        """
        bucket = await self._bucket(location)
        bucket.invalidate_credentials()
        return await bucket.health.confirm()

    def doubt_credentials(self) -> None:
        """S3 has refused what they signed: read them again, at most once a second."""
        self._credentials.invalidate()

    async def _bucket(self, location: Location) -> Bucket:
        settings = BucketSettings(
            bucket=location.bucket,
            key=prefix_of(location.key),
            region=location.region,
            endpoint=location.endpoint,
            public_endpoint=location.public_endpoint,
            expiration_seconds=self._expiration,
        )
        bucket = self._opened.get(_place(settings))
        if bucket is None:
            bucket = await self._stack.enter_async_context(Bucket(settings, credentials=self._credentials))
            self._opened[_place(settings)] = bucket
        return bucket

    def __repr__(self) -> str:
        return f"<Locations {self.current!r}, {len(self._opened)} open>"


def _place(settings: BucketSettings) -> tuple[str, str, str, str]:
    return settings.bucket, settings.region, settings.endpoint, settings.public_endpoint
