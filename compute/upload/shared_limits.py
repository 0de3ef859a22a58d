"""Limits that all uploads of a node share: connections, threads, the measured pace, memory for parts."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import aiohttp

from compute.archive.gzip_blocks import LEVEL
from compute.archive.part_size import PART_BYTES
from compute.archive.small import SmallArchives
from compute.archive.stream import ArchiveThreads
from compute.upload.delivery import FIRST_PAUSE_SECONDS, Pace, Trouble, UploadTotals
from shared.web.short_requests import ShortRequests

UPLOADS_AT_ONCE = 8
SMALL_AT_ONCE = 32
"""Of results that are packed already. They have a queue of their own, so that none waits behind large ones."""
FILES_AT_ONCE = 48
PARTS_IN_MEMORY = 10
RESULT_LIMIT_BYTES = 1 << 40


class SharedLimits:
    """`compressing` threads, 0 for one of each CPU; `level` is ISA-L's. `close()` blocks until the threads have ended.

    With `adapts` it is the fastest, and what waits for the link is made smaller. A result that is larger than
    `limit_bytes` when it is packed is refused. `trust` is as of an upload_session.
    """

    def __init__(
        self,
        http: aiohttp.ClientSession,
        *,
        compressing: int = 0,
        level: int = LEVEL,
        adapts: bool = True,
        part_bytes: int = PART_BYTES,
        limit_bytes: int = RESULT_LIMIT_BYTES,
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.http = http
        self.short = ShortRequests(trust, at_once=FILES_AT_ONCE)
        """For files of plain results: many small ones."""
        self.pace = Pace()
        self.totals = UploadTotals()
        self.threads = ArchiveThreads(at_once=UPLOADS_AT_ONCE, compressing=compressing, level=level)
        self.small = SmallArchives(level=level)
        self.adapts = adapts
        self.part_bytes = part_bytes
        self.limit_bytes = limit_bytes
        self.first_pause_seconds = first_pause_seconds
        self._at_once = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._small_at_once = asyncio.Semaphore(SMALL_AT_ONCE)
        self.queued: set[Trouble] = set()
        """Of the uploads that wait for their turn."""
        self._buffers = asyncio.Semaphore(PARTS_IN_MEMORY)

    def __repr__(self) -> str:
        return f"<SharedLimits at {self.pace!r} with {self.threads!r}>"

    @asynccontextmanager
    async def turn(self, trouble: Trouble, *, is_small: bool = False) -> AsyncIterator[None]:
        """Wait to be one of the uploads that go on."""
        at_once = self._small_at_once if is_small else self._at_once
        self.queued.add(trouble)
        try:
            await at_once.acquire()
        finally:
            self.queued.discard(trouble)
        try:
            yield
        finally:
            at_once.release()

    def buffers(self) -> "PartBuffers":
        return PartBuffers(self._buffers)

    def close(self) -> None:
        self.threads.close()


class PartBuffers:
    """The share of one upload in the memory for parts. Leaving it gives everything back."""

    def __init__(self, free: asyncio.Semaphore) -> None:
        self._free = free
        self._taken = 0

    def __repr__(self) -> str:
        return f"<PartBuffers {self._taken} taken>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._taken:
            self.give_back()

    async def take(self) -> None:
        await self._free.acquire()
        self._taken += 1

    def give_back(self) -> None:
        self._taken -= 1
        self._free.release()
