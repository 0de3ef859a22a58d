"""The manifest of an archive tells of each entry what the archive has of it, however it is packed."""

import asyncio
import hashlib
import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.archive.content_stream import ContentStream
from compute.archive.manifest import ContentManifest
from compute.archive.small import SmallArchives
from compute.archive.stream import ArchiveStream, ArchiveThreads
from compute.archive.tar_stream import BLOCK_BYTES
from compute.disk.result_contents import ALL
from shared.extraction.manifest_reading import manifest_entries
from shared.protocol.results.content_manifest import ManifestEntry, ManifestFile


@pytest.fixture
def threads() -> Iterator[ArchiveThreads]:
    made = ArchiveThreads(at_once=2, compressing=2)
    yield made
    made.close()


async def packed(root: Path, threads: ArchiveThreads) -> tuple[bytes, str, list[ManifestEntry]]:
    """The archive, the digest of its content, and its manifest."""
    async with ArchiveStream(root, threads, part_bytes=5 << 20, scratch=root.parent) as archive:
        data = b"".join([bytes(part.content) async for part in archive])
        with archive.manifest.content() as content:
            told = bytes(content)
        assert (archive.manifest.size_bytes, archive.manifest.sha256) == (len(told), hashlib.sha256(told).hexdigest())
        digest = archive.summary.content_digest
    return data, digest, list(manifest_entries(io.BytesIO(told), digest))


def as_extracted(archive: bytes) -> dict[str, tuple[int, str]]:
    """Size and digest of each file, by an extractor of somebody else."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        files = [(each, tar.extractfile(each)) for each in tar if each.isreg()]
        return {each.name: (each.size, hashlib.sha256(file.read()).hexdigest()) for each, file in files if file}


def grow(root: Path, sizes: list[int]) -> None:
    root.mkdir()
    (root / "sub").mkdir()
    for number, size in enumerate(sizes):
        (root / "sub" / f"{number:03}").write_bytes(os.urandom(size))
    (root / "link").symlink_to("sub/000")
    os.link(root / "sub" / "000", root / "same")


@pytest.mark.parametrize(
    "sizes",
    [
        [0],
        [5, 0, 511, 512, 513],
        [BLOCK_BYTES - 512 * each for each in range(9)],
        [3 * BLOCK_BYTES, 0, 1, 2 * BLOCK_BYTES + 1, 0, 0],
        [100] * 4000,
    ],
    ids=["empty", "small", "about a block", "of several blocks", "very many"],
)
async def test_each_file_has_the_digest_of_what_the_archive_has_of_it(
    tmp_path: Path, threads: ArchiveThreads, sizes: list[int]
) -> None:
    grow(tmp_path / "root", sizes)
    archive, _, entries = await packed(tmp_path / "root", threads)
    told = {each.path: (each.size, each.sha256) for each in entries if isinstance(each, ManifestFile)}
    assert told == as_extracted(archive)
    assert {each.path for each in entries} - set(told) == {"link", "sub", "sub/000"}


async def test_a_file_that_changes_while_it_is_read_has_the_digest_of_what_was_archived(
    tmp_path: Path, threads: ArchiveThreads
) -> None:
    grow(tmp_path / "root", [BLOCK_BYTES] * 30)
    scratch, root = tmp_path, tmp_path / "root"
    async with ArchiveStream(root, threads, part_bytes=5 << 20, scratch=scratch) as stream:
        first = await anext(stream)
        for number in range(20, 30):
            (root / "sub" / f"{number:03}").write_bytes(b"another")
        data = bytes(first.content) + b"".join([bytes(part.content) async for part in stream])
        with stream.manifest.content() as content:
            entries = list(manifest_entries(io.BytesIO(bytes(content))))
    told = {each.path: (each.size, each.sha256) for each in entries if isinstance(each, ManifestFile)}
    assert told == as_extracted(data)


@pytest.mark.parametrize("sizes", [[5, 0, 600], [BLOCK_BYTES, 7]], ids=["small", "large"])
async def test_the_digest_of_the_content_is_one_however_and_whenever_it_is_published(
    tmp_path: Path, threads: ArchiveThreads, sizes: list[int]
) -> None:
    root = tmp_path / "root"
    grow(root, sizes)
    _, digest, _ = await packed(root, threads)
    manifest = ContentManifest(tmp_path)
    manifest.add([each.entry for each in ContentStream(root).entries()])
    assert manifest.content_digest == digest
    small = SmallArchives().pack(root, ALL)
    assert (small is not None) is (max(sizes) < 1000)
    if small is not None:
        assert small.summary.content_digest == small.manifest.content_digest == digest
    os.utime(root / "sub" / "000", (1, 1))
    assert (await packed(root, threads))[1] == digest, "times are not of the content"
    (root / "sub" / "000").chmod(0o600)
    assert (await packed(root, threads))[1] != digest


async def test_a_stream_that_is_left_early_leaves_no_thread_and_no_file(
    tmp_path: Path, threads: ArchiveThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.archive.line_file.IN_MEMORY_BYTES", 0)
    grow(tmp_path / "root", [BLOCK_BYTES] * 30)
    await asyncio.to_thread(list, [])  # a thread of the loop's
    before = set(Path("/proc/self/fd").iterdir())
    async with ArchiveStream(tmp_path / "root", threads, part_bytes=5 << 20, scratch=tmp_path) as stream:
        await anext(stream)
    assert set(Path("/proc/self/fd").iterdir()) == before
