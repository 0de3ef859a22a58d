"""Reading the index beside an archive, which nobody has vouched for."""

import gzip
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shared.errors import Damaged, UnsafeArchive
from shared.extraction import block_reading
from shared.extraction.announced import AnnouncedSize
from shared.extraction.archive_index import MAX_BLOCK_BYTES, MAX_UNKNOWN_LINES, Block, IndexDamaged, IndexReader
from shared.extraction.block_reading import TooMuchChosen, WantedBlocks
from shared.extraction.tar_reader import Member, MemberKind
from shared.protocol.archive_index import MAX_LINE_BYTES, IndexEnd
from tests.archives import packed
from tests.memory import MIB, peak_below

HEAD = {"kind": "index", "version": 1}
FILE = {"kind": "file", "path": "a", "mode": 0o644, "mtime": 5, "size": 10, "at": 512}
BLOCK = {"kind": "block", "tar_at": 0, "tar_bytes": 2560, "at": 10, "bytes": 100, "crc32": 7}
END = {"kind": "end", "entries": 1, "blocks": 1, "tar_bytes": 2560, "bytes": 120}
GOOD = [HEAD, FILE, BLOCK, END]


def zipped(*lines: object) -> bytes:
    return gzip.compress(
        b"".join(line if isinstance(line, bytes) else msgspec.json.encode(line) + b"\n" for line in lines),
        compresslevel=1,
    )


def read(data: bytes, *, archive_bytes: int = 120, max_entries: int = 10) -> list[Member | Block]:
    announced = AnnouncedSize(max_bytes=10**7, max_entries=max_entries)
    return list(IndexReader(archive_bytes=archive_bytes, announced=announced).read(io.BytesIO(data)))


def test_entries_and_blocks_come_in_their_order() -> None:
    member, block = read(zipped(*GOOD))
    assert isinstance(member, Member)
    assert (member.kind, member.name, member.size_bytes, member.content_at) == (MemberKind.FILE, b"a", 10, 512)
    assert (member.mode, member.mtime_ns) == (0o644, 5 * 10**9)
    assert block == Block(tar_at=0, tar_bytes=2560, at=10, bytes=100, crc32=7, data_bytes=2560)


def test_links_directories_and_names_that_are_no_text_are_read() -> None:
    common = {"mode": 0o777, "mtime": 0}
    lines = [
        {"kind": "directory", "path_base64": "/w==", **common},
        {"kind": "symlink", "path": "s", "target": "t", **common},
        {"kind": "hardlink", "path": "h", "target_base64": "/w==", **common},
    ]
    found = read(zipped(HEAD, *lines, BLOCK, END | {"entries": 3}))
    names = [(each.name, each.link_target) for each in found if isinstance(each, Member)]
    assert names == [(b"\xff", b""), (b"s", b"t"), (b"h", b"\xff")]


def test_lines_and_keys_that_are_not_known_are_skipped() -> None:
    assert len(read(zipped(HEAD, {"kind": "owner", "x": [1]}, FILE | {"colour": "red"}, BLOCK, END))) == 2


async def test_what_the_node_writes_is_read(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "large").write_bytes(bytes(3 << 20))
    made = await packed(tmp_path / "tree")
    found = read(made.index, archive_bytes=len(made.archive), max_entries=made.summary.entries)
    assert sum(isinstance(each, Block) for each in found) == 4


FAR = 1 << 30


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        ([], "compressed data is damaged"),
        ([HEAD, FILE, BLOCK], "ends too early"),
        ([FILE, BLOCK, END], "does not say what it is"),
        ([HEAD, HEAD, FILE, BLOCK, END], "begins twice"),
        ([*GOOD, FILE], "goes on after its end"),
        ([*GOOD, b"\n"], "not JSON"),
        ([HEAD | {"version": 2}, FILE, BLOCK, END], "version 2"),
        ([HEAD, b"nonsense\n"], "not JSON"),
        ([HEAD, b'{"kind":"file","mode":"x"}\n'], "makes no sense"),
        ([HEAD, b'{"kind":"new","more":%b\n' % (b"[" * 10_000)], "is not JSON"),
        ([HEAD, b"\xff\xfe\n"], "not JSON"),
        ([*GOOD[:3], b'{"kind":"end"'], "last line is cut"),
        ([HEAD, FILE | {"path_base64": "abc"}, BLOCK, END], "makes no sense"),
        ([HEAD, *([{"kind": "directory", "path": "d", "mode": 0, "mtime": 0}] * 11)], "more than the 10 entries"),
        ([HEAD, FILE, FILE, BLOCK, END], "is where another entry is"),
        ([HEAD, FILE | {"at": 500}, BLOCK, END], "is where another entry is"),
        ([HEAD, FILE | {"size": -1}, BLOCK, END], "is where another entry is"),
        ([HEAD, FILE | {"size": 3000}, BLOCK, END], "more than its blocks"),
        ([HEAD, FILE | {"size": 10**30}, BLOCK, END], "more than the 10,000,000 bytes|makes no sense"),
        ([HEAD, FILE | {"size": 10**7 + 1}, BLOCK, END], "more than the 10,000,000 bytes"),
        ([HEAD, FILE, BLOCK, BLOCK | {"tar_at": 2560, "at": 110, "bytes": 5}], "too short"),
        ([HEAD, FILE, BLOCK | {"tar_bytes": 104_001}, END], "cannot hold 104,001"),
        ([HEAD, FILE, BLOCK | {"tar_at": 512}, END], "do not follow one another"),
        ([HEAD, FILE, BLOCK | {"at": 11}, END], "do not follow one another"),
        ([HEAD, FILE, BLOCK | {"bytes": 0}, END], "a block in it has"),
        ([HEAD, FILE, BLOCK | {"tar_bytes": 0}, END], "a block in it has"),
        ([HEAD, FILE, BLOCK | {"tar_bytes": MAX_BLOCK_BYTES + 1}, END], "a block in it has"),
        ([HEAD, FILE, BLOCK | {"bytes": FAR}, END], "a block in it has"),
        ([HEAD, FILE, BLOCK | {"bytes": 111}, END], "more than the archive"),
        ([HEAD, FILE, BLOCK, END | {"entries": 2}], "counts at its end"),
        ([HEAD, FILE, BLOCK, END | {"blocks": 2}], "counts at its end"),
        ([HEAD, FILE, BLOCK, END | {"tar_bytes": 2561}], "counts at its end"),
        ([HEAD, FILE, BLOCK, END | {"bytes": 121}], "counts at its end"),
        ([HEAD, b'{"kind":"x","y":"' + b"y" * MAX_LINE_BYTES + b'"}\n'], "too long"),
        ([HEAD, b"y" * (2 << 20)], "too long"),
        ([HEAD, *([{"kind": "owner"}] * (MAX_UNKNOWN_LINES + 1))], "not known here"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_an_index_that_makes_no_sense_is_refused(lines: list[Any], told: str) -> None:
    data = zipped(*lines) if lines else b""
    with pytest.raises(IndexDamaged, match=told) as caught:
        read(data)
    assert caught.value.hint


def test_an_index_that_is_cut_or_damaged_is_refused() -> None:
    data = zipped(*GOOD)
    for cut in (1, 10, -9, -1):
        with pytest.raises(IndexDamaged):
            read(data[:cut])
    with pytest.raises(IndexDamaged):
        read(data[:20] + bytes([data[20] ^ 1]) + data[21:])


def test_an_index_that_unpacks_for_ever_is_refused_in_little_memory() -> None:
    bomb = gzip.compress(bytes(64 << 20), 1)
    with peak_below(8 * MIB), pytest.raises(IndexDamaged, match="too long"):
        read(bomb)


def image_of(count: int) -> tuple[IndexReader, io.BytesIO, WantedBlocks]:
    """A result with one file, in so many blocks of a mebibyte: its reader, its index, and who wants all of the file."""
    size_bytes, packed_bytes = (count - 1) * MIB, count * 1039
    line = '{{"kind":"block","tar_at":{},"tar_bytes":1048576,"at":{},"bytes":1039,"crc32":0}}\n'
    blocks = "".join(line.format(number * MIB, 10 + number * 1039) for number in range(count))
    end = IndexEnd(entries=1, blocks=count, tar_bytes=count * MIB, bytes=packed_bytes + 20)
    index = zipped(HEAD, FILE | {"size": size_bytes}, blocks.encode(), end)
    image = Member(
        kind=MemberKind.FILE,
        name=b"a",
        link_target=b"",
        size_bytes=size_bytes,
        mode=0o644,
        mtime_ns=0,
        content_at=512,
    )
    reader = IndexReader(archive_bytes=packed_bytes + 20, announced=AnnouncedSize(max_bytes=count * MIB))
    return reader, io.BytesIO(index), WantedBlocks([image])


def test_an_index_of_more_than_a_tebibyte_is_read() -> None:
    count = (1 << 20) + 2
    reader, index, wanted = image_of(count)
    wanted.offer(reader.read(index))
    assert len(wanted.table) == count
    assert wanted.table[-1].tar_at == (count - 1) * MIB


def test_a_block_takes_little_memory() -> None:
    count = 60_000
    reader, index, wanted = image_of(count)
    with peak_below(8 * MIB):
        wanted.offer(reader.read(index))
    assert len(wanted.table) == count


def test_more_blocks_than_memory_is_meant_for_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_reading, "MAX_BLOCKS", 5)
    reader, index, wanted = image_of(6)
    with pytest.raises(TooMuchChosen, match="more than 5 blocks"):
        wanted.offer(reader.read(index))


def test_times_that_no_clock_knows_are_cut() -> None:
    (member, _) = read(zipped(HEAD, FILE | {"mtime": -(10**18)}, BLOCK, END))
    assert isinstance(member, Member)
    assert member.mtime_ns == -(10**12 - 1) * 10**9


def test_its_errors_are_damage_so_that_nobody_need_tell_them_apart() -> None:
    assert issubclass(IndexDamaged, Damaged)
    assert issubclass(UnsafeArchive, Damaged)
