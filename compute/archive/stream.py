"""The stream of an archive: parts of a .tar.gz, made without blocking the event loop, and the index beside them.

A part is made by one thread that walks, reads and hashes, and by the threads of a pool that compress block after block
at the same time; the order of the blocks is kept. Nothing is made before a part is asked for, except for the few blocks
that the pool has in hand.
"""

import asyncio
import hashlib
import os
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self, TypeVar

import msgspec
from isal import isal_zlib

from compute.archive.content_thread import ContentThread
from compute.archive.gzip_blocks import LEVEL, CompressedBlock, GzipMember, compress_block
from compute.archive.index import ArchiveIndex
from compute.archive.levels import Levels, Told
from compute.archive.made_bytes import MadeBytes
from compute.archive.manifest import ContentManifest
from compute.archive.tar_stream import BLOCK_BYTES, ZEROS, TarStream
from compute.disk.result_contents import ALL, ResultContents
from shared.protocol.archive_index import WHOLE, BlockLine, EntryLine
from shared.protocol.published_facts import PublishedFacts
from shared.runtime.aio import finish

T = TypeVar("T")

CLOSE_SECONDS = 60.0
"""A thread stops at the next block; longer than this means a disk that does not answer."""
BLOCKS_AHEAD = 2
"""How many blocks wait for a compressing thread, beside those that are in one."""


class ArchiveThreads:
    """The threads in which archives are made, for all results of a node: `at_once` archives, `compressing` blocks.

    `level` is ISA-L's: 0 is the fastest, 3 the smallest.
    """

    def __init__(self, *, at_once: int, compressing: int = 0, level: int = LEVEL) -> None:
        self.compressing = compressing or os.cpu_count() or 1
        self.level = level
        self.archives = 0
        """How many are being made."""
        self.makers = ThreadPoolExecutor(at_once, thread_name_prefix="archive")
        self.compressors = ThreadPoolExecutor(self.compressing, thread_name_prefix="compress")
        self.digester = ThreadPoolExecutor(1, thread_name_prefix="digest")
        """One, so that the parts of an archive come in their order."""

    def __repr__(self) -> str:
        return f"<ArchiveThreads compressing={self.compressing} level={self.level}>"

    def close(self) -> None:
        self.makers.shutdown()
        self.compressors.shutdown()
        self.digester.shutdown()


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """Consecutive bytes of the archive; numbers begin at 1. All parts but the last one are equally long.

    `levels` are those of all blocks in it, and perhaps of a few more. `digest` is computed while the next part is made.
    """

    number: int
    content: memoryview
    is_last: bool
    crc32: int
    digest: "Future[bytes]"
    levels: Told

    async def sha256(self) -> bytes:
        """Of the archive up to the end of this part: where it is the same, so is all that was before."""
        if self.digest.done():
            return self.digest.result()
        return await asyncio.shield(asyncio.wrap_future(self.digest))

    async def md5(self) -> bytes:
        """Computed in a thread. It costs more than all else that is done with the bytes once they are compressed."""
        if len(self.content) < BLOCK_BYTES:
            return _md5(self.content)
        return await asyncio.to_thread(_md5, self.content)

    def __repr__(self) -> str:
        return f"<Part {self.number}, {len(self.content)} bytes>"


class ArchiveStream:
    """The compressed archive of the directory `root`, to be iterated over once, by one task.

        async with ArchiveStream(root, threads, part_bytes=..., scratch=...) as archive:
            async for part in archive:
                ...
        archive.summary

    `part_bytes` may be made larger while the first part is the only one, with `enlarge`. OSError is raised where
    `root` itself cannot be read; whatever else cannot be read is in the warnings. Leaving the block, also by
    cancellation, waits until the thread has stopped (at most for one block) and closes every file. `scratch` is a
    folder for an index that is too large for memory. `contents` says what of `root` counts. `levels` are the fastest
    unless they are given.
    """

    def __init__(
        self,
        root: Path,
        threads: ArchiveThreads,
        *,
        part_bytes: int,
        scratch: Path,
        contents: ResultContents = ALL,
        levels: Levels | None = None,
    ) -> None:
        self._threads = threads
        levels = levels or Levels(threads.level)
        self._maker = _Maker(TarStream(root, contents), threads, part_bytes, scratch, levels)
        self._making: asyncio.Future[Part] | None = None

    def __repr__(self) -> str:
        return f"<ArchiveStream {self._maker.tar!r}>"

    async def __aenter__(self) -> Self:
        self._threads.archives += 1
        return self

    async def __aexit__(self, *_: object) -> None:
        self._threads.archives -= 1
        self._maker.stopping = True
        if (self._making is None or self._making.done()) and self._maker.is_idle:
            self._maker.close()
        else:
            await finish(self._close(), within=CLOSE_SECONDS)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Part:
        if self._maker.summary is not None:
            raise StopAsyncIteration
        return await self._make()

    async def enlarge(self, first: Part, part_bytes: int) -> Part:
        """The first part again, as long as all parts are going to be."""
        self._maker.take_back(first, part_bytes)
        return await self._make()

    @property
    def summary(self) -> PublishedFacts:
        """Digest and counts; only after the last part. `archive_seconds` has no time in which nobody asked for one."""
        if self._maker.summary is None:
            raise RuntimeError("The archive has not been read to its end.")
        return self._maker.summary

    @property
    def packed(self) -> tuple[int, int]:
        """How many bytes of regular files have become how many bytes of the archive so far."""
        return self._maker.tar.raw_bytes, self._maker.made_bytes

    @property
    def manifest(self) -> ContentManifest:
        """Complete after the last part."""
        return self._maker.manifest

    @property
    def index(self) -> ArchiveIndex | None:
        """Complete after the last part. None for an archive of one block, which is read as a whole."""
        return self._maker.index

    async def _make(self) -> Part:
        self._making = asyncio.get_running_loop().run_in_executor(self._threads.makers, self._maker.next_part)
        # Shielded, because cancelling the future would lose sight of its thread.
        return await asyncio.shield(self._making)

    async def _close(self) -> None:
        if self._making is not None:
            await asyncio.wait([self._making])
            if not self._making.cancelled():
                self._making.exception()  # marks it as retrieved
        await asyncio.wrap_future(self._maker.close())


class _Block(NamedTuple):
    raw_bytes: int
    lines: list[EntryLine]
    compressed: "Future[CompressedBlock]"
    digested: "Future[None]"


class _Digest:
    """Of an archive as far as it has been made."""

    def __init__(self) -> None:
        self._sha256 = hashlib.sha256()

    def up_to(self, content: memoryview) -> bytes:
        """With these bytes, which follow those before."""
        self._sha256.update(content)
        return self._sha256.copy().digest()


class _Maker:
    """The synchronous side: one call makes one part, in whatever thread."""

    def __init__(self, tar: TarStream, threads: ArchiveThreads, part_bytes: int, scratch: Path, levels: Levels) -> None:
        self.tar = tar
        self.summary: PublishedFacts | None = None
        self.index: ArchiveIndex | None = None
        self.stopping = False
        self._threads = threads
        self._levels = levels
        self._part_bytes = part_bytes
        self._scratch = scratch
        self._content = ContentThread(scratch)
        self._raw = self.tar.blocks()
        self._raw_ended = False
        self._finished = False
        self._compressing: deque[_Block] = deque()
        self._zeros: Future[CompressedBlock] | None = None
        self._member = GzipMember()
        self._digest = _Digest()
        self._made = MadeBytes(part_bytes)
        self._tar_bytes = 0
        self._parts = 0
        self._seconds = 0.0
        self._append(self._member.header())

    @property
    def made_bytes(self) -> int:
        return self._member.size_bytes

    @property
    def manifest(self) -> ContentManifest:
        return self._content.manifest

    def next_part(self) -> Part:
        begun = time.monotonic()
        self._fill()
        content = self._made.take()
        self._parts += 1
        is_last = self._finished and not self._made.size_bytes
        sha256 = self._sha256_up_to(content)
        part = Part(
            number=self._parts,
            content=content,
            is_last=is_last,
            crc32=isal_zlib.crc32(content),
            digest=sha256,
            levels=self._levels.so_far,
        )
        digest = sha256.result() if is_last else b""
        self._seconds += time.monotonic() - begun
        if is_last:
            self.summary = self._member.summary(
                self.tar, sha256=digest, content_digest=self.manifest.content_digest, seconds=self._seconds
            )
        return part

    def _sha256_up_to(self, content: memoryview) -> "Future[bytes]":
        if self._parts == 1 and len(content) < BLOCK_BYTES:
            return _done(self._digest.up_to(content))
        return self._threads.digester.submit(self._digest.up_to, content)

    def take_back(self, part: Part, part_bytes: int) -> None:
        """Only of the first part, before which there is nothing."""
        self._made.put_back(part.content, part_bytes)
        self._parts = 0
        self._digest = _Digest()
        self._part_bytes = part_bytes

    @property
    def is_idle(self) -> bool:
        return self._content.is_idle

    def close(self) -> "Future[None]":
        for block in self._compressing:
            block.compressed.cancel()
        self._compressing.clear()
        self._raw.close()
        if self.index is not None:
            self.index.close()
        return self._content.close()

    def _fill(self) -> None:
        """Go on until there is a part, or the archive is at its end."""
        while self._made.size_bytes < self._part_bytes and not self._finished and not self.stopping:
            self._read_ahead()
            if self._compressing:
                self._take(self._compressing.popleft())
            else:
                self._finish()

    def _finish(self) -> None:
        self._append(self._member.trailer())
        if self.index is not None:
            self.index.finish(self.made_bytes)
        self.manifest.finish()
        self._finished = True

    def _read_ahead(self) -> None:
        """Keep the compressing threads busy."""
        while len(self._compressing) < self._threads.compressing + BLOCKS_AHEAD and not self._raw_ended:
            raw = next(self._raw, None)
            if raw is None:
                self._raw_ended = True
            else:
                lines = self.tar.take_lines()
                self._compressing.append(_Block(len(raw), lines, self._compress(raw), self._content.add(raw, lines)))

    def _compress(self, raw: bytes) -> "Future[CompressedBlock]":
        level = self._levels.choose(
            packed_bytes=self._parts * self._part_bytes,
            missing_bytes=self._part_bytes - self._made.size_bytes,
            threads=self._threads.compressing / max(1, self._threads.archives),
        )
        if raw is ZEROS:
            if self._zeros is None:
                self._zeros = self._threads.compressors.submit(compress_block, raw, self._threads.level)
            return self._zeros
        if len(raw) == BLOCK_BYTES:
            return self._threads.compressors.submit(compress_block, raw, level)
        # The last block, which for most results is the only one: another thread would gain nothing.
        return _done(compress_block(raw, level))

    def _take(self, block: _Block) -> None:
        compressed = block.compressed.result()
        block.digested.result()
        if block.raw_bytes == BLOCK_BYTES and not compressed.is_stored and block.compressed is not self._zeros:
            self._levels.learn(
                compressed.level,
                len(compressed.data),
                seconds=compressed.seconds,
                processor_seconds=compressed.processor_seconds,
            )
        if self.index is None and not (self._raw_ended and not self._compressing):
            self.index = ArchiveIndex(self._scratch)
        if self.index is not None:
            line = BlockLine(
                tar_at=self._tar_bytes,
                tar_bytes=block.raw_bytes,
                at=self.made_bytes,
                bytes=len(compressed.data),
                crc32=compressed.crc32,
                data=WHOLE if compressed.content_bytes == block.raw_bytes else compressed.content_bytes,
            )
            self.index.add(block.lines, line)
        self._tar_bytes += block.raw_bytes
        self._append(self._member.append(compressed))

    def _append(self, data: bytes) -> None:
        self._made.add(data)


def _md5(content: memoryview) -> bytes:
    return hashlib.md5(content, usedforsecurity=False).digest()


def _done(result: T) -> "Future[T]":
    future: Future[T] = Future()
    future.set_result(result)
    return future
