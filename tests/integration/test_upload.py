"""A result reaches S3 whole, or the reason why not is told; every failure of S3 has its answer."""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import logging
import os
import tarfile
import time
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from compute.grants import Grants
from compute.put import upload_session
from compute.upload import NotSent, Pace, Sent, Upload
from shared.errors import GrantRefused, NotReady
from shared.ids import ExecutionId
from shared.signed_url import Grant, SignedUrl
from shared.states import FailureReason
from tests.servers import S3Server
from tests.waiting import eventually

SIGNATURE = "X-Amz-Signature=5ec4e7"
EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message><Expires>then</Expires></Error>"
DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><RequestId>R-17</RequestId></Error>"
Answer = web.Response | None


class FaultyS3:
    """Answers one PUT after the other as it is told, and then 200. None is a connection that is cut."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.bodies: list[bytes] = []
        self.requests: list[web.BaseRequest] = []
        self.url = ""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        answer = self.answers.pop(0) if self.answers else web.Response()
        if answer is None:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        self.bodies.append(await request.content.read())
        return answer

    @property
    def versions_seen(self) -> list[str]:
        """Which URL of the grants each PUT used."""
        return [request.query["version"] for request in self.requests]


class Orchestrator:
    """Gives URLs numbered from 1, after as many failures as it is told."""

    def __init__(self, base: str, *failures: Exception) -> None:
        self.base = base
        self.failures = list(failures)
        self.given = 0
        self.lifetime_seconds = 3600

    def grant(self) -> Grant:
        self.given += 1
        url = f"{self.base}/bucket/key.tar.gz?version={self.given}&{SIGNATURE}"
        headers = {"If-None-Match": "*", "x-amz-meta-made-by": "a test"}
        return Grant(SignedUrl(method="PUT", url=url, headers=headers, lifetime_seconds=self.lifetime_seconds))

    async def ask(self, execution_id: ExecutionId, _: str) -> Grant:
        if self.failures:
            raise self.failures.pop(0)
        return self.grant()


@asynccontextmanager
async def serving(handler: Callable[[web.BaseRequest], Coroutine[Any, Any, web.StreamResponse]]) -> AsyncIterator[str]:
    server = web.Server(handler, lingering_time=0.1, access_log=None)
    runner = web.ServerRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        assert runner.addresses
        yield "http://{}:{}".format(*runner.addresses[0][:2])
    finally:
        await runner.cleanup()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with upload_session() as session:
        yield session


@pytest.fixture
def result(tmp_path: Path) -> Path:
    folder = tmp_path / "result"
    (folder / "outputs").mkdir(parents=True)
    (folder / "stdout").write_text("hello\n")
    (folder / "outputs" / "data").write_bytes(os.urandom(2_000_000))
    return folder


class Bench:
    def __init__(self, result: Path, http: aiohttp.ClientSession, orchestrator: Orchestrator) -> None:
        self.orchestrator = orchestrator
        self.grants = Grants(ExecutionId("e-1"), orchestrator.ask, orchestrator.grant())
        self.upload = Upload(ExecutionId("e-1"), result, self.grants, http=http, pace=Pace(), first_pause_seconds=0.01)

    async def run(self) -> Sent | NotSent:
        async with asyncio.timeout(20):
            return await self.upload.run()


@pytest.fixture(autouse=True)
def no_signature_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert [record for record in caplog.get_records("call") if SIGNATURE in record.getMessage()] == []


async def attempt(
    result: Path, http: aiohttp.ClientSession, *answers: Answer
) -> tuple[FaultyS3, Bench, Sent | NotSent]:
    s3 = FaultyS3(*answers)
    async with serving(s3) as base:
        bench = Bench(result, http, Orchestrator(base))
        return s3, bench, await bench.run()


def error(status: int, body: str = "") -> web.Response:
    return web.Response(status=status, body=body.encode(), headers={"x-amz-request-id": "R-1"})


async def test_one_put_carries_the_whole_archive(result: Path, http: aiohttp.ClientSession) -> None:
    s3, bench, end = await attempt(result, http)
    assert isinstance(end, Sent)
    (body,) = s3.bodies
    assert end.md5 == hashlib.md5(body).hexdigest()
    assert end.summary.sha256 == hashlib.sha256(body).hexdigest()
    assert end.summary.size_bytes == len(body)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as archive:
        assert {"stdout", "outputs/data"} <= {name.removeprefix("./") for name in archive.getnames()}
    assert (bench.upload.retries, bench.upload.renewals) == (0, 0)


async def test_a_put_has_a_length_a_digest_and_the_signed_headers_and_is_never_chunked(
    result: Path, http: aiohttp.ClientSession
) -> None:
    s3, _, _ = await attempt(result, http, error(500))
    assert len(s3.requests) == 2
    for request, body in zip(s3.requests, s3.bodies, strict=True):
        assert request.headers["Content-Length"] == str(len(body))
        assert "Transfer-Encoding" not in request.headers
        assert request.headers["Content-MD5"] == base64.b64encode(hashlib.md5(body).digest()).decode()
        assert request.headers["If-None-Match"] == "*"
        assert request.headers["x-amz-meta-made-by"] == "a test"
        assert SIGNATURE in str(request.rel_url)


@pytest.mark.parametrize("failure", [error(500), error(503), error(429), error(502, "<html>"), None])
async def test_a_passing_failure_is_tried_again_with_the_same_url_and_bytes(
    result: Path, http: aiohttp.ClientSession, failure: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.upload.SLOW_PAUSE_SECONDS", 0.01)
    s3, bench, end = await attempt(result, http, failure)
    assert isinstance(end, Sent)
    assert s3.versions_seen == ["1", "1"]
    assert hashlib.md5(s3.bodies[-1]).hexdigest() == end.md5
    assert (bench.upload.retries, bench.upload.renewals) == (1, 0)


async def test_an_expired_url_is_renewed(result: Path, http: aiohttp.ClientSession) -> None:
    s3, bench, end = await attempt(result, http, error(403, EXPIRED))
    assert isinstance(end, Sent)
    assert s3.versions_seen == ["1", "2"]
    assert bench.upload.renewals == 1


async def test_a_wrong_signature_is_renewed_once_and_then_told(result: Path, http: aiohttp.ClientSession) -> None:
    wrong = "<Error><Code>SignatureDoesNotMatch</Code></Error>"
    s3, _, end = await attempt(result, http, error(403, wrong), error(403, wrong))
    assert isinstance(end, NotSent)
    assert s3.versions_seen == ["1", "2"]


async def test_what_s3_refuses_for_good_is_told_with_its_code_and_request(
    result: Path, http: aiohttp.ClientSession
) -> None:
    s3, _, end = await attempt(result, http, error(403, DENIED))
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "AccessDenied" in end.detail
    assert "R-17" in end.detail
    assert SIGNATURE not in end.detail
    assert len(s3.requests) == 1


async def test_a_redirect_is_not_followed(result: Path, http: aiohttp.ClientSession) -> None:
    s3, _, end = await attempt(result, http, web.Response(status=307, headers={"Location": "/elsewhere?version=9"}))
    assert isinstance(end, NotSent)
    assert len(s3.requests) == 1


async def test_an_object_that_is_there_already_is_left_to_the_orchestrator(
    result: Path, http: aiohttp.ClientSession
) -> None:
    s3, _, end = await attempt(result, http, error(412, "<Error><Code>PreconditionFailed</Code></Error>"))
    assert isinstance(end, Sent)
    assert len(s3.requests) == 1


async def test_bytes_that_arrive_damaged_again_and_again_are_told(result: Path, http: aiohttp.ClientSession) -> None:
    damaged = [error(400, "<Error><Code>BadDigest</Code></Error>") for _ in range(9)]
    s3, _, end = await attempt(result, http, *damaged)
    assert isinstance(end, NotSent)
    assert "BadDigest" in end.detail
    assert len(s3.requests) == 4


async def test_a_url_with_too_little_life_left_is_not_used(result: Path, http: aiohttp.ClientSession) -> None:
    s3 = FaultyS3()
    async with serving(s3) as base:
        bench = Bench(result, http, Orchestrator(base))
        bench.orchestrator.lifetime_seconds = 2
        bench.grants.current = bench.orchestrator.grant()
        bench.orchestrator.lifetime_seconds = 3600
        assert isinstance(await bench.run(), Sent)
    assert s3.versions_seen == ["3"]


async def test_a_fresh_url_is_tried_however_short_its_life(result: Path, http: aiohttp.ClientSession) -> None:
    s3 = FaultyS3(error(403, EXPIRED))
    async with serving(s3) as base:
        bench = Bench(result, http, Orchestrator(base))
        bench.grants.current = None
        bench.orchestrator.lifetime_seconds = 1
        assert isinstance(await bench.run(), Sent)
    assert (len(s3.requests), bench.upload.renewals) == (2, 2)


async def test_an_orchestrator_that_is_away_is_waited_for(
    result: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.grants.FIRST_PAUSE_SECONDS", 0.01)
    s3 = FaultyS3(error(403, EXPIRED))
    async with serving(s3) as base:
        away = [NotReady("no responders") for _ in range(3)]
        bench = Bench(result, http, Orchestrator(base, *away))
        assert isinstance(await bench.run(), Sent)
    assert bench.upload.last_problem


async def test_an_orchestrator_that_gives_no_url_ends_the_upload(result: Path, http: aiohttp.ClientSession) -> None:
    s3 = FaultyS3(error(403, EXPIRED))
    async with serving(s3) as base:
        bench = Bench(result, http, Orchestrator(base, GrantRefused("The execution is not yours.")))
        end = await bench.run()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "not yours" in end.detail


async def test_a_url_that_never_gets_an_answer_is_replaced(result: Path, http: aiohttp.ClientSession) -> None:
    s3, _, end = await attempt(result, http, None, None, None)
    assert isinstance(end, Sent)
    assert s3.versions_seen[-1] == "2"


async def test_a_stalled_upload_is_given_up_and_tried_again(
    result: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.put.put.__kwdefaults__", {"idle_seconds": 0.2})
    seen: list[str] = []
    stalled = asyncio.Event()

    async def stall_once(request: web.BaseRequest) -> web.StreamResponse:
        seen.append(request.query["version"])
        if len(seen) == 1:
            await stalled.wait()
        await request.content.read()
        return web.Response()

    async with serving(stall_once) as base:
        bench = Bench(result, http, Orchestrator(base))
        assert isinstance(await bench.run(), Sent)
        stalled.set()
    assert len(seen) == 2


async def test_a_result_that_does_not_fit_is_told_with_the_limit(result: Path, http: aiohttp.ClientSession) -> None:
    s3 = FaultyS3()
    async with serving(s3) as base:
        orchestrator = Orchestrator(base)
        grants = Grants(ExecutionId("e-1"), orchestrator.ask, orchestrator.grant())
        upload = Upload(ExecutionId("e-1"), result, grants, http=http, pace=Pace(), part_size_bytes=1 << 20)
        end = await upload.run()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_TOO_LARGE
    assert "1.0 MiB" in end.detail
    assert s3.requests == []


async def test_a_result_that_cannot_be_read_is_told(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    bench = Bench(tmp_path / "absent", http, Orchestrator("http://127.0.0.1:1"))
    end = await bench.run()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_UNREADABLE


async def test_a_cancelled_upload_leaves_no_connection(result: Path, http: aiohttp.ClientSession) -> None:
    arrived, leave = asyncio.Event(), asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await leave.wait()
        return web.Response()

    async with serving(hang) as base, asyncio.TaskGroup() as group:
        task = group.create_task(Bench(result, http, Orchestrator(base)).run(), name="upload")
        await arrived.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert isinstance(http.connector, aiohttp.TCPConnector)
        assert not http.connector._acquired
        leave.set()


class TestRealS3:
    """Against a server that checks signatures, digests and conditions."""

    def sign(self, s3_server: S3Server, bucket: str, key: str, lifetime_seconds: int = 3600) -> Grant:
        url = s3_server.client(s3_server.orchestrator).generate_presigned_url(
            "put_object", Params={"Bucket": bucket, "Key": key, "IfNoneMatch": "*"}, ExpiresIn=lifetime_seconds
        )
        headers = {"If-None-Match": "*"}
        return Grant(SignedUrl(method="PUT", url=url, headers=headers, lifetime_seconds=lifetime_seconds))

    async def test_the_object_is_what_was_packed(
        self, result: Path, http: aiohttp.ClientSession, s3_server: S3Server
    ) -> None:
        bucket, key = await asyncio.to_thread(s3_server.create_bucket), f"results/{uuid.uuid4()}.tar.gz"
        grants = Grants(ExecutionId("e-1"), Orchestrator("").ask, self.sign(s3_server, bucket, key))
        end = await Upload(ExecutionId("e-1"), result, grants, http=http, pace=Pace()).run()
        assert isinstance(end, Sent)
        stored = s3_server.client().get_object(Bucket=bucket, Key=key)
        body = stored["Body"].read()
        assert hashlib.sha256(body).hexdigest() == end.summary.sha256
        assert stored["ETag"].strip('"') == end.md5

    async def test_an_existing_object_is_not_overwritten(
        self, result: Path, http: aiohttp.ClientSession, s3_server: S3Server
    ) -> None:
        bucket, key = await asyncio.to_thread(s3_server.create_bucket), f"results/{uuid.uuid4()}.tar.gz"
        s3_server.client().put_object(Bucket=bucket, Key=key, Body=b"first")
        grants = Grants(ExecutionId("e-1"), Orchestrator("").ask, self.sign(s3_server, bucket, key))
        assert isinstance(await Upload(ExecutionId("e-1"), result, grants, http=http, pace=Pace()).run(), Sent)
        assert s3_server.client().get_object(Bucket=bucket, Key=key)["Body"].read() == b"first"

    async def test_a_url_that_has_expired_there_is_renewed(
        self, result: Path, http: aiohttp.ClientSession, s3_server: S3Server
    ) -> None:
        bucket, key = await asyncio.to_thread(s3_server.create_bucket), f"results/{uuid.uuid4()}.tar.gz"
        stale = self.sign(s3_server, bucket, key, lifetime_seconds=1)
        signed_at = time.monotonic()
        # A node whose clock or grant misled it: it believes that the URL lives, and S3 knows better.
        believed = Grant(SignedUrl(method="PUT", url=stale.url.url, headers=stale.url.headers, lifetime_seconds=3600))

        async def ask(_: ExecutionId, __: str) -> Grant:
            return self.sign(s3_server, bucket, key)

        grants = Grants(ExecutionId("e-1"), ask, believed)
        await eventually(lambda: time.monotonic() - signed_at > 2.1)
        upload = Upload(ExecutionId("e-1"), result, grants, http=http, pace=Pace(), first_pause_seconds=0.01)
        assert isinstance(await upload.run(), Sent)
        assert upload.renewals == 1
