"""Which zeros become holes, and how much room is needed where they do."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.extraction.announced import AnnouncedSize
from shared.extraction.archive_index import Block, IndexReader
from shared.extraction.block_reading import WantedBlocks
from shared.runtime.holes import GRANULE_BYTES, data_of, has_no_holes, is_zero, least_data_bytes
from tests.archives import packed
from tests.memory import MIB
from tests.unit.shared.extraction.test_block_reading import member

RUNS = st.lists(st.tuples(st.booleans(), st.integers(1, 3 * GRANULE_BYTES)), max_size=8)


def content_of(runs: list[tuple[bool, int]]) -> bytes:
    return b"".join((bytes if is_hole else b"x".__mul__)(size) for is_hole, size in runs)


@settings(deadline=None, max_examples=200)
@given(RUNS, st.integers(0, 2 * GRANULE_BYTES))
def test_what_is_left_out_is_zeros_and_whole_granules_of_zeros_are(runs: list[tuple[bool, int]], at: int) -> None:
    content = content_of(runs)
    rebuilt = bytearray(len(content))
    end = at
    for start, run in data_of(at, memoryview(content)):
        assert start >= end
        end = start + len(run)
        rebuilt[start - at : end - at] = run
    assert rebuilt == content
    written = {
        place // GRANULE_BYTES
        for start, run in data_of(at, memoryview(content))
        for place in range(start, start + len(run))
    }
    for granule in range(-(-at // GRANULE_BYTES), (at + len(content)) // GRANULE_BYTES):
        begin = granule * GRANULE_BYTES - at
        assert (granule not in written) == is_zero(memoryview(content)[begin : begin + GRANULE_BYTES])


@settings(deadline=None, max_examples=200)
@given(RUNS, st.integers(0, 8))
def test_the_room_that_is_told_is_never_more_than_what_is_written(runs: list[tuple[bool, int]], shift: int) -> None:
    content = content_of([(is_hole, size + 2 * GRANULE_BYTES if is_hole else size) for is_hole, size in runs])
    written = sum(len(run) for _, run in data_of(shift * 512, memoryview(content)))
    assert least_data_bytes(content) <= written


def test_data_that_has_no_holes_is_told_in_full() -> None:
    assert least_data_bytes(b"x" * MIB) == MIB
    assert least_data_bytes(bytes(MIB)) == 0


def test_of_blocks_that_files_share_each_file_counts_for_itself() -> None:
    blocks = [Block(tar_at=at * MIB, tar_bytes=MIB, at=at, bytes=1, crc32=0, data_bytes=MIB) for at in range(4)]
    blocks[2] = Block(tar_at=2 * MIB, tar_bytes=MIB, at=2, bytes=1, crc32=0, data_bytes=0)
    wanted = WantedBlocks([member(512, 100), member(1024, 0), member(2048, 10), member(MIB - 5, 2 * MIB + 10)])
    wanted.offer(blocks)
    assert wanted.data_bytes == 100 + 10 + 5 + MIB + 5
    assert [block.tar_at // MIB for block in wanted.table] == [0, 1, 2, 3]


async def test_the_index_tells_how_much_of_a_sparse_file_is_data(tmp_path: Path) -> None:
    with (tmp_path / "image").open("wb") as image:
        image.truncate(64 * MIB)
        for at in range(0, 64, 4):
            image.seek(at * MIB)
            image.write(b"x" * 8192)
    made = await packed(tmp_path)
    with tempfile.TemporaryFile() as index:
        index.write(made.index)
        index.seek(0)
        lines = IndexReader(archive_bytes=len(made.archive), announced=AnnouncedSize()).read(index)
        data_bytes = sum(line.data_bytes for line in lines if isinstance(line, Block))
    assert 16 * 4096 <= data_bytes <= 16 * 3 * 4096


@pytest.mark.parametrize(
    ("at", "content", "expected"),
    [
        (0, b"x" * GRANULE_BYTES, True),
        (GRANULE_BYTES, b"x" * 3 * GRANULE_BYTES, True),
        (0, bytes(GRANULE_BYTES), False),
        (0, b"x" * GRANULE_BYTES + bytes(GRANULE_BYTES), False),
        (5, b"x" * 2 * GRANULE_BYTES, False),
    ],
)
def test_content_has_no_holes_where_each_granule_begins_with_data(at: int, content: bytes, *, expected: bool) -> None:
    assert has_no_holes(at, memoryview(content)) is expected
