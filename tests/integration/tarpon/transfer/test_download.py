"""How results come from a real S3 server into a folder, over connections that break and with objects that changed."""

import asyncio
import hashlib
import os
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from msgspec.structs import replace

from shared.errors import ArchiveDamaged, Damaged, DigestMismatch, DownloadFailed
from shared.extraction.extract import Extraction
from shared.protocol.rest import ResultParams
from tarpon.results.fetch_one import Source, fetch_archive
from tarpon.transfer.byte_ranges import CONNECTIONS, RANGE_BYTES
from tarpon.transfer.download import Download, Sink, archive_of
from tarpon.transfer.partial_file import AlreadyFetching, PartialFile
from tarpon.transfer.stored_object import object_session
from tests.archives import packed
from tests.faulty_s3 import DENIED, FaultyS3, Kind
from tests.integration import stored_results
from tests.integration.stored_results import EXECUTION, Stored, gate, until_refused
from tests.servers import S3Server
from tests.waiting import eventually


@pytest.fixture(scope="module")
def bucket(s3_server: S3Server) -> str:
    return s3_server.create_bucket()


@pytest.fixture
async def stored(s3_server: S3Server, bucket: str, tmp_path: Path) -> Stored:
    source = tmp_path / "source"
    (source / "outputs").mkdir(parents=True)
    (source / "stdout").write_text("hello\n")
    (source / "outputs" / "noise").write_bytes(os.urandom(3 << 20))
    (source / "outputs" / "link").symlink_to("noise")
    return stored_results.stored(s3_server, bucket, await packed(source))


@pytest.fixture(scope="module")
def large(s3_server: S3Server, bucket: str) -> Stored:
    """An object of five ranges, which need not be an archive."""
    return Stored(s3_server, bucket, random.Random(4).randbytes(4 * RANGE_BYTES + 5_000_000))


async def never() -> ResultParams:
    raise AssertionError("no fresh URL was needed")


async def fetch(params: ResultParams, sink: Sink, *, renew: Callable[[], Awaitable[ResultParams]] = never) -> list[int]:
    seen: list[int] = []
    async with object_session() as session:
        source = archive_of(session, params, renew=renew)
        await Download(source, sha256=params.sha256, on_progress=seen.append).into(sink)
    return seen


async def keep(params: ResultParams, path: Path, *, renew: Callable[[], Awaitable[ResultParams]] = never) -> list[int]:
    """As `tarpon job get --raw` does."""
    seen: list[int] = []
    file = PartialFile(path, params)
    try:
        async with object_session() as session:
            on_bytes = lambda done, _: seen.append(done)  # noqa: E731
            await fetch_archive(Source(session=session, params=params, renew=renew, on_bytes=on_bytes), file)
        file.place()
    finally:
        file.release()
    return seen


def extraction(folder: Path, params: ResultParams) -> Extraction:
    return Extraction(folder, max_bytes=params.raw_size, max_entries=params.entries)


async def test_a_result_arrives_as_the_tree_that_was_archived(stored: Stored, tmp_path: Path) -> None:
    params, folder = stored.params(), tmp_path / "target"
    progress = await fetch(params, extraction(folder, params))
    assert (folder / "stdout").read_text() == "hello\n"
    assert (folder / "outputs" / "noise").read_bytes() == (tmp_path / "source" / "outputs" / "noise").read_bytes()
    assert (folder / "outputs" / "link").readlink() == Path("noise")
    assert progress[-1] == len(stored.archive)
    assert progress == sorted(progress)


async def test_a_raw_result_is_the_archive_itself(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "result.tar.gz"
    await keep(stored.params(), path)
    assert path.read_bytes() == stored.archive
    assert not path.with_name("result.tar.gz.part").exists()


async def test_a_digest_that_is_not_the_announced_one_is_refused(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "result.tar.gz"
    with pytest.raises(DigestMismatch, match=EXECUTION):
        await keep(stored.params(sha256="0" * 64), path)
    assert not list(tmp_path.glob("result*"))


async def test_an_object_that_was_replaced_is_refused_before_it_is_read(stored: Stored, tmp_path: Path) -> None:
    params = stored.params()
    stored.put(b"x" * len(stored.archive))
    with pytest.raises(Damaged, match="was replaced"):
        await keep(params, tmp_path / "result")


async def test_an_object_that_was_replaced_is_refused_also_without_an_etag(stored: Stored, tmp_path: Path) -> None:
    params = stored.params(etag="")
    stored.put(b"x" * len(stored.archive))
    with pytest.raises(DigestMismatch):
        await keep(params, tmp_path / "result")


async def test_an_object_with_more_bytes_than_announced_is_refused(stored: Stored, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="bytes, not the 1,000 that were published"):
        await keep(stored.params(size=1000), tmp_path / "result")


async def test_a_truncated_object_is_refused(stored: Stored, tmp_path: Path) -> None:
    short = stored.archive[:-100]
    etag = stored.put(short)
    params = stored.params(etag=etag, size=len(short), sha256=hashlib.sha256(short).hexdigest())
    with pytest.raises(ArchiveDamaged):
        await fetch(params, extraction(tmp_path / "target", params))


async def test_a_missing_object_is_told_as_such(stored: Stored, tmp_path: Path) -> None:
    stored.delete(stored.key)
    with pytest.raises(DownloadFailed, match="no longer in the bucket"):
        await keep(stored.params(), tmp_path / "result")


async def test_an_object_that_s3_denies_as_it_does_where_nothing_may_be_listed_may_be_gone(
    stored: Stored, tmp_path: Path
) -> None:
    """AWS says no more of one that a life-cycle rule has removed, to keys without s3:ListBucket."""
    async with FaultyS3(stored.server.endpoint).serving() as s3:
        s3.plan(Kind.OTHER, *[DENIED] * 20)

        async def renew() -> ResultParams:
            return stored.params(endpoint=s3.endpoint)

        with pytest.raises(DownloadFailed, match="cannot be fetched: 403 AccessDenied") as raised:
            await keep(stored.params(endpoint=s3.endpoint), tmp_path / "result", renew=renew)
    assert "may have been removed" in raised.value.hint


async def test_an_expired_url_is_renewed_once(stored: Stored, tmp_path: Path) -> None:
    expired = stored.params(expires=1)
    await until_refused(expired.pre_signed_url)
    asked: list[str] = []

    async def renew() -> ResultParams:
        asked.append("again")
        return stored.params()

    await keep(expired, tmp_path / "result", renew=renew)
    assert (tmp_path / "result").read_bytes() == stored.archive
    assert asked == ["again"]


async def test_a_url_that_stays_refused_is_given_up_without_being_shown(stored: Stored, tmp_path: Path) -> None:
    wrong = stored.params()
    wrong = replace(wrong, pre_signed_url=wrong.pre_signed_url[:-4] + "0000")

    async def renew() -> ResultParams:
        return wrong

    with pytest.raises(DownloadFailed) as caught:
        await keep(wrong, tmp_path / "result", renew=renew)
    assert "403" in caught.value.message
    assert "X-Amz" not in f"{caught.value!r} {caught.value.message} {caught.value.__cause__!r}"


async def test_a_broken_connection_goes_on_where_it_broke(stored: Stored, tmp_path: Path) -> None:
    async with cutting_proxy(stored.server.port, after_bytes=[700_000, 1_200_000]) as proxy:
        params = stored.params(endpoint=proxy.endpoint)
        await fetch(params, extraction(tmp_path / "target", params))
    assert (tmp_path / "target" / "outputs" / "noise").stat().st_size == 3 << 20
    assert proxy.connections == 3
    assert proxy.sent_bytes < len(stored.archive) + 300_000, "what had arrived was fetched again"


async def test_a_store_that_is_away_is_given_up_after_some_tries(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarpon.transfer.stored_object.FRUITLESS_ATTEMPTS", 2)
    async with cutting_proxy(stored.server.port, after_bytes=[0] * 10) as proxy:
        with pytest.raises(DownloadFailed, match="connection broke"):
            await keep(stored.params(endpoint=proxy.endpoint), tmp_path / "result")
    assert not list(tmp_path.glob("result*"))


async def test_a_large_object_comes_over_several_connections_in_order(large: Stored, tmp_path: Path) -> None:
    async with gate(large.server) as between:
        progress = await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive
    first, last = f"bytes=0-{RANGE_BYTES - 1}", f"bytes={4 * RANGE_BYTES}-{len(large.archive) - 1}"
    assert len(between.ranges) == 5
    assert {first, last} <= set(between.ranges)
    assert between.conditions == {f'"{hashlib.md5(large.archive).hexdigest()}"'}, "each asks for the same object"
    assert progress == sorted(progress)


async def test_ranges_that_break_off_go_on_where_they_broke(large: Stored, tmp_path: Path) -> None:
    async with gate(large.server, cut={2: 3_000_000, 3: 5_000_000, 5: 1}) as between:
        await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive
    assert len(between.ranges) == 5 + 3
    assert between.sent_bytes < len(large.archive) + 500_000, "what had arrived was fetched again"


async def test_ranges_that_a_busy_server_refuses_are_asked_for_again(large: Stored, tmp_path: Path) -> None:
    async def refuse(number: int) -> None:
        if number in {2, 4}:
            raise web.HTTPServiceUnavailable

    async with gate(large.server, before=refuse) as between:
        await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive
    assert len(between.ranges) == 5 + 2


@pytest.mark.parametrize(
    ("told", "error"),
    [("bytes 0-8/2999", "another range"), ("bytes 1000-8/9", "has 9 bytes, not the"), ("x", "another range")],
)
async def test_a_range_that_was_not_asked_for_is_refused(stored: Stored, tmp_path: Path, told: str, error: str) -> None:
    half(stored, tmp_path / "result", content=stored.archive[:1000])
    async with gate(stored.server, told={"Content-Range": told}) as between:
        with pytest.raises((DownloadFailed, Damaged), match=error):
            await keep(stored.params(endpoint=between.endpoint), tmp_path / "result")
    assert between.ranges == [f"bytes=1000-{len(stored.archive) - 1}"]


async def test_a_whole_object_that_tells_its_range_is_taken_as_whole(stored: Stored, tmp_path: Path) -> None:
    half(stored, tmp_path / "result", content=stored.archive[:1000])
    size = len(stored.archive)
    told = {"Content-Range": f"bytes 0-{size - 1}/{size}"}
    async with gate(stored.server, ignore_ranges=True, told=told) as between:
        await keep(stored.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == stored.archive


async def test_a_small_object_comes_with_one_request(stored: Stored, tmp_path: Path) -> None:
    async with gate(stored.server) as between:
        await keep(stored.params(endpoint=between.endpoint), tmp_path / "result")
    assert between.ranges == [""]


async def test_no_more_is_fetched_than_fits_into_memory_while_nobody_takes_it(large: Stored) -> None:
    sink = SlowSink()
    async with gate(large.server) as between, asyncio.TaskGroup() as group:
        group.create_task(fetch(large.params(endpoint=between.endpoint), sink), name="download")
        await eventually(lambda: len(between.ranges) == CONNECTIONS, what="all connections are at work")
        await eventually(sink.feeding.is_set, what="the sink is being fed")
        assert len(between.ranges) == CONNECTIONS
        sink.may_go_on.set()
    assert len(between.ranges) == 5
    assert sink.story[-2:] == ["close", "abort"]


async def test_a_url_that_expires_in_mid_download_is_renewed_once_for_all_connections(
    large: Stored, tmp_path: Path
) -> None:
    asked: list[str] = []
    async with gate(large.server) as straight:

        async def wait_for_expiry(number: int) -> None:
            if number > 2:
                await until_refused(signed_later)

        async def renew() -> ResultParams:
            asked.append("again")
            return large.params(endpoint=straight.endpoint)

        async with gate(large.server, before=wait_for_expiry) as between:
            params = large.params(endpoint=between.endpoint, expires=2)
            signed_later = large.params(expires=2).pre_signed_url
            await keep(params, tmp_path / "result", renew=renew)
    assert (tmp_path / "result").read_bytes() == large.archive
    assert asked == ["again"]
    assert straight.ranges, "the rest came by the fresh URL"


async def test_an_object_that_is_replaced_in_mid_download_is_refused(
    s3_server: S3Server, bucket: str, tmp_path: Path
) -> None:
    mine = Stored(s3_server, bucket, random.Random(5).randbytes(4 * RANGE_BYTES + 1000))

    async def replace_it(number: int) -> None:
        if number == CONNECTIONS + 1:
            await asyncio.to_thread(mine.put, b"x" * len(mine.archive))

    async with gate(s3_server, before=replace_it) as between:
        with pytest.raises(Damaged, match="was replaced"):
            await keep(mine.params(endpoint=between.endpoint), tmp_path / "result")
    assert list(tmp_path.iterdir()) == [], "what had come is of no use"


async def test_a_server_that_ignores_ranges_gives_it_whole(large: Stored, tmp_path: Path) -> None:
    async with gate(large.server, ignore_ranges=True) as between:
        await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive
    assert between.ranges[-1] == "", "it was asked for as a whole in the end"


async def test_ranges_with_the_status_of_a_whole_object_are_taken_as_ranges(large: Stored, tmp_path: Path) -> None:
    """As rclone's server gives them."""
    async with gate(large.server, plainly=True, cut={2: 3_000_000}) as between:
        await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive
    assert len(between.ranges) == 5 + 1
    assert between.sent_bytes < len(large.archive) + 500_000, "what had arrived was fetched again"


def half(large: Stored, path: Path, *, content: bytes = b"", **changes: Any) -> None:
    """What a process leaves that was killed in the middle of a download."""
    file = PartialFile(path, replace(large.params(), **changes))
    file.open()
    file.feed(content or large.archive[: len(large.archive) // 2])
    file.release()


@pytest.mark.parametrize("plainly", [False, True], ids=["206", "200"])
async def test_a_raw_download_goes_on_where_another_process_was_cut_off(
    large: Stored, tmp_path: Path, *, plainly: bool
) -> None:
    path = tmp_path / "result.tar.gz"
    half(large, path)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["result.tar.gz.part", "result.tar.gz.part.json"]
    async with gate(large.server, plainly=plainly) as between:
        progress = await keep(large.params(endpoint=between.endpoint), path)
    assert path.read_bytes() == large.archive
    assert progress[0] == len(large.archive) // 2
    assert between.sent_bytes == len(large.archive) - len(large.archive) // 2
    assert [each.name for each in tmp_path.iterdir()] == ["result.tar.gz"]


async def test_a_raw_download_goes_on_also_where_ranges_are_ignored(large: Stored, tmp_path: Path) -> None:
    half(large, tmp_path / "result")
    async with gate(large.server, ignore_ranges=True) as between:
        await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive


@pytest.mark.parametrize("changes", [{"etag": '"another"'}, {"sha256": "1" * 64}], ids=str)
async def test_a_part_of_another_object_is_begun_anew(large: Stored, tmp_path: Path, changes: dict[str, Any]) -> None:
    half(large, tmp_path / "result", **changes)
    async with gate(large.server) as between:
        progress = await keep(large.params(endpoint=between.endpoint), tmp_path / "result")
    assert progress[0] == 0
    assert between.sent_bytes == len(large.archive)
    assert (tmp_path / "result").read_bytes() == large.archive


async def test_a_part_that_was_damaged_is_found_at_the_end_and_fetched_anew(large: Stored, tmp_path: Path) -> None:
    half(large, tmp_path / "result", content=b"x" * 20_000_000)
    await keep(large.params(), tmp_path / "result")
    assert (tmp_path / "result").read_bytes() == large.archive
    assert [each.name for each in tmp_path.iterdir()] == ["result"]


async def test_an_archive_that_is_wrong_also_when_it_is_fetched_anew_is_refused(large: Stored, tmp_path: Path) -> None:
    wrong = "0" * 64
    half(large, tmp_path / "result", sha256=wrong)
    with pytest.raises(DigestMismatch):
        await keep(large.params(sha256=wrong), tmp_path / "result")
    assert list(tmp_path.iterdir()) == []


async def test_a_file_that_another_process_downloads_is_left_to_it(stored: Stored, tmp_path: Path) -> None:
    first = PartialFile(tmp_path / "result", stored.params())
    first.open()
    first.feed(b"x")
    with pytest.raises(AlreadyFetching):
        await keep(stored.params(), tmp_path / "result")
    first.release()
    assert (tmp_path / "result.part").read_bytes() == b"x"


async def test_a_cancelled_raw_download_keeps_what_has_come(stored: Stored, tmp_path: Path) -> None:
    part = tmp_path / "result.part"
    async with (
        cutting_proxy(stored.server.port, after_bytes=[2_500_000], hold=True) as proxy,
        asyncio.TaskGroup() as group,
    ):
        download = keep(stored.params(endpoint=proxy.endpoint), tmp_path / "result")
        task = group.create_task(download, name="download")
        await eventually(lambda: part.exists() and part.stat().st_size > 10**6, what="some of it has come")
        task.cancel()
    progress = await keep(stored.params(), tmp_path / "result")
    assert progress[0] > 10**6
    assert (tmp_path / "result").read_bytes() == stored.archive


async def test_a_cancelled_download_lets_its_thread_finish_before_it_gives_up_the_sink(stored: Stored) -> None:
    sink = SlowSink()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(fetch(stored.params(), sink), name="download")
        await eventually(sink.feeding.is_set, what="the sink is being fed")
        task.cancel()
        await asyncio.sleep(0)  # the cancellation arrives
        assert sink.story == ["feed"]
        sink.may_go_on.set()
    assert sink.story == ["feed", "fed", "abort"]


class SlowSink:
    """Takes the first portion when it may, and tells in which order things happened."""

    def __init__(self) -> None:
        self.feeding = threading.Event()
        self.may_go_on = threading.Event()
        self.story: list[str] = []

    def feed(self, data: bytes) -> None:
        self.story.append("feed")
        self.feeding.set()
        self.may_go_on.wait(10)
        self.story.append("fed")

    def close(self) -> None:
        self.story.append("close")

    def abort(self) -> None:
        self.story.append("abort")


class CuttingProxy:
    """Passes connections on, and cuts (or holds) the first ones after so many bytes of the answer."""

    def __init__(self, port: int, after_bytes: list[int], *, hold: bool) -> None:
        self.connections = 0
        self.sent_bytes = 0
        self.endpoint = ""
        self._port = port
        self._limits = after_bytes
        self._hold = hold
        self.serving: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self._limits[self.connections] if self.connections < len(self._limits) else None
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.serving.add(task)
        try:
            async with AsyncExitStack() as stack:
                upstream, to_upstream = await asyncio.open_connection("127.0.0.1", self._port)
                stack.callback(to_upstream.close)
                to_upstream.write(await reader.readuntil(b"\r\n\r\n"))
                await self._pass_on(upstream, writer, limit)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side went away, which is what the test is about
        finally:
            writer.transport.abort()
            self.serving.discard(task)

    async def _pass_on(self, upstream: asyncio.StreamReader, writer: asyncio.StreamWriter, limit: int | None) -> None:
        done = 0
        while limit is None or done < limit:
            data = await upstream.read(65536 if limit is None else min(65536, limit - done))
            if not data:
                return
            writer.write(data)
            await writer.drain()
            done += len(data)
            self.sent_bytes += len(data)
        if self._hold:
            await asyncio.Event().wait()
        if limit:
            # What was written must leave before the connection is reset.
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def cutting_proxy(port: int, *, after_bytes: list[int], hold: bool = False) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(port, after_bytes, hold=hold)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        left = set(proxy.serving)
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
