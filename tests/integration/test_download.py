"""How results come from a real S3 server into a folder, over connections that break and with objects that changed."""

import asyncio
import hashlib
import os
import threading
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from botocore.config import Config
from msgspec.structs import replace

from compute.archive import ArchiveStream
from shared.errors import ArchiveDamaged, Damaged, DigestMismatch, DownloadFailed
from shared.rest import ResultParams, SourceSpec
from tarpon.download import Download, FileSink, Sink, object_session
from tarpon.extract import Extraction
from tests.servers import REGION, S3Server
from tests.waiting import eventually

EXECUTION = "e-0950d2d8-14b1-50f5-a5b2-aa06004f5628"
KEY = f"results/j-1/{EXECUTION}.tar.gz"


class Stored:
    """One archive in the bucket, made as a compute node makes it."""

    def __init__(self, server: S3Server, bucket: str, archive: bytes, *, entries: int, raw_size: int) -> None:
        self.server = server
        self.bucket = bucket
        self.archive = archive
        self._counts: dict[str, Any] = {"entries": entries, "raw_size": raw_size}
        self._etag = self.put(archive)

    def put(self, body: bytes) -> str:
        return str(self.server.client().put_object(Bucket=self.bucket, Key=KEY, Body=body)["ETag"])

    def params(self, *, endpoint: str = "", expires: int = 60, **changes: Any) -> ResultParams:
        params = ResultParams(
            pre_signed_url=self._url(endpoint or self.server.endpoint, expires),
            source_spec=SourceSpec(bucket=self.bucket, key=KEY),
            execution_id=EXECUTION,
            etag=self._etag,
            sha256=hashlib.sha256(self.archive).hexdigest(),
            size=len(self.archive),
            **self._counts,
        )
        return replace(params, **changes)

    def _url(self, endpoint: str, expires: int) -> str:
        client = botocore.session.Session().create_client(
            "s3",
            endpoint_url=endpoint,
            region_name=REGION,
            aws_access_key_id=self.server.admin.access,
            aws_secret_access_key=self.server.admin.secret,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        asked = {"Bucket": self.bucket, "Key": KEY}
        return str(client.generate_presigned_url("get_object", Params=asked, ExpiresIn=expires))


@pytest.fixture
async def stored(s3_server: S3Server, tmp_path: Path) -> Stored:
    source = tmp_path / "source"
    (source / "outputs").mkdir(parents=True)
    (source / "stdout").write_text("hello\n")
    (source / "outputs" / "noise").write_bytes(os.urandom(3 << 20))
    (source / "outputs" / "link").symlink_to("noise")
    async with ArchiveStream(source) as stream:
        archive = b"".join([chunk async for chunk in stream])
        summary = stream.summary
    bucket = s3_server.create_bucket()
    return Stored(s3_server, bucket, archive, entries=summary.entries, raw_size=summary.raw_bytes)


async def never() -> ResultParams:
    raise AssertionError("no fresh URL was needed")


async def fetch(params: ResultParams, sink: Sink, *, renew: Callable[[], Awaitable[ResultParams]] = never) -> list[int]:
    seen: list[int] = []
    async with object_session() as session:
        await Download(session, params, renew=renew, on_progress=seen.append).into(sink)
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
    await fetch(stored.params(), FileSink(path))
    assert path.read_bytes() == stored.archive
    assert not path.with_name("result.tar.gz.part").exists()


async def test_a_digest_that_is_not_the_announced_one_is_refused(stored: Stored, tmp_path: Path) -> None:
    path = tmp_path / "result.tar.gz"
    with pytest.raises(DigestMismatch, match=EXECUTION):
        await fetch(stored.params(sha256="0" * 64), FileSink(path))
    assert not list(tmp_path.glob("result*"))


async def test_an_object_that_was_replaced_is_refused_before_it_is_read(stored: Stored, tmp_path: Path) -> None:
    params = stored.params()
    stored.put(b"x" * len(stored.archive))
    with pytest.raises(Damaged, match="was replaced"):
        await fetch(params, FileSink(tmp_path / "result"))


async def test_an_object_that_was_replaced_is_refused_also_without_an_etag(stored: Stored, tmp_path: Path) -> None:
    params = stored.params(etag="")
    stored.put(b"x" * len(stored.archive))
    with pytest.raises(DigestMismatch):
        await fetch(params, FileSink(tmp_path / "result"))


async def test_an_object_with_more_bytes_than_announced_is_refused(stored: Stored, tmp_path: Path) -> None:
    with pytest.raises(Damaged, match="has more than the 1,000 bytes"):
        await fetch(stored.params(size=1000), FileSink(tmp_path / "result"))


async def test_a_truncated_object_is_refused(stored: Stored, tmp_path: Path) -> None:
    short = stored.archive[:-100]
    etag = stored.put(short)
    params = stored.params(etag=etag, size=len(short), sha256=hashlib.sha256(short).hexdigest())
    with pytest.raises(ArchiveDamaged):
        await fetch(params, extraction(tmp_path / "target", params))


async def test_a_missing_object_is_told_as_such(stored: Stored, tmp_path: Path) -> None:
    stored.server.client().delete_object(Bucket=stored.bucket, Key=KEY)
    with pytest.raises(DownloadFailed, match="no longer in the bucket"):
        await fetch(stored.params(), FileSink(tmp_path / "result"))


async def test_an_expired_url_is_renewed_once(stored: Stored, tmp_path: Path) -> None:
    expired = stored.params(expires=1)
    await _until_refused(expired.pre_signed_url)
    asked: list[str] = []

    async def renew() -> ResultParams:
        asked.append("again")
        return stored.params()

    await fetch(expired, FileSink(tmp_path / "result"), renew=renew)
    assert (tmp_path / "result").read_bytes() == stored.archive
    assert asked == ["again"]


async def test_a_url_that_stays_refused_is_given_up_without_being_shown(stored: Stored, tmp_path: Path) -> None:
    wrong = stored.params()
    wrong = replace(wrong, pre_signed_url=wrong.pre_signed_url[:-4] + "0000")

    async def renew() -> ResultParams:
        return wrong

    with pytest.raises(DownloadFailed) as caught:
        await fetch(wrong, FileSink(tmp_path / "result"), renew=renew)
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
    monkeypatch.setattr("tarpon.download.FRUITLESS_ATTEMPTS", 2)
    async with cutting_proxy(stored.server.port, after_bytes=[0] * 10) as proxy:
        with pytest.raises(DownloadFailed, match="connection broke"):
            await fetch(stored.params(endpoint=proxy.endpoint), FileSink(tmp_path / "result"))
    assert not list(tmp_path.glob("result*"))


async def test_a_cancelled_download_leaves_no_file_behind(stored: Stored, tmp_path: Path) -> None:
    async with cutting_proxy(stored.server.port, after_bytes=[500_000], hold=True) as proxy:
        download = fetch(stored.params(endpoint=proxy.endpoint), FileSink(tmp_path / "result"))
        async with asyncio.TaskGroup() as group:
            task = group.create_task(download, name="download")
            await eventually(lambda: proxy.sent_bytes >= 500_000, what="half of it has arrived")
            task.cancel()
    assert not list(tmp_path.glob("result*"))


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


async def _until_refused(url: str) -> None:
    def is_refused() -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except urllib.error.HTTPError as error:
            with error:
                return error.code == 403
        return False

    await eventually(is_refused, within=15, what="the URL has expired")


class CuttingProxy:
    """Passes connections on, and cuts (or holds) the first ones after so many bytes of the answer."""

    def __init__(self, port: int, after_bytes: list[int], *, hold: bool) -> None:
        self.connections = 0
        self.sent_bytes = 0
        self.endpoint = ""
        self._port = port
        self._limits = after_bytes
        self._hold = hold

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        limit = self._limits[self.connections] if self.connections < len(self._limits) else None
        self.connections += 1
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
