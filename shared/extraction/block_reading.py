"""Reading of chosen files out of an archive's blocks, each of which is decompressed and checked alone."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import msgspec
from isal import igzip_lib, isal_zlib

from shared.errors import ArchiveDamaged, InvalidInput
from shared.extraction.archive_index import Block
from shared.extraction.tar_reader import Member

MAX_BLOCKS = 1 << 24
"""Of which chosen files are read: 16 TiB of content, for which 450 MiB of memory are taken."""
COALESCE_BYTES = 512 << 10
"""Such a gap between two blocks is read rather than asked around, because a request costs more time."""

_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub gives an instance


class TooMuchChosen(InvalidInput):
    """More of a result was chosen by paths than memory is meant for."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The paths take {what}.", hint="Take fewer, or the whole result: `tarpon job get JOB` without a path."
        )


class ByteRange(msgspec.Struct, frozen=True):
    """The bytes of an object from `start` up to `end`."""

    start: int
    end: int


class BlockTable(Sequence[Block]):
    """Blocks in their order, in 28 bytes of memory each."""

    def __init__(self) -> None:
        self._columns = (array("Q"), array("I"), array("Q"), array("I"), array("I"))

    def __repr__(self) -> str:
        return f"<BlockTable of {len(self)} blocks>"

    def __len__(self) -> int:
        return len(self._columns[0])

    @overload
    def __getitem__(self, index: int) -> Block: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Block]: ...
    def __getitem__(self, index: int | slice) -> Block | Sequence[Block]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        tar_at, tar_bytes, at, size_bytes, crc32 = (column[index] for column in self._columns)
        return Block(tar_at=tar_at, tar_bytes=tar_bytes, at=at, bytes=size_bytes, crc32=crc32)

    def append(self, block: Block) -> None:
        values = (block.tar_at, block.tar_bytes, block.at, block.bytes, block.crc32)
        for column, value in zip(self._columns, values, strict=True):
            column.append(value)


class WantedBlocks:
    """Offered the lines of an index, keeps the blocks that hold the content of `files`, in the order of their contents.

    `data_bytes` of these files need room on a disk that keeps holes.

    Raises TooMuchChosen where they are more than memory is meant for.
    """

    def __init__(self, files: Sequence[Member]) -> None:
        self.table = BlockTable()
        self.data_bytes = 0
        self._files = files
        self._done = 0

    def __repr__(self) -> str:
        return f"<WantedBlocks {self.table!r}>"

    def offer(self, lines: Iterable[Member | Block]) -> bool:
        """Whether there were any."""
        line = None
        for line in lines:
            if isinstance(line, Block) and (held_bytes := self._held_bytes(line)):
                self.data_bytes += min(line.data_bytes, held_bytes)
                if len(self.table) >= MAX_BLOCKS:
                    raise TooMuchChosen(f"more than {MAX_BLOCKS:,} blocks of the archive")
                self.table.append(line)
        return line is not None

    def _held_bytes(self, block: Block) -> int:
        """How much content of the files is in this block, which comes after the one that was asked about last."""
        files, block_end = self._files, block.tar_at + block.tar_bytes
        held_bytes = 0
        while self._done < len(files):
            member = files[self._done]
            end = member.content_at + member.size_bytes
            if member.size_bytes:
                if member.content_at >= block_end:
                    break
                held_bytes += max(0, min(end, block_end) - max(member.content_at, block.tar_at))
                if end > block_end:
                    break
            self._done += 1
        return held_bytes


def spans_of(needed: Iterable[Block]) -> Iterator[ByteRange]:
    """What to fetch of the archive for these blocks."""
    span: ByteRange | None = None
    for block in needed:
        if span is None or block.at - span.end > COALESCE_BYTES:
            if span is not None:
                yield span
            span = ByteRange(block.at, block.at + block.bytes)
        else:
            span = ByteRange(span.start, block.at + block.bytes)
    if span is not None:
        yield span


class BlockReader:
    """Fed with portions of the archive, in order and with gaps; gives where a block's tar begins, and that tar.

    One block is in memory at a time. Raises ArchiveDamaged where a block is not what the index says.
    """

    def __init__(self, needed: Sequence[Block]) -> None:
        self._needed = needed
        self._done = 0
        self._packed = bytearray()

    def __repr__(self) -> str:
        return f"<BlockReader {self._done} of {len(self._needed)} blocks done>"

    def feed(self, at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
        while self._done < len(self._needed):
            block = self._needed[self._done]
            skip = block.at + len(self._packed) - at
            self._packed += data[skip : skip + block.bytes - len(self._packed)]
            if len(self._packed) < block.bytes:
                return
            yield block.tar_at, _unpacked(block, bytes(self._packed))
            self._packed.clear()
            self._done += 1

    def close(self) -> None:
        if self._done < len(self._needed):
            raise ArchiveDamaged("The archive ends too early: a block that its index names is missing.")


def _unpacked(block: Block, packed: bytes) -> bytes:
    try:
        tar = igzip_lib.IgzipDecompressor(igzip_lib.DECOMP_DEFLATE).decompress(packed, block.tar_bytes + 1)
    except _IsalError as error:
        raise ArchiveDamaged(f"The block at byte {block.at:,} of the archive is damaged: {error}.") from error
    if len(tar) != block.tar_bytes or isal_zlib.crc32(tar) != block.crc32:
        raise ArchiveDamaged(f"The block at byte {block.at:,} of the archive is not what its index says.")
    return bytes(tar)


class Cutter:
    """Fed with portions of tar, in order and with gaps; gives each file of `files`, followed by its content.

    As shared.extraction.tar_reader.TarReader does; `files` are in the order of their contents. Raises ArchiveDamaged.
    """

    def __init__(self, files: Sequence[Member]) -> None:
        self._files = files
        self._done = 0
        self._begun = False
        self._taken_bytes = 0

    def __repr__(self) -> str:
        return f"<Cutter {self._done} of {len(self._files)} files done>"

    def feed(self, tar_at: int, tar: bytes) -> Iterator[Member | memoryview]:
        view = memoryview(tar)
        while self._done < len(self._files):
            member = self._files[self._done]
            if not self._begun:
                if member.size_bytes and member.content_at >= tar_at + len(tar):
                    return
                self._begun, self._taken_bytes = True, 0
                yield member
            left = member.size_bytes - self._taken_bytes
            if left:
                start = member.content_at + self._taken_bytes - tar_at
                if start < 0:
                    raise ArchiveDamaged("A file in the archive begins where another one is.")
                piece = view[start : start + left]
                self._taken_bytes += len(piece)
                yield piece
                if len(piece) < left:
                    return
            self._done += 1
            self._begun = False

    def close(self) -> Iterator[Member | memoryview]:
        """The empty files at the end. Raises ArchiveDamaged where content is missing."""
        yield from self.feed(0, b"")
        if self._done < len(self._files):
            raise ArchiveDamaged("The archive ends too early: the content of a file is missing.")
