"""One gzip member made of independent blocks."""

import gzip
import io
import struct
import subprocess
import tarfile
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compute.archive.gzip_blocks import GzipMember, compress_block


def member_of(*raws: bytes) -> bytes:
    member = GzipMember()
    pieces = [member.header()]
    pieces += [member.append(compress_block(raw)) for raw in raws]
    return b"".join([*pieces, member.trailer()])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_what_goes_in_comes_out(raws: list[bytes]) -> None:
    assert gzip.decompress(member_of(*raws)) == b"".join(raws)


def test_it_is_one_member_for_a_reader_that_stops_after_the_first() -> None:
    inflate = zlib.decompressobj(31)
    assert inflate.decompress(member_of(b"one" * 1000, b"two" * 1000)) == b"one" * 1000 + b"two" * 1000
    assert (inflate.eof, inflate.unused_data) == (True, b"")


def test_each_block_is_decompressed_without_the_ones_before() -> None:
    blocks = [compress_block(raw) for raw in (b"shared words " * 5000, b"shared words " * 5000)]
    for block in blocks:
        inflate = zlib.decompressobj(-15)
        raw = inflate.decompress(block.data)
        assert (raw, inflate.eof) == (b"shared words " * 5000, False)
        assert (block.raw_bytes, block.crc32) == (len(raw), zlib.crc32(raw))


def test_blocks_compress() -> None:
    assert len(compress_block(b"shared words " * 80_000).data) < 50_000


def test_the_length_in_the_trailer_is_modulo_4_gib() -> None:
    member, block = GzipMember(), compress_block(bytes(1 << 20))
    for _ in range(4097):
        member.append(block)
    assert struct.unpack("<I", member.trailer()[-4:]) == (1 << 20,)


def test_the_crc_in_the_trailer_is_that_of_all_blocks_together() -> None:
    raws = [b"one", b"", b"two" * 1000, bytes(70_000)]
    assert struct.unpack("<I", member_of(*raws)[-8:-4]) == (zlib.crc32(b"".join(raws)),)


def test_the_same_blocks_give_the_same_bytes() -> None:
    assert member_of(b"x" * 5000, b"y") == member_of(b"x" * 5000, b"y")


def test_the_header_tells_no_time_and_no_name() -> None:
    assert GzipMember().header() == b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x04\xff"


def test_gzip_accepts_it() -> None:
    tested = subprocess.run(
        ["gzip", "-t"], input=member_of(b"a" * 100_000, b"", b"b"), capture_output=True, check=False
    )
    assert (tested.returncode, tested.stderr) == (0, b"")


@pytest.mark.parametrize("mode", ["r:gz", "r|gz"])
def test_pythons_tarfile_reads_it_in_both_modes(mode: str) -> None:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        info = tarfile.TarInfo("file")
        info.size = 100_000
        archive.addfile(info, io.BytesIO(b"z" * 100_000))
    raw = tar.getvalue()
    packed = member_of(*(raw[at : at + 30_000] for at in range(0, len(raw), 30_000)))
    with tarfile.open(fileobj=io.BytesIO(packed), mode=mode) as archive:  # type: ignore[call-overload]  # a str
        names = [member.name for member in archive]
    assert names == ["file"]
