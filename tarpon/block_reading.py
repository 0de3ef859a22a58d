"""How chosen files are cut out of an archive's blocks, each of which is decompressed and checked alone."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence

from isal import igzip_lib, isal_zlib

from shared.errors import ArchiveDamaged
from tarpon.archive_index import Block
from tarpon.spans import Span
from tarpon.tar_reader import Member

COALESCE_BYTES = 512 << 10
"""Such a gap between two blocks is read rather than asked around, because a request costs more time."""

_IsalError: type[Exception] = igzip_lib.IsalError  # type: ignore[assignment]  # its stub gives an instance


def blocks_of(files: Sequence[Member], blocks: Sequence[Block]) -> list[Block]:
    """The blocks that hold the content of `files`, which are in the order of their contents."""
    starts = [block.tar_at for block in blocks]
    needed: list[Block] = []
    done = 0
    for member in files:
        if not member.size_bytes:
            continue
        at = max(done, bisect_right(starts, member.content_at) - 1)
        while at < len(blocks) and blocks[at].tar_at < member.content_at + member.size_bytes:
            needed.append(blocks[at])
            at += 1
        done = at
    return needed


def spans_of(needed: Sequence[Block]) -> list[Span]:
    """What to fetch of the archive for these blocks."""
    spans: list[Span] = []
    for block in needed:
        if spans and block.at - spans[-1].end <= COALESCE_BYTES:
            spans[-1] = Span(spans[-1].start, block.at + block.bytes)
        else:
            spans.append(Span(block.at, block.at + block.bytes))
    return spans


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

    As tarpon.tar_reader.TarReader does; `files` are in the order of their contents. Raises ArchiveDamaged.
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
