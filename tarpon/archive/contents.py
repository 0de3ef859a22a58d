"""The contents of one result: its entries, and chosen files, with or without an index beside an archive.

With one, the index is fetched, and then only those blocks of the archive that are needed. A result without is most
probably small: its archive is fetched and looked through here.
"""

import os
import tempfile
from bisect import bisect_left, bisect_right
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from functools import partial
from itertools import islice
from typing import IO, Protocol

import aiohttp
from msgspec.structs import replace

from shared.extraction.announced import announced
from shared.extraction.archive_index import Block, IndexReader
from shared.extraction.block_reading import BlockReader, Cutter, WantedBlocks, spans_of
from shared.extraction.gunzip import Gunzip
from shared.extraction.tar_reader import Member, TarReader
from shared.protocol.rest import ResultParams
from tarpon.archive.plain import GiveUrls, OnBytes, PlainContents, Take
from tarpon.archive.plain_names import plainly_named
from tarpon.transfer.byte_ranges import CONNECTIONS, fetch_in_order
from tarpon.transfer.download import Download, Renew, Spool, archive_download, archive_of, in_thread, index_of
from tarpon.transfer.stored_object import RangesIgnored, StoredObject

IN_MEMORY_BYTES = 4 << 20
"""An index or archive that is larger goes to a temporary file."""
ENTRIES_AT_ONCE = 5000
_READ_BYTES = 1 << 20


class Contents(Protocol):
    """The entries of one result, and the content of its files."""

    def entries(self) -> Iterator[Member]:
        """All entries in the order of the archive, with plain names. May be called again; blocks.

        Raises Damaged, where a name could leave the target as UnsafeArchive.
        """

    async def read(self, files: Sequence[Member], take: Take, on_bytes: OnBytes) -> None:
        """Give `files`, which are in the order of their contents, to `take`.

        Raises DownloadFailed, Damaged, and what `take` raises.
        """

    async def data_bytes(self, files: Sequence[Member] | None) -> int:
        """How much room these files, or all, need at least where holes take none; 0 where that is not known."""

    async def part_readers(self, files: Sequence[Member]) -> "Sequence[PartReader]":
        """For reading parts of each of these files again and again; they are in the order of their contents.

        They are looked for once, and what that takes is there until each is closed.
        """


class PartReader(Protocol):
    """Reads of one file run at the same time; what else a Contents does runs one at a time."""

    async def read(self, start: int, end: int) -> bytes:
        """The bytes of the file from `start` up to `end`, which are within it. Raises DownloadFailed and Damaged."""

    def close(self) -> None:
        """Nothing is read any more."""


@asynccontextmanager
async def opened(
    session: aiohttp.ClientSession,
    params: ResultParams,
    *,
    renew: Renew,
    give_urls: GiveUrls | None = None,
    with_xattrs: bool = False,
) -> AsyncIterator[Contents]:
    """The contents of the result; what had to be fetched for it is removed at the end. Raises as Download.into does.

    Extended attributes are in no index, so that for them the archive is fetched. Of a plain result the manifest is, and
    `give_urls` gives those of its files.
    """
    # Closed at the end of the block; a temporary file has no name that could be left behind.
    spool: IO[bytes] = tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES)  # noqa: SIM115
    try:
        if params.index_url and params.index_size and not with_xattrs:
            index = index_of(session, params, renew=renew)
            await Download(index, sha256=params.index_sha256).into(Spool(spool))
            yield _Indexed(spool, archive_of(session, params, renew=renew), params)
        else:
            await archive_download(session, params, renew=renew).into(Spool(spool))
            if give_urls is not None and params.is_plain:
                yield PlainContents(spool, session, params, give_urls)
            else:
                yield _Whole(spool, params)
    finally:
        spool.close()


class _Indexed:
    def __init__(self, index: IO[bytes], archive: StoredObject, params: ResultParams) -> None:
        self._index = index
        self._archive = archive
        self._params = params

    def __repr__(self) -> str:
        return f"<_Indexed contents of {self._archive!r}>"

    def entries(self) -> Iterator[Member]:
        for line in self._lines():
            if isinstance(line, Member) and (member := plainly_named(line)) is not None:
                yield member

    def _lines(self) -> Iterator[Member | Block]:
        self._index.seek(0)
        return IndexReader(archive_bytes=self._archive.size_bytes, announced=announced(self._params)).read(self._index)

    async def data_bytes(self, files: Sequence[Member] | None) -> int:
        if files is not None:
            return (await self._wanted(files)).data_bytes
        lines, total_bytes = self._lines(), 0
        while some := await in_thread(lambda: list(islice(lines, ENTRIES_AT_ONCE))):
            total_bytes += sum(line.data_bytes for line in some if isinstance(line, Block))
        return total_bytes

    async def _wanted(self, files: Sequence[Member]) -> WantedBlocks:
        """The blocks that hold the content of these files; only those are in memory."""
        wanted = WantedBlocks(files)
        lines = self._lines()
        while await in_thread(lambda: wanted.offer(islice(lines, ENTRIES_AT_ONCE))):
            pass
        return wanted

    async def read(self, files: Sequence[Member], take: Take, on_bytes: OnBytes) -> None:
        await self.read_blocks((await self._wanted(files)).table, files, take, on_bytes)

    async def part_readers(self, files: Sequence[Member]) -> "Sequence[PartReader]":
        table = (await self._wanted(files)).table
        return [_PartOfBlocks(self, file, table) for file in files]

    async def read_blocks(
        self, needed: Sequence[Block], files: Sequence[Member], take: Take, on_bytes: OnBytes
    ) -> None:
        """As `read`, out of these blocks, which hold the content of the files."""
        total_bytes = await in_thread(lambda: sum(span.end - span.start for span in spans_of(needed)))
        reader, cutter = BlockReader(needed), Cutter(files)
        done_bytes = next_at = 0

        def use(at: int, portion: bytes) -> None:
            for tar_at, tar in reader.feed(at, portion):
                for event in cutter.feed(tar_at, tar):
                    take(event)

        async def deliver(at: int, portion: bytes) -> None:
            nonlocal done_bytes, next_at
            done_bytes, next_at = done_bytes + len(portion), at + len(portion)
            await in_thread(lambda: use(at, portion))
            on_bytes(min(done_bytes, total_bytes), total_bytes)

        def end() -> None:
            reader.close()
            for event in cutter.close():
                take(event)

        try:
            await fetch_in_order(self._archive, spans_of(needed), deliver, connections=CONNECTIONS)
        except RangesIgnored:
            at = max(next_at, needed[0].at)
            async with aclosing(self._archive.read(at, needed[-1].at + needed[-1].bytes)) as portions:
                async for portion in portions:
                    await deliver(at, portion)
                    at += len(portion)
        await in_thread(end)


class _PartOfBlocks:
    def __init__(self, contents: _Indexed, file: Member, blocks: Sequence[Block]) -> None:
        self._contents = contents
        self._file = file
        self._blocks = blocks

    def __repr__(self) -> str:
        return f"<_PartOfBlocks of {self._contents!r}>"

    async def read(self, start: int, end: int) -> bytes:
        if start >= end:
            return b""
        part = replace(self._file, content_at=self._file.content_at + start, size_bytes=end - start)
        first = bisect_right(self._blocks, part.content_at, key=lambda block: block.tar_at) - 1
        after = bisect_left(self._blocks, part.content_at + part.size_bytes, key=lambda block: block.tar_at)
        content = _Joined()
        await self._contents.read_blocks(self._blocks[max(0, first) : after], [part], content.take, _no_progress)
        return bytes(content.content)

    def close(self) -> None:
        pass


class _Joined:
    """Takes the content of one file."""

    def __init__(self) -> None:
        self.content = bytearray()

    def take(self, event: Member | memoryview) -> None:
        if not isinstance(event, Member):
            self.content += event


def _no_progress(_done: int, _total: int) -> None:
    pass


class _Whole:
    def __init__(self, archive: IO[bytes], params: ResultParams) -> None:
        self._archive = archive
        self._params = params

    def __repr__(self) -> str:
        return "<_Whole archive>"

    def entries(self) -> Iterator[Member]:
        reader, bounds = TarReader(), announced(self._params)
        for tar in self._tar():
            for event in reader.feed(tar):
                if isinstance(event, Member):
                    bounds.count(event)
                    if (member := plainly_named(event)) is not None:
                        yield member
        reader.close()

    async def read(self, files: Sequence[Member], take: Take, on_bytes: OnBytes) -> None:
        cutter = Cutter(files)
        pieces = self._tar()
        tar_at = 0

        def use() -> bool:
            nonlocal tar_at
            piece = next(pieces, b"")
            for event in cutter.feed(tar_at, piece) if piece else cutter.close():
                take(event)
            tar_at += len(piece)
            return bool(piece)

        while await in_thread(use):
            pass
        fetched_bytes = self._archive.seek(0, os.SEEK_END)
        on_bytes(fetched_bytes, fetched_bytes)

    async def data_bytes(self, files: Sequence[Member] | None) -> int:  # noqa: ARG002  # the protocol's
        return 0

    async def part_readers(self, files: Sequence[Member]) -> "Sequence[PartReader]":
        """The files are unpacked once."""
        unpacked: list[_Unpacked] = []

        def take(event: Member | memoryview) -> None:
            if isinstance(event, Member):
                unpacked.append(_Unpacked())
            else:
                unpacked[-1].write(event)

        try:
            await self.read(files, take, _no_progress)
        except BaseException:
            for each in unpacked:
                each.close()
            raise
        return unpacked

    def _tar(self) -> Iterator[bytes]:
        self._archive.seek(0)
        gunzip = Gunzip()
        while data := self._archive.read(_READ_BYTES):
            yield from gunzip.feed(data)
        gunzip.close()


class _Unpacked:
    """One file in a temporary file of its own, which has no position that its readers would share."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # `close` is its end

    def __repr__(self) -> str:
        return "<_Unpacked file>"

    def write(self, data: memoryview) -> None:
        self._file.write(data)

    async def read(self, start: int, end: int) -> bytes:
        return await in_thread(partial(self._read, start, end))

    def _read(self, start: int, end: int) -> bytes:
        self._file.flush()
        content = bytearray()
        while len(content) < end - start and (piece := self._pread(start + len(content), end)):
            content += piece
        return bytes(content)

    def _pread(self, start: int, end: int) -> bytes:
        return os.pread(self._file.fileno(), min(end - start, _READ_BYTES), start)

    def close(self) -> None:
        self._file.close()


async def walk(contents: Contents, act: Callable[[Member], object]) -> None:
    """Call `act` for each entry, in threads for a while at a time, so that a cancellation need not wait for the end."""
    entries = contents.entries()

    def some() -> bool:
        member = None
        for member in islice(entries, ENTRIES_AT_ONCE):
            act(member)
        return member is not None

    while await in_thread(some):
        pass
