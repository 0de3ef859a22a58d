"""The download of one whole result: fetched, checked, and handed on as it arrives."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import IO, TYPE_CHECKING, Protocol, TypeVar

import aiohttp

from shared.errors import Damaged, DigestMismatch
from shared.extraction.block_reading import ByteRange
from shared.protocol.rest import ResultParams
from shared.runtime.aio import finish
from tarpon.transfer.byte_ranges import CONNECTIONS, fetch_in_order
from tarpon.transfer.stored_object import RangesIgnored, StoredObject

if TYPE_CHECKING:
    from hashlib import _Hash

T = TypeVar("T")

PARALLEL_FROM_BYTES = 16 << 20
"""What is smaller comes over one connection: more of them would not be faster by as much as it takes to open them."""
PORTION_SECONDS = 300.0
"""Nothing holds a thread for so long but a disk that does not answer."""

Renew = Callable[[], Awaitable[ResultParams]]


class Sink(Protocol):
    """What takes the bytes. All methods block and are called in threads, one at a time."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> object:
        """After the last byte, when the digest was right."""

    def abort(self) -> None:
        """Give up, or do nothing after `close()`."""


class Download:
    """One object on its way into a sink.

    `on_progress` is told how many bytes have arrived. A download that goes on where another one ended gets what there
    is as `done_bytes`, and their `digest`.
    """

    def __init__(
        self,
        source: StoredObject,
        *,
        sha256: str,
        on_progress: Callable[[int], None] = lambda _: None,
        connections: int = CONNECTIONS,
        done_bytes: int = 0,
        digest: "_Hash | None" = None,
    ) -> None:
        self._source = source
        self._sha256 = sha256
        self._on_progress = on_progress
        self._connections = connections
        self._done_bytes = done_bytes
        self._digest = digest or hashlib.sha256()

    def __repr__(self) -> str:
        return f"<Download of {self._source!r}, {self._done_bytes} bytes done>"

    async def into(self, sink: Sink) -> None:
        """Fetch the whole object, check size and digest, close the sink; in any other case abort it.

        Raises DownloadFailed where it cannot be fetched, Damaged where it is not what was published, and what the
        sink raises.
        """
        self._on_progress(self._done_bytes)
        try:
            await self._fetch(sink)
            self._check()
            await in_thread(sink.close)
        finally:
            await in_thread(sink.abort)

    async def _fetch(self, sink: Sink) -> None:
        size_bytes = self._source.size_bytes
        if self._connections > 1 and size_bytes - self._done_bytes >= PARALLEL_FROM_BYTES:

            async def deliver(_at: int, portion: bytes) -> None:
                await self._take(sink, portion)

            try:
                rest = [ByteRange(self._done_bytes, size_bytes)]
                await fetch_in_order(self._source, rest, deliver, connections=self._connections)
            except RangesIgnored:
                pass
            else:
                return
        async with aclosing(self._source.read(self._done_bytes, size_bytes)) as portions:
            async for portion in portions:
                await self._take(sink, portion)

    async def _take(self, sink: Sink, data: bytes) -> None:
        size_bytes = self._source.size_bytes
        if 0 < size_bytes < self._done_bytes + len(data):
            raise Damaged(f"{self._source.what} has more than the {size_bytes:,} bytes that were published.")

        def digest_and_feed() -> None:
            self._digest.update(data)
            sink.feed(data)

        self._done_bytes += len(data)
        await in_thread(digest_and_feed)
        self._on_progress(self._done_bytes)

    def _check(self) -> None:
        found = self._digest.hexdigest()
        if self._sha256 and self._sha256 != found:
            raise DigestMismatch(self._source.what, self._sha256, found)


class Spool:
    """A sink into a file that somebody else closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __repr__(self) -> str:
        return f"<Spool into {self._file!r}>"

    def feed(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        self._file.flush()

    def abort(self) -> None:
        pass


def archive_of(session: aiohttp.ClientSession, params: ResultParams, *, renew: Renew) -> StoredObject:
    """The archive of a result. `renew` gives the same result with fresh URLs."""

    async def renewed_url() -> str:
        return (await renew()).pre_signed_url

    return StoredObject(
        session,
        params.pre_signed_url,
        size_bytes=params.size,
        etag=params.etag,
        what=f"The result of execution {params.execution_id}",
        renew=renewed_url,
    )


def archive_download(
    session: aiohttp.ClientSession,
    params: ResultParams,
    *,
    renew: Renew,
    on_progress: Callable[[int], None] = lambda _: None,
    connections: int = CONNECTIONS,
    done_bytes: int = 0,
    digest: "_Hash | None" = None,
) -> Download:
    """Of the whole archive of a result, held to what was published of it."""
    return Download(
        archive_of(session, params, renew=renew),
        sha256=params.sha256,
        on_progress=on_progress,
        connections=connections,
        done_bytes=done_bytes,
        digest=digest,
    )


def index_of(session: aiohttp.ClientSession, params: ResultParams, *, renew: Renew) -> StoredObject:
    """The index of a result's archive, as `archive_of`. Only its digest tells whether it was replaced."""

    async def renewed_url() -> str:
        return (await renew()).index_url

    return StoredObject(
        session,
        params.index_url,
        size_bytes=params.index_size,
        what=f"The index of the result of execution {params.execution_id}",
        renew=renewed_url,
    )


def manifest_of(session: aiohttp.ClientSession, params: ResultParams, *, renew: Renew) -> StoredObject:
    """The manifest beside a result's archive, as `index_of`."""

    async def renewed_url() -> str:
        return (await renew()).manifest_url

    return StoredObject(
        session,
        params.manifest_url,
        size_bytes=params.manifest_size,
        what=f"The manifest of the result of execution {params.execution_id}",
        renew=renewed_url,
    )


def provenance_of(session: aiohttp.ClientSession, params: ResultParams, *, renew: Renew) -> StoredObject:
    """What a result's node has signed of it, of any size: of another one more is told than that it is another."""

    async def renewed_url() -> str:
        return (await renew()).provenance_url

    return StoredObject(
        session,
        params.provenance_url,
        size_bytes=0,
        what=f"The provenance of execution {params.execution_id}",
        renew=renewed_url,
    )


def record_of(session: aiohttp.ClientSession, params: ResultParams, *, renew: Renew) -> StoredObject:
    """What the orchestrator has signed of a result, of any size, if it is there."""

    async def renewed_url() -> str:
        return (await renew()).record_url

    return StoredObject(
        session,
        params.record_url,
        size_bytes=0,
        what=f"The record of execution {params.execution_id}",
        renew=renewed_url,
    )


async def made_in_thread(make: Callable[[], T], undo: Callable[[T], None]) -> T:
    """What `make` gives; where its caller has been cancelled meanwhile, it is undone."""
    made: list[T] = []
    try:
        await in_thread(lambda: made.append(make()))
    except BaseException:
        for each in made:
            undo(each)
        raise
    return made[0]


async def in_thread(act: Callable[[], T]) -> T:
    """Run `act` to its end even when cancelled, because two threads must not work on one sink."""
    return await finish(asyncio.to_thread(act), within=PORTION_SECONDS)
