"""The .tar.gz of a directory as parts that are made when they are asked for, with its index."""

import asyncio
import hashlib
import io
import mmap
import os
import resource
import subprocess
import tarfile
import threading
import zlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from blockbuster import blockbuster_ctx
from msgspec.structs import replace

from compute.archive.gzip_blocks import CompressedBlock, compress_block
from compute.archive.stream import BLOCKS_AHEAD, ArchiveStream, ArchiveThreads, Part
from compute.archive.tar_stream import BLOCK_BYTES, ZEROS, TarStream
from shared.protocol.archive_index import VERSION, AnyLine, BlockLine, FileLine, IndexEnd, IndexHead
from shared.protocol.published_facts import PublishedFacts
from tests.waiting import eventually

PART_BYTES = 3 * BLOCK_BYTES // 2


@dataclass(frozen=True)
class Made:
    parts: list[Part]
    summary: PublishedFacts
    index: bytes

    @property
    def data(self) -> bytes:
        return b"".join(part.content for part in self.parts)


class Bench:
    """Makes archives of one folder, with as many compressing threads as the test likes."""

    def __init__(self, root: Path, scratch: Path) -> None:
        self.root = root
        self.scratch = scratch
        self._threads: dict[int, ArchiveThreads] = {}

    def archive(self, *, compressing: int = 2, part_bytes: int = PART_BYTES) -> ArchiveStream:
        if compressing not in self._threads:
            self._threads[compressing] = ArchiveThreads(at_once=2, compressing=compressing)
        return ArchiveStream(self.root, self._threads[compressing], part_bytes=part_bytes, scratch=self.scratch)

    async def make(self, *, compressing: int = 2, part_bytes: int = PART_BYTES) -> Made:
        async with self.archive(compressing=compressing, part_bytes=part_bytes) as archive:
            parts = [part async for part in archive]
            index = b""
            if archive.index is not None:
                with archive.index.content() as content:
                    index = bytes(content)
                assert (archive.index.size_bytes, archive.index.sha256) == (
                    len(index),
                    hashlib.sha256(index).hexdigest(),
                )
                assert archive.index.md5 == hashlib.md5(index).digest()
            return Made(parts, archive.summary, index)

    async def warm_up(self) -> None:
        """Have the threads started, which keep no descriptors, and the loop's own descriptors open."""
        await self.make()

    def close(self) -> None:
        for threads in self._threads.values():
            threads.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    root, scratch = tmp_path / "root", tmp_path / "scratch"
    root.mkdir()
    scratch.mkdir()
    made = Bench(root, scratch)
    yield made
    await asyncio.to_thread(made.close)


def descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


def fill(root: Path, *, files: int, file_bytes: int = BLOCK_BYTES) -> None:
    for number in range(files):
        (root / f"file{number:02}").write_bytes(os.urandom(file_bytes))


def make_sparse(path: Path, size_bytes: int) -> None:
    with path.open("wb") as file:
        file.truncate(size_bytes)


def lines_of(index: bytes) -> list[AnyLine]:
    decoder: msgspec.json.Decoder[AnyLine] = msgspec.json.Decoder(AnyLine)
    return [decoder.decode(line) for line in zlib.decompress(index, 31).splitlines()]


async def test_the_archive_is_the_tree_as_tar_in_gzip(bench: Bench) -> None:
    (bench.root / "sub").mkdir()
    (bench.root / "sub" / "file").write_bytes(os.urandom(3 * BLOCK_BYTES))
    assert zlib.decompress((await bench.make()).data, 31) == b"".join(TarStream(bench.root).blocks())


async def test_the_summary_tells_size_digest_and_counts(bench: Bench) -> None:
    (bench.root / "sub").mkdir()
    (bench.root / "sub" / "file").write_bytes(b"x" * 1234)
    os.mkfifo(bench.root / "fifo")
    made = await bench.make()
    assert 0 < made.summary.archive_seconds < 10
    assert replace(made.summary, archive_seconds=0.0, content_digest="") == PublishedFacts(
        size_bytes=len(made.data),
        sha256=hashlib.sha256(made.data).hexdigest(),
        entries=2,
        raw_bytes=1234,
        warnings=("'fifo' was left out: it is a socket, a fifo or a device",),
        warnings_count=1,
    )


@pytest.mark.parametrize("kind", ["random", "text", "sparse"])
async def test_the_same_tree_gives_the_same_bytes_however_many_threads_compress(bench: Bench, kind: str) -> None:
    for number in range(8):
        if kind == "sparse":
            make_sparse(bench.root / f"file{number}", 2 * BLOCK_BYTES + number)
        elif kind == "text":
            (bench.root / f"file{number}").write_bytes(b"".join(b"%d words " % each for each in range(150_000)))
        else:
            (bench.root / f"file{number}").write_bytes(os.urandom(BLOCK_BYTES + number))
    one, three, again = [await bench.make(compressing=threads) for threads in (1, 3, 3)]
    assert one.data == three.data == again.data
    assert one.index == three.index == again.index
    assert [await part.md5() for part in one.parts] == [await part.md5() for part in three.parts]


async def test_an_empty_directory_gives_an_archive_without_entries(bench: Bench) -> None:
    made = await bench.make()
    with tarfile.open(fileobj=io.BytesIO(made.data), mode="r:gz") as tar:
        assert tar.getnames() == []
    assert (made.summary.entries, made.summary.raw_bytes, made.summary.size_bytes) == (0, 0, len(made.data))


async def test_gzip_and_tar_read_it(bench: Bench) -> None:
    fill(bench.root, files=2)
    data = (await bench.make()).data
    await asyncio.to_thread(subprocess.run, ["gzip", "-t"], input=data, check=True)
    listed = await asyncio.to_thread(subprocess.run, ["tar", "-tzf", "-"], input=data, capture_output=True, check=True)
    assert (listed.stdout, listed.stderr) == (b"file00\nfile01\n", b"")


# ---- parts ------------------------------------------------------------------------------------------------------


async def test_all_parts_but_the_last_one_are_equally_long_and_each_has_its_digest(bench: Bench) -> None:
    fill(bench.root, files=5)
    parts = (await bench.make()).parts
    assert [part.number for part in parts] == [1, 2, 3, 4]
    assert {len(part.content) for part in parts[:-1]} == {PART_BYTES}
    assert 0 < len(parts[-1].content) <= PART_BYTES
    assert [part.is_last for part in parts] == [False, False, False, True]
    assert [await part.md5() for part in parts] == [hashlib.md5(part.content).digest() for part in parts]


async def test_an_archive_that_ends_with_a_part_has_no_empty_part_after_it(bench: Bench) -> None:
    fill(bench.root, files=2)
    size_bytes = (await bench.make()).summary.size_bytes
    assert [len(part.content) for part in (await bench.make(part_bytes=size_bytes)).parts] == [size_bytes]
    assert [len(part.content) for part in (await bench.make(part_bytes=size_bytes - 1)).parts] == [size_bytes - 1, 1]


async def test_parts_can_be_made_larger_while_there_is_one(bench: Bench) -> None:
    fill(bench.root, files=5)
    expected = (await bench.make()).data
    async with bench.archive() as archive:
        first = await archive.enlarge(await anext(archive), 2 * PART_BYTES)
        parts = [first, *[part async for part in archive]]
        assert archive.summary.sha256 == hashlib.sha256(expected).hexdigest()
    assert [(part.number, len(part.content)) for part in parts[:1]] == [(1, 2 * PART_BYTES)]
    assert b"".join(part.content for part in parts) == expected


async def test_a_part_keeps_its_bytes_while_the_next_ones_are_made(bench: Bench) -> None:
    fill(bench.root, files=6)
    async with bench.archive() as archive:
        first = await anext(archive)
        copy = bytes(first.content)
        async for _ in archive:
            pass
        assert bytes(first.content) == copy


# ---- index ------------------------------------------------------------------------------------------------------


async def test_each_block_of_the_index_can_be_decompressed_alone(bench: Bench) -> None:
    fill(bench.root, files=3)
    (bench.root / "text").write_bytes(b"many words " * 200_000)
    make_sparse(bench.root / "zeros", 5 * BLOCK_BYTES)
    made = await bench.make()
    tar = b"".join(TarStream(bench.root).blocks())
    blocks = [line for line in lines_of(made.index) if isinstance(line, BlockLine)]
    assert len(blocks) == -(-len(tar) // BLOCK_BYTES)
    at = blocks[0].at
    for block in blocks:
        raw = zlib.decompressobj(-15).decompress(made.data[block.at : block.at + block.bytes])
        assert raw == tar[block.tar_at : block.tar_at + block.tar_bytes]
        assert (zlib.crc32(raw), len(raw)) == (block.crc32, block.tar_bytes)
        assert block.at == at
        at += block.bytes
    assert at < len(made.data) <= at + 10


async def test_the_index_names_every_entry_before_the_block_in_which_it_begins(bench: Bench) -> None:
    for number in range(3000):
        (bench.root / f"{number:04}").write_bytes(b"%d" % number)
    made = await bench.make()
    tar = b"".join(TarStream(bench.root).blocks())
    head, *lines, end = lines_of(made.index)
    assert head == IndexHead(version=VERSION)
    assert end == IndexEnd(entries=3000, blocks=3, tar_bytes=len(tar), bytes=len(made.data))
    begun = 0
    found: dict[bytes, bytes] = {}
    for line in lines:
        if isinstance(line, BlockLine):
            assert line.tar_at == begun
            begun += line.tar_bytes
        else:
            assert isinstance(line, FileLine)
            assert begun <= line.at < begun + BLOCK_BYTES + 1024
            found[line.name] = tar[line.at : line.at + line.size]
    assert isinstance(lines[-1], BlockLine)
    assert found == {b"%04d" % number: b"%d" % number for number in range(3000)}


async def test_an_archive_of_one_block_has_no_index(bench: Bench) -> None:
    (bench.root / "file").write_bytes(os.urandom(BLOCK_BYTES - 1024 - 512))
    assert (await bench.make()).index == b""
    (bench.root / "more").write_bytes(b"more")
    assert (await bench.make()).index != b""


async def test_an_index_that_is_too_large_for_memory_is_the_same_in_a_file_without_a_name(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4000):
        (bench.root / f"{number:04}-{os.urandom(8).hex()}").touch()
    (bench.root / "zeros").write_bytes(bytes(3 * BLOCK_BYTES))
    expected = await bench.make()
    monkeypatch.setattr("compute.archive.line_file.IN_MEMORY_BYTES", 10_000)
    before = descriptors()
    async with bench.archive(part_bytes=1 << 30) as archive:
        await anext(archive)
        assert archive.index is not None
        assert archive.index.size_bytes > 10_000
        with archive.index.content() as content:
            assert isinstance(content.obj, mmap.mmap), "it is not read into memory"
            assert bytes(content) == expected.index
        assert len(descriptors() - before) == 2, "one is its manifest's"
        assert list(bench.scratch.iterdir()) == []
    assert descriptors() == before


async def test_an_index_for_which_there_is_no_room_on_the_disk_does_not_spoil_the_archive(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(2000):
        (bench.root / f"{number:04}-{os.urandom(8).hex()}").touch()
    (bench.root / "zeros").write_bytes(bytes(3 * BLOCK_BYTES))
    expected = await bench.make()
    monkeypatch.setattr("compute.archive.line_file.IN_MEMORY_BYTES", 1_000)
    before, (soft, hard) = descriptors(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        async with bench.archive(part_bytes=1 << 30) as archive:
            part = await anext(archive)
            assert bytes(part.content) == expected.data
            assert archive.index is not None
            assert isinstance(archive.index.problem, OSError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert descriptors() == before


# ---- how much is done when -------------------------------------------------------------------------------------


async def test_a_block_of_zeros_is_compressed_once(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    compressed: list[bytes] = []

    def counting(raw: bytes, level: int) -> CompressedBlock:
        compressed.append(raw)
        return compress_block(raw, level)

    monkeypatch.setattr("compute.archive.stream.compress_block", counting)
    make_sparse(bench.root / "zeros", 100 * BLOCK_BYTES)
    made = await bench.make()
    assert sum(raw is ZEROS for raw in compressed) == 1
    assert len(compressed) <= 3
    assert made.summary.raw_bytes == 100 * BLOCK_BYTES
    assert zlib.decompress(made.data, 31) == b"".join(TarStream(bench.root).blocks())


async def test_nothing_is_made_before_it_is_asked_for_and_little_beyond_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[bytes] = []

    def counting(raw: bytes, level: int) -> CompressedBlock:
        read.append(raw)
        return compress_block(raw, level)

    monkeypatch.setattr("compute.archive.stream.compress_block", counting)
    fill(bench.root, files=20)
    async with bench.archive(compressing=2) as archive:
        assert read == []
        first = await anext(archive)
        in_first = len(first.content) // BLOCK_BYTES + 1
        assert len(read) <= in_first + 2 + BLOCKS_AHEAD


async def test_the_event_loop_never_waits_for_the_disk(bench: Bench) -> None:
    fill(bench.root, files=4)
    with blockbuster_ctx():
        async with bench.archive() as archive:
            async for _ in archive:
                pass


async def test_the_summary_is_refused_before_the_end(bench: Bench) -> None:
    fill(bench.root, files=5)
    async with bench.archive() as archive:
        await anext(archive)
        with pytest.raises(RuntimeError):
            _ = archive.summary


# ---- ends that are none ----------------------------------------------------------------------------------------


async def test_a_missing_root_is_an_error(bench: Bench) -> None:
    bench.root.rmdir()
    with pytest.raises(FileNotFoundError):
        await bench.make()


async def test_leaving_half_way_closes_every_file(bench: Bench) -> None:
    fill(bench.root, files=8)
    await bench.warm_up()
    before = descriptors()
    async with bench.archive() as archive:
        await anext(archive)
        assert descriptors() != before
    assert descriptors() == before


async def test_cancelling_a_consumer_that_waits_stops_the_thread_and_closes_every_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    (bench.root / "file").write_bytes(bytes(20 * BLOCK_BYTES))
    await bench.warm_up()
    reading, go_on = threading.Event(), threading.Event()
    inside = reads = 0
    real_read: Callable[..., bytes] = os.pread

    def hanging_read(descriptor: int, size: int, at: int) -> bytes:
        nonlocal inside, reads
        inside, reads = inside + 1, reads + 1
        reading.set()
        assert go_on.wait(10)
        inside -= 1
        return real_read(descriptor, size, at)

    async def consume() -> None:
        async with bench.archive(part_bytes=1 << 30) as archive:
            async for _ in archive:
                pass

    before = descriptors()
    monkeypatch.setattr(os, "pread", hanging_read)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(consume(), name="consume")
        assert await asyncio.to_thread(reading.wait, 10)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.02)
        assert not done, "it may not end before its thread"
        go_on.set()
    assert task.cancelled()
    assert (descriptors(), inside) == (before, 0)
    assert reads <= 2 + 2 * BLOCKS_AHEAD, "it stops at the next block, not at the next part"


async def test_cancelling_a_consumer_that_is_busy_elsewhere_closes_every_file(bench: Bench) -> None:
    fill(bench.root, files=20)
    await bench.warm_up()
    holding = asyncio.Event()

    async def consume() -> None:
        async with bench.archive() as archive:
            async for _ in archive:
                holding.set()
                await asyncio.Event().wait()

    before = descriptors()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(consume(), name="consume")
        await holding.wait()
        task.cancel()
    assert task.cancelled()
    assert descriptors() == before


async def test_blocks_that_wait_for_a_thread_when_the_archive_is_left_are_not_compressed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With one thread: the first block is done, the second is in hand, and the third waits when the archive is left."""
    may_go_on = threading.Semaphore(0)
    begun: list[bytes] = []

    def hanging(raw: bytes, level: int) -> CompressedBlock:
        begun.append(raw)
        assert may_go_on.acquire(timeout=10)
        return compress_block(raw, level)

    monkeypatch.setattr("compute.archive.stream.compress_block", hanging)
    fill(bench.root, files=10)
    async with asyncio.TaskGroup() as group:
        async with bench.archive(compressing=1, part_bytes=1 << 30) as archive:
            group.create_task(_one_part(archive), name="part")
            await eventually(lambda: len(archive._maker._compressing) == BLOCKS_AHEAD)
            archive._maker.stopping = True
            may_go_on.release()
        may_go_on.release(10)
    await asyncio.to_thread(bench.close)
    assert len(begun) == 2


async def _one_part(archive: ArchiveStream) -> None:
    await anext(archive)


async def test_an_error_in_a_compressing_thread_reaches_the_consumer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(raw: bytes, level: int) -> CompressedBlock:
        raise MemoryError

    fill(bench.root, files=5)
    monkeypatch.setattr("compute.archive.stream.compress_block", failing)
    with pytest.raises(MemoryError):
        await bench.make()
