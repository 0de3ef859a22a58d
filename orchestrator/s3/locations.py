"""Locations of results, also those of earlier settings: finds the bucket of a stored location."""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.signing import EXPIRATION_SECONDS
from shared.ids import ExecutionId, JobId
from shared.protocol.objects import archive_key, plain_key, prefix_of
from shared.settings.config import S3Managed


class Locations:
    """An async context manager. `current` is the bucket of the present settings, absent where there are none.

    Older locations are reached with the same credentials; a bucket is opened once for each way to reach one.
    """

    def __init__(self, current: Bucket | None) -> None:
        self.current = current
        self._credentials = current.credentials if current else CredentialSource()
        self._expiration_seconds = current.expiration_seconds if current else EXPIRATION_SECONDS
        self._opened: dict[Location, Bucket] = {}
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        if self.current is not None:
            self._opened[self.current.location.at("")] = self.current
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    def locate(self, namespace: str, job: JobId, execution: ExecutionId, is_plain: bool = False) -> Location:  # noqa: FBT001, FBT002  # one of the facts that decide
        """Where the result of a new execution goes: its archive or, of a plain one, its manifest."""
        assert self.current is not None, "jobs for the managed publisher are refused where it is not configured"
        location = self.current.location
        key = plain_key if is_plain else archive_key
        return location.at(key(location.key, namespace, job, execution))

    async def bucket_of(self, location: Location) -> Bucket:
        """In which the archive is that has this location."""
        reached = location.at("")
        bucket = self._opened.get(reached)
        if bucket is None:
            opened = Bucket(
                location.at(prefix_of(location.key)),
                expiration_seconds=self._expiration_seconds,
                credentials=self._credentials,
                ca_file=self.current.ca_file if self.current else "",
            )
            bucket = self._opened[reached] = await self._stack.enter_async_context(opened)
        return bucket

    def read_origins(self) -> tuple[str, ...]:
        """Where signed URLs lead by which results are read: of the present bucket, and of those that were asked for."""
        return tuple(sorted({bucket.upload_origin for bucket in self._opened.values()}))

    def doubt_credentials(self) -> None:
        """S3 has refused what they signed: read them again, at most once a second."""
        self._credentials.invalidate()

    def __repr__(self) -> str:
        return f"<Locations {self.current!r}, {len(self._opened)} open>"


def location_of(settings: S3Managed) -> Location:
    """Where results go by these settings."""
    return Location(**{name: getattr(settings, name) for name in Location.__struct_fields__})
