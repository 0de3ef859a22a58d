"""The .tar.gz of a directory as an asynchronous stream."""

import asyncio
import hashlib
import io
import os
import subprocess
import tarfile
import threading
import zlib
from pathlib import Path

import msgspec
import pytest
from blockbuster import blockbuster_ctx

from compute.archive import ArchiveStream, ArchiveSummary, tree_size
from compute.gzip_blocks import compress_block
from compute.tar_stream import BLOCK_BYTES, READ_BYTES, TarStream


async def archive_of(root: Path) -> tuple[bytes, ArchiveSummary]:
    chunks = []
    async with ArchiveStream(root) as archive:
        async for chunk in archive:
            chunks.append(chunk)  # noqa: PERF401  # the summary is wanted afterwards
        return b"".join(chunks), archive.summary


def descriptors() -> set[str]:
    return {link.name for link in Path("/proc/self/fd").iterdir()}


def fill(root: Path, *, files: int) -> None:
    for number in range(files):
        (root / f"file{number:02}").write_bytes(os.urandom(BLOCK_BYTES))


async def test_the_archive_is_the_tree_as_tar_in_gzip(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(os.urandom(3 * BLOCK_BYTES))
    data, _ = await archive_of(tmp_path)
    assert zlib.decompress(data, 31) == b"".join(TarStream(tmp_path).blocks())


async def test_the_summary_tells_size_digest_and_counts(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(b"x" * 1234)
    os.mkfifo(tmp_path / "fifo")
    data, summary = await archive_of(tmp_path)
    assert summary == ArchiveSummary(
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        entries=2,
        raw_bytes=1234,
        warnings=("'fifo' was left out: it is a socket, a fifo or a device",),
        warnings_count=1,
    )
    assert msgspec.json.decode(msgspec.json.encode(summary), type=ArchiveSummary) == summary


async def test_the_same_tree_gives_the_same_archive(tmp_path: Path) -> None:
    fill(tmp_path, files=3)
    assert await archive_of(tmp_path) == await archive_of(tmp_path)


async def test_an_empty_directory_gives_an_archive_without_entries(tmp_path: Path) -> None:
    data, summary = await archive_of(tmp_path)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
        assert tar.getnames() == []
    assert (summary.entries, summary.raw_bytes, summary.size_bytes) == (0, 0, len(data))


async def test_gzip_and_tar_read_it(tmp_path: Path) -> None:
    fill(tmp_path, files=2)
    data, _ = await archive_of(tmp_path)
    await asyncio.to_thread(subprocess.run, ["gzip", "-t"], input=data, check=True)
    listed = await asyncio.to_thread(subprocess.run, ["tar", "-tzf", "-"], input=data, capture_output=True, check=True)
    assert (listed.stdout, listed.stderr) == (b"file00\nfile01\n", b"")


async def test_chunks_are_large_except_the_last(tmp_path: Path) -> None:
    fill(tmp_path, files=4)
    async with ArchiveStream(tmp_path) as archive:
        sizes = [len(chunk) async for chunk in archive]
    assert len(sizes) >= 4
    assert min(sizes[:-1]) >= 256 << 10


async def test_a_tree_that_compresses_to_almost_nothing_still_comes_in_bounded_steps(tmp_path: Path) -> None:
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(40 << 20)
    async with ArchiveStream(tmp_path) as archive:
        chunks = [chunk async for chunk in archive]
    assert len(chunks) == 3


async def test_nothing_is_made_before_it_is_asked_for(tmp_path: Path) -> None:
    fill(tmp_path, files=1)
    async with ArchiveStream(tmp_path) as archive:
        assert archive._ahead is None


async def test_at_most_one_chunk_is_made_ahead_of_the_consumer(tmp_path: Path) -> None:
    fill(tmp_path, files=10)
    async with ArchiveStream(tmp_path) as archive:
        first = await anext(archive)
        assert archive._ahead is not None
        await asyncio.wait([archive._ahead])
        assert archive._producer._size_bytes == len(first) + len(archive._ahead.result())
        assert archive._producer.tar.entries <= 3


async def test_the_event_loop_never_waits_for_the_disk(tmp_path: Path) -> None:
    fill(tmp_path, files=2)
    with blockbuster_ctx():
        async with ArchiveStream(tmp_path) as archive:
            async for _ in archive:
                pass
        assert await tree_size(tmp_path) == 2 * BLOCK_BYTES


async def test_the_summary_is_refused_before_the_end(tmp_path: Path) -> None:
    fill(tmp_path, files=5)
    async with ArchiveStream(tmp_path) as archive:
        await anext(archive)
        with pytest.raises(RuntimeError):
            _ = archive.summary


async def test_a_missing_root_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await archive_of(tmp_path / "missing")


async def test_leaving_half_way_closes_every_file(tmp_path: Path) -> None:
    fill(tmp_path, files=8)
    before = descriptors()
    async with ArchiveStream(tmp_path) as archive:
        await anext(archive)
    assert descriptors() == before


async def test_cancelling_a_consumer_that_waits_stops_the_thread_and_closes_every_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "zeros").open("wb") as file:
        file.truncate(20 << 20)
    reading, go_on = threading.Event(), threading.Event()
    inside = reads = 0
    real_read = os.read

    def hanging_read(descriptor: int, size: int) -> bytes:
        nonlocal inside, reads
        inside, reads = inside + 1, reads + 1
        reading.set()
        assert go_on.wait(10)
        inside -= 1
        return real_read(descriptor, size)

    async def consume() -> None:
        async with ArchiveStream(tmp_path) as archive:
            async for _ in archive:
                pass

    before = descriptors()
    monkeypatch.setattr(os, "read", hanging_read)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(consume(), name="consume")
        assert await asyncio.to_thread(reading.wait, 10)
        task.cancel()
        done, _ = await asyncio.wait([task], timeout=0.02)
        assert not done, "it may not end before its thread"
        go_on.set()
    assert task.cancelled()
    assert (descriptors(), inside) == (before, 0)
    assert reads <= 2 * BLOCK_BYTES // READ_BYTES, "it stops at the next block, not at the next chunk"


async def test_cancelling_a_consumer_that_is_busy_elsewhere_closes_every_file(tmp_path: Path) -> None:
    fill(tmp_path, files=20)
    holding = asyncio.Event()

    async def consume() -> None:
        async with ArchiveStream(tmp_path) as archive:
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


async def test_an_error_in_the_read_ahead_reaches_the_consumer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(raw: bytes) -> None:
        raise MemoryError

    fill(tmp_path, files=5)
    monkeypatch.setattr("compute.archive.compress_block", failing)
    with pytest.raises(MemoryError):
        await archive_of(tmp_path)


async def test_the_size_of_a_tree_is_that_of_its_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "file").write_bytes(bytes(1000))
    (tmp_path / "file").write_bytes(bytes(234))
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "loop").symlink_to(".")
    assert await tree_size(tmp_path) == 1234


def test_compression_can_be_done_in_any_order() -> None:
    raws = [os.urandom(100), b"x" * 1000]
    assert [compress_block(raw) for raw in raws] == [compress_block(raw) for raw in reversed(raws)][::-1]
