"""Which blocks are fetched for which files, and how the files are cut out of them."""

import pytest
from isal import isal_zlib

from compute.archive.gzip_blocks import compress_block
from shared.errors import ArchiveDamaged
from shared.extraction.archive_index import Block
from shared.extraction.block_reading import (
    COALESCE_BYTES,
    BlockReader,
    BlockTable,
    ByteRange,
    Cutter,
    WantedBlocks,
    spans_of,
)
from shared.extraction.tar_reader import Member, MemberKind
from tarpon.transfer.byte_ranges import pieces
from tests.memory import MIB, peak_below

TAR = bytes(range(256)) * 40
BLOCK_BYTES = 1024


def member(at: int, size: int, name: str = "f") -> Member:
    return Member(
        kind=MemberKind.FILE,
        name=name.encode(),
        link_target=b"",
        size_bytes=size,
        mode=0o644,
        mtime_ns=0,
        content_at=at,
    )


def made() -> tuple[bytes, list[Block]]:
    """The archive's bytes, and its blocks of 1 KiB."""
    archive, blocks = bytes(10), []
    for at in range(0, len(TAR), BLOCK_BYTES):
        raw = TAR[at : at + BLOCK_BYTES]
        data = compress_block(raw).data
        blocks.append(
            Block(tar_at=at, tar_bytes=len(raw), at=len(archive), bytes=len(data), crc32=isal_zlib.crc32(raw))
        )
        archive += data
    return archive, blocks


ARCHIVE, BLOCKS = made()


def blocks_of(files: list[Member]) -> BlockTable:
    wanted = WantedBlocks(files)
    wanted.offer(BLOCKS)
    return wanted.table


def contents(files: list[Member], *, portion: int = 10**6, archive: bytes = ARCHIVE) -> list[bytes]:
    needed = blocks_of(files)
    reader, cutter = BlockReader(needed), Cutter(files)
    found: list[bytearray] = []
    events: list[Member | memoryview | bytes] = []
    for span in spans_of(needed):
        for piece in pieces([span], range_bytes=portion):
            for tar_at, tar in reader.feed(piece.start, archive[piece.start : piece.end]):
                events += [each if isinstance(each, Member) else bytes(each) for each in cutter.feed(tar_at, tar)]
    reader.close()
    events += [each if isinstance(each, Member) else bytes(each) for each in cutter.close()]
    for event in events:
        if isinstance(event, Member):
            found.append(bytearray())
        else:
            found[-1] += event
    return [bytes(each) for each in found]


def numbers(files: list[Member]) -> list[int]:
    return [block.tar_at // BLOCK_BYTES for block in blocks_of(files)]


def test_only_the_blocks_that_hold_the_files_are_needed_and_each_once() -> None:
    assert numbers([member(512, 100)]) == [0]
    assert numbers([member(1024, 1024)]) == [1]
    assert numbers([member(1023, 2)]) == [0, 1]
    assert numbers([member(512, 100), member(700, 3000), member(5000, 1)]) == [0, 1, 2, 3, 4]
    assert numbers([member(512, 0), member(9 * 1024, 10)]) == [9]


def test_blocks_near_each_other_are_fetched_in_one_go_and_others_are_not() -> None:
    near = Block(tar_at=0, tar_bytes=1, at=10, bytes=5, crc32=0)
    next_one = Block(tar_at=1, tar_bytes=1, at=15 + COALESCE_BYTES, bytes=5, crc32=0)
    far = Block(tar_at=2, tar_bytes=1, at=21 + 2 * COALESCE_BYTES, bytes=5, crc32=0)
    assert list(spans_of([near, next_one])) == [ByteRange(10, 20 + COALESCE_BYTES)]
    assert list(spans_of([near, far])) == [ByteRange(10, 15), ByteRange(far.at, far.at + 5)]
    assert list(spans_of([])) == []


def test_long_spans_are_asked_for_in_pieces() -> None:
    assert list(pieces([ByteRange(5, 12), ByteRange(20, 21)], range_bytes=3)) == [
        ByteRange(5, 8),
        ByteRange(8, 11),
        ByteRange(11, 12),
        ByteRange(20, 21),
    ]


@pytest.mark.parametrize("portion", [1, 7, 1000, 10**6])
def test_files_are_cut_out_whatever_the_portions(portion: int) -> None:
    files = [member(512, 100), member(700, 0), member(1000, 3000), member(6000, 1), member(len(TAR), 0)]
    expected = [TAR[each.content_at : each.content_at + each.size_bytes] for each in files]
    assert contents(files, portion=portion) == expected


def test_damage_in_a_block_is_found() -> None:
    files = [member(2048, 10)]
    (block,) = blocks_of(files)
    for place in range(block.at, block.at + block.bytes):
        for change in (1, 0x80):
            broken = bytearray(ARCHIVE)
            broken[place] ^= change
            try:
                found = contents(files, archive=bytes(broken))
            except ArchiveDamaged:
                continue
            assert found == contents(files), "a bit that means nothing"


def test_a_block_that_gives_more_than_it_should_is_not_unpacked_to_its_end() -> None:
    bomb = compress_block(bytes(50 << 20)).data
    block = Block(tar_at=0, tar_bytes=1024, at=0, bytes=len(bomb), crc32=0)
    with peak_below(MIB), pytest.raises(ArchiveDamaged, match="is not what its index says"):
        list(BlockReader([block]).feed(0, bomb))


def test_a_block_that_is_missing_is_told() -> None:
    reader = BlockReader(BLOCKS[:2])
    assert len(list(reader.feed(BLOCKS[0].at, ARCHIVE[10 : BLOCKS[1].at + 3]))) == 1
    with pytest.raises(ArchiveDamaged, match="ends too early"):
        reader.close()


def test_content_that_is_missing_or_overlaps_is_told() -> None:
    cutter = Cutter([member(512, 1000)])
    assert len(list(cutter.feed(0, bytes(1024)))) == 2
    with pytest.raises(ArchiveDamaged, match="ends too early"):
        list(cutter.close())
    with pytest.raises(ArchiveDamaged, match="begins where another one is"):
        list(Cutter([member(100, 10)]).feed(512, bytes(512)))
