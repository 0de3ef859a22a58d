"""What is read of a result in a real bucket by its index: no more than is needed, and nothing that was replaced."""

import asyncio
import gzip
import os
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from shared.errors import ArchiveDamaged, Damaged, DigestMismatch, DownloadFailed, UnsafeArchive
from shared.extraction.announced import announced
from shared.extraction.archive_index import IndexDamaged
from shared.extraction.room import Room
from shared.extraction.tar_reader import Member
from shared.protocol.rest import ResultParams
from tarpon.archive.contents import opened, walk
from tarpon.archive.links import NotAFile, file_at
from tarpon.archive.selection import FileNotInResult, Selection
from tarpon.results.fetch_one import Picked, Source, fetch_paths
from tarpon.results.logs import OutputSink
from tarpon.transfer.stored_object import object_session
from tests.archives import Packed, packed, tree
from tests.integration import stored_results
from tests.integration.stored_results import Stored, gate
from tests.servers import S3Server

MIB = 1 << 20
Renew = Callable[[], Awaitable[ResultParams]]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some twelve blocks that do not compress."""
    root = tmp_path_factory.mktemp("contents") / "source"
    (root / "outputs" / "deep").mkdir(parents=True)
    dice = random.Random(7)
    for number in range(10):
        (root / "outputs" / f"{number}.bin").write_bytes(dice.randbytes(MIB))
    (root / "outputs" / "deep" / "small").write_text("small\n")
    (root / "outputs" / "deep" / "empty").touch()
    (root / "outputs" / "deep" / "link").symlink_to("../9.bin")
    (root / "outputs" / "deep" / "loop").symlink_to("loop")
    (root / "outputs" / "zz-hard").hardlink_to(root / "outputs" / "0.bin")
    (root / "shortcut").symlink_to("outputs/deep")
    (root / "stdout").write_text("hello\n")
    (root / "outputs" / "deep").chmod(0o750)
    os.utime(root / "outputs" / "deep", (1_700_000_000, 1_700_000_000))
    return root


@pytest.fixture(scope="module")
def made(source: Path) -> Packed:
    return asyncio.run(packed(source))


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.create_bucket()


@pytest.fixture
def result(s3_server: S3Server, bucket: str, made: Packed) -> Stored:
    return stored_results.stored(s3_server, bucket, made)


async def never() -> ResultParams:
    raise AssertionError("no fresh URL was needed")


async def pick(params: ResultParams, target: Path, *paths: str, renew: Renew = never) -> Picked:
    async with object_session() as session:
        source = Source(session=session, params=params, renew=renew, on_bytes=lambda _done, _total: None)
        selection = Selection(paths)
        return await fetch_paths(source, selection, target, lambda _: selection.check("j-1"), Room(target.parent))


async def content_of(params: ResultParams, path: str, *, renew: Renew = never) -> bytes:
    found = bytearray()

    def take(event: Member | memoryview) -> None:
        if not isinstance(event, Member):
            found.extend(event)

    async with object_session() as session, opened(session, params, renew=renew) as contents:
        await contents.read([await file_at(contents, path, "j-1")], take, lambda _done, _total: None)
    return bytes(found)


def plain(result: Stored, *, endpoint: str = "") -> ResultParams:
    """The result as an orchestrator offers it that knows of no index."""
    return result.params(endpoint=endpoint, index_url="", index_size=0, index_sha256="")


@pytest.mark.parametrize("plainly", [False, True], ids=["206", "200"])
async def test_one_file_of_a_large_result_costs_its_blocks_alone(
    result: Stored, source: Path, tmp_path: Path, *, plainly: bool
) -> None:
    """Some servers give a range with the status 200."""
    async with gate(result.server, plainly=plainly) as between:
        picked = await pick(result.params(endpoint=between.endpoint), tmp_path / "out", "outputs/5.bin")
    assert picked == Picked(files=1, raw_bytes=MIB)
    assert tree(tmp_path / "out")["outputs/5.bin"][:4] == tree(source)["outputs/5.bin"][:4]
    assert sorted(tree(tmp_path / "out")) == ["outputs", "outputs/5.bin"]
    assert between.sent_bytes < len(result.index) + 2.2 * MIB
    assert len(between.ranges) == 2, "the index, and one range"


async def test_files_far_from_each_other_are_fetched_by_ranges_of_their_own(result: Stored, tmp_path: Path) -> None:
    async with gate(result.server) as between:
        await pick(result.params(endpoint=between.endpoint), tmp_path / "out", "outputs/[17].bin", "stdout")
    assert sorted(path.name for path in (tmp_path / "out").rglob("*")) == ["1.bin", "7.bin", "outputs", "stdout"]
    assert len(between.ranges) == 4
    assert between.sent_bytes < 6 * MIB


@pytest.mark.parametrize("with_index", [True, False], ids=["by its index", "without an index"])
async def test_everything_comes_as_it_was(result: Stored, source: Path, tmp_path: Path, *, with_index: bool) -> None:
    await pick(result.params() if with_index else plain(result), tmp_path / "out", ".")
    assert tree(tmp_path / "out") == tree(source)


@pytest.mark.parametrize("with_index", [True, False], ids=["by its index", "without an index"])
async def test_a_hard_link_alone_is_the_file_that_it_links_to(
    result: Stored, source: Path, tmp_path: Path, *, with_index: bool
) -> None:
    await pick(result.params() if with_index else plain(result), tmp_path / "out", "outputs/zz-hard")
    assert (tmp_path / "out" / "outputs" / "zz-hard").read_bytes() == (source / "outputs" / "0.bin").read_bytes()


async def test_a_directory_comes_with_its_mode_and_time(result: Stored, tmp_path: Path) -> None:
    picked = await pick(result.params(), tmp_path / "out", "outputs/deep/")
    assert picked.files == 2
    status = (tmp_path / "out" / "outputs" / "deep").stat()
    assert (status.st_mode & 0o777, status.st_mtime) == (0o750, 1_700_000_000)


@pytest.mark.parametrize("with_index", [True, False], ids=["by its index", "without an index"])
@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("shortcut/small", {"shortcut", "outputs", "outputs/deep", "outputs/deep/small"}),
        ("shortcut/link", {"shortcut", "outputs", "outputs/deep", "outputs/deep/link", "outputs/9.bin"}),
        ("outputs/deep/link", {"outputs", "outputs/deep", "outputs/deep/link", "outputs/9.bin"}),
        ("outputs/deep/loop", {"outputs", "outputs/deep", "outputs/deep/loop"}),
    ],
)
async def test_a_path_through_links_brings_the_links_and_what_they_lead_to(
    result: Stored, source: Path, tmp_path: Path, path: str, names: set[str], *, with_index: bool
) -> None:
    await pick(result.params() if with_index else plain(result), tmp_path / "out", path)
    assert set(tree(tmp_path / "out")) == names
    if not path.endswith("loop"):
        content = await content_of(result.params(), path)
        assert (tmp_path / "out" / path).read_bytes() == content == (source / path).read_bytes()


async def test_a_folder_behind_a_link_comes_whole(result: Stored, source: Path, tmp_path: Path) -> None:
    await pick(result.params(), tmp_path / "out", "shortcut/")
    found = tree(tmp_path / "out")
    assert {name: entry for name, entry in tree(source).items() if "deep" in name} == {
        name: entry for name, entry in found.items() if "deep" in name
    }
    assert (tmp_path / "out" / "shortcut").readlink() == Path("outputs/deep")


async def test_a_path_through_a_link_that_leads_nowhere_is_told(result: Stored, tmp_path: Path) -> None:
    with pytest.raises(FileNotInResult):
        await pick(result.params(), tmp_path / "out", "shortcut/none")
    with pytest.raises(NotAFile):
        await pick(result.params(), tmp_path / "out", "outputs/deep/loop/x")


async def test_a_file_that_is_larger_than_was_announced_is_not_printed(result: Stored) -> None:
    less = {"raw_size": MIB, "entries": 100}
    for params in (plain(result), result.params()):
        with pytest.raises(Damaged, match="more than the 1,048,576 bytes"):
            await content_of(replace(params, **less), "outputs/5.bin")


async def test_logs_are_no_more_than_was_announced(result: Stored) -> None:
    found = bytearray()
    sink = OutputSink(lambda _stream, data: found.extend(data), announced(result.params(raw_size=3, entries=100)))
    with pytest.raises(UnsafeArchive, match="more than the 3 bytes"):
        sink.feed(result.archive)
    assert not found


async def test_nothing_is_fetched_for_a_path_that_matches_nothing(result: Stored, tmp_path: Path) -> None:
    async with gate(result.server) as between:
        with pytest.raises(FileNotInResult) as caught:
            await pick(result.params(endpoint=between.endpoint), tmp_path / "out", "outputs/10.bin")
    assert "'outputs/1.bin'" in caught.value.hint
    assert len(between.ranges) == 1, "the index alone"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("with_index", [True, False], ids=["by its index", "without an index"])
@pytest.mark.parametrize(
    ("path", "is_file"),
    [
        ("stdout", "stdout"),
        ("outputs/deep/empty", "outputs/deep/empty"),
        ("outputs/deep/link", "outputs/9.bin"),
        ("shortcut/small", "outputs/deep/small"),
        ("shortcut/link", "outputs/9.bin"),
        ("outputs/zz-hard", "outputs/0.bin"),
    ],
)
async def test_one_file_is_read_also_through_links(
    result: Stored, source: Path, path: str, is_file: str, *, with_index: bool
) -> None:
    params = result.params() if with_index else plain(result)
    assert await content_of(params, path) == (source / is_file).read_bytes()


@pytest.mark.parametrize("with_index", [True, False], ids=["by its index", "without an index"])
@pytest.mark.parametrize(("start", "end"), [(0, 5), (100, MIB), (MIB - 1, MIB), (7, 7)])
async def test_a_part_of_a_file_is_read_again_and_again(
    result: Stored, source: Path, start: int, end: int, *, with_index: bool
) -> None:
    params = result.params() if with_index else plain(result)
    async with object_session() as session, opened(session, params, renew=never) as contents:
        (reader,) = await contents.part_readers([await file_at(contents, "outputs/3.bin", "j-1")])
        for _ in range(2):
            assert await reader.read(start, end) == (source / "outputs" / "3.bin").read_bytes()[start:end]
        reader.close()


async def test_a_part_of_a_file_costs_its_block_alone(result: Stored) -> None:
    async with (
        gate(result.server) as between,
        object_session() as session,
        opened(session, result.params(endpoint=between.endpoint), renew=never) as contents,
    ):
        (reader,) = await contents.part_readers([await file_at(contents, "outputs/5.bin", "j-1")])
        async with asyncio.TaskGroup() as group:
            for start in (0, 20):
                group.create_task(reader.read(start, start + 10), name=f"part at {start}")
    assert between.sent_bytes < len(result.index) + 2.2 * MIB
    assert len(between.ranges) == 3, "the index once, and a range each"


async def test_what_is_no_file_cannot_be_read(result: Stored) -> None:
    for path in ("outputs", "outputs/deep/loop", "shortcut"):
        with pytest.raises(NotAFile):
            await content_of(result.params(), path)
    with pytest.raises(FileNotInResult):
        await content_of(result.params(), "outputs/none")


async def test_a_server_that_ignores_ranges_gives_the_files_too(result: Stored, source: Path, tmp_path: Path) -> None:
    async with gate(result.server, ignore_ranges=True) as between:
        await pick(result.params(endpoint=between.endpoint), tmp_path / "out", "outputs/[28].bin")
    for name in ("2.bin", "8.bin"):
        assert (tmp_path / "out" / "outputs" / name).read_bytes() == (source / "outputs" / name).read_bytes()


async def test_expired_urls_are_renewed_for_the_index_and_for_the_archive(result: Stored) -> None:
    asked: list[str] = []

    async def renew() -> ResultParams:
        asked.append("again")
        return result.params()

    expired = result.params(expires=1)
    await stored_results.until_refused(expired.pre_signed_url)
    await stored_results.until_refused(expired.index_url)
    assert await content_of(expired, "stdout", renew=renew) == b"hello\n"
    assert asked == ["again", "again"]


async def test_an_index_that_was_replaced_is_refused(result: Stored, tmp_path: Path) -> None:
    params = result.params()
    result.put(bytes(len(result.index)), result.index_key)
    with pytest.raises(DigestMismatch, match="The index"):
        await pick(params, tmp_path / "out", "stdout")


async def test_an_index_that_is_gone_is_told(result: Stored, tmp_path: Path) -> None:
    params = result.params()
    result.delete(result.index_key)
    with pytest.raises(DownloadFailed, match=r"The index of the result .* is no longer in the bucket"):
        await pick(params, tmp_path / "out", "stdout")


async def test_an_archive_that_was_replaced_is_refused_before_a_byte_of_it_is_read(
    result: Stored, tmp_path: Path
) -> None:
    params = result.params()
    result.put(bytes(len(result.archive)))
    with pytest.raises(Damaged, match="was replaced"):
        await pick(params, tmp_path / "out", "stdout")


async def test_a_block_that_is_not_what_the_index_says_is_refused(result: Stored, tmp_path: Path) -> None:
    damaged = bytearray(result.archive)
    damaged[5 * MIB + 1000] ^= 1
    params = result.params(etag=result.put(bytes(damaged)))
    with pytest.raises(ArchiveDamaged, match=r"is not what its index says|is damaged"):
        await pick(params, tmp_path / "out", "outputs/[345].bin")


async def test_an_index_of_another_archive_is_refused(result: Stored, tmp_path: Path) -> None:
    with pytest.raises(IndexDamaged, match=r"more than the archive|at its end"):
        await pick(result.params(size=len(result.archive) - 1), tmp_path / "out", "stdout")


async def test_an_index_with_more_entries_than_announced_is_refused(result: Stored, tmp_path: Path) -> None:
    with pytest.raises(IndexDamaged, match="more than the 3 entries"):
        await pick(result.params(entries=3), tmp_path / "out", "stdout")


async def test_an_index_that_is_no_index_is_refused(s3_server: S3Server, bucket: str, tmp_path: Path) -> None:
    odd = Stored(s3_server, bucket, bytes(100), index=gzip.compress(b"nonsense\n"), entries=1, raw_size=1)
    with pytest.raises(IndexDamaged):
        await pick(odd.params(), tmp_path / "out", "stdout")


async def test_walking_gives_all_entries_each_time(result: Stored) -> None:
    seen: list[bytes] = []
    async with object_session() as session, opened(session, result.params(), renew=never) as contents:
        await walk(contents, lambda member: seen.append(member.name))
        first = len(seen)
        await walk(contents, lambda member: seen.append(member.name))
    assert len(seen) == 2 * first == 2 * result.params().entries
