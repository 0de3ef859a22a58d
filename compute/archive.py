"""How a result directory becomes a stream of .tar.gz bytes without blocking the event loop.

A chunk is made by walking, reading, compressing and hashing in one thread. While the consumer has a chunk in its hands
the next one is made; nothing else is made ahead of it.
"""

import asyncio
import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Self

import msgspec

from compute.gzip_blocks import GzipMember, compress_block
from compute.tar_stream import TarStream
from shared.aio import finish

CHUNK_BYTES = 256 << 10
MAX_RAW_BYTES_PER_CHUNK = 16 << 20
"""Bounds the time that one chunk takes where the content compresses very well."""
CLOSE_SECONDS = 60.0
"""A thread stops at the next block; longer than this means a disk that does not answer."""


class ArchiveSummary(msgspec.Struct, frozen=True, kw_only=True):
    """What was archived. `raw_bytes` is the content of regular files, `warnings` the first hundred."""

    size_bytes: int
    sha256: str
    entries: int
    raw_bytes: int
    warnings: tuple[str, ...] = ()
    warnings_count: int = 0


class ArchiveStream:
    """The compressed archive of the directory `root`, to be iterated over once, by one task.

        async with ArchiveStream(root) as archive:
            async for chunk in archive:
                ...
        archive.summary

    Chunks have at least 256 KiB, except where the content compresses very well, and the last. OSError is raised where
    `root` itself cannot be read; whatever else cannot be read is in the summary's warnings. Leaving the block, also by
    cancellation, waits until the thread has stopped (at most for one block) and closes every file.
    """

    def __init__(self, root: Path) -> None:
        self._producer = _Producer(root)
        self._ahead: asyncio.Future[bytes] | None = None

    def __repr__(self) -> str:
        return f"<ArchiveStream {self._producer.tar!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._producer.stopping = True
        await finish(self._close(), within=CLOSE_SECONDS)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._ahead is None:
            self._ahead = self._start()
        # Shielded, because cancelling the future would lose sight of its thread.
        chunk = await asyncio.shield(self._ahead)
        if not chunk:
            raise StopAsyncIteration
        self._ahead = self._start()
        return chunk

    @property
    def summary(self) -> ArchiveSummary:
        """Digest and counts; only after the last chunk."""
        if self._producer.summary is None:
            raise RuntimeError("The archive has not been read to its end.")
        return self._producer.summary

    def _start(self) -> asyncio.Future[bytes]:
        return asyncio.get_running_loop().run_in_executor(None, self._producer.next_chunk)

    async def _close(self) -> None:
        if self._ahead is not None:
            await asyncio.wait([self._ahead])
            if not self._ahead.cancelled():
                self._ahead.exception()  # marks it as retrieved
        self._producer.close()


class _Producer:
    """The synchronous side: one call makes one chunk, in whatever thread."""

    def __init__(self, root: Path) -> None:
        self.tar = TarStream(root)
        self.summary: ArchiveSummary | None = None
        self.stopping = False
        self._blocks = self.tar.blocks()
        self._member = GzipMember()
        self._digest = hashlib.sha256()
        self._size_bytes = 0

    def next_chunk(self) -> bytes:
        """The next bytes of the archive; empty after the last ones."""
        chunk = bytearray() if self._size_bytes else bytearray(self._member.header())
        raw_bytes = 0
        ended = self.summary is not None
        while not (ended or self.stopping or len(chunk) >= CHUNK_BYTES or raw_bytes >= MAX_RAW_BYTES_PER_CHUNK):
            block = next(self._blocks, None)
            if block is None:
                chunk += self._member.trailer()
                ended = True
            else:
                chunk += self._member.append(compress_block(block))
                raw_bytes += len(block)
        self._digest.update(chunk)
        self._size_bytes += len(chunk)
        if ended:
            self.summary = self._summarise()
        return bytes(chunk)

    def close(self) -> None:
        self._blocks.close()

    def _summarise(self) -> ArchiveSummary:
        return ArchiveSummary(
            size_bytes=self._size_bytes,
            sha256=self._digest.hexdigest(),
            entries=self.tar.entries,
            raw_bytes=self.tar.raw_bytes,
            warnings=tuple(self.tar.warnings),
            warnings_count=self.tar.warnings_count,
        )


async def tree_size(root: Path) -> int:
    """The bytes in all regular files below `root`, hard links counted each; what cannot be read counts nothing.

    The archive's headers come on top of it (at least 512 bytes an entry). Walks in a thread, which a cancellation does
    not stop.
    """
    return await asyncio.to_thread(_tree_size, root)


def _tree_size(root: Path) -> int:
    size_bytes = 0
    folders = [os.fspath(root)]
    while folders:
        with suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    with suppress(OSError):
                        size_bytes += entry.stat(follow_symlinks=False).st_size
    return size_bytes
