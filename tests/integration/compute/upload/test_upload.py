"""How a result goes out with one PUT, to an S3 that is played: what is sent, and what each answer leads to.

The same against a real S3, and in parts, is in test_publish_faults.py and test_multipart.py.
"""

import asyncio
import base64
import contextlib
import gzip
import hashlib
import io
import logging
import os
import tarfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from compute.archive import tar_stream
from compute.disk.result_contents import ALL
from compute.upload.delivery import MAX_ASKED, Trouble
from compute.upload.grants import ExecutionGrants
from compute.upload.put import upload_session
from compute.upload.shared_limits import SharedLimits
from compute.upload.upload import NotSent, Sent, Upload
from shared.errors import NotReady
from shared.extraction.manifest_reading import manifest_entries
from shared.ids import ExecutionId
from shared.jobs.states import FailureReason
from shared.protocol.messages import (
    BesideGiven,
    BesideRequest,
    GrantGiven,
    GrantRequest,
    IndexGrantGiven,
    NodeRequestAnswer,
    RequestRefused,
    UploadRequest,
)
from shared.protocol.objects import Beside
from shared.protocol.signed_url import Grant, SignedUrl
from tests.waiting import eventually

EXECUTION = ExecutionId("e-1")
SIGNATURE = "X-Amz-Signature=5ec4e7"
EXPIRED = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message><Expires>then</Expires></Error>"
TOO_LARGE = "<Error><Code>EntityTooLarge</Code><Message>Too large</Message><RequestId>R-17</RequestId></Error>"
Answer = web.Response | None


class PlayedS3:
    """Answers one PUT after the other as it is told, and then 200. None is a connection that is cut.

    PUTs of an index or a manifest are answered by themselves.
    """

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.index_answer = web.Response()
        self.index = b""
        self.manifest_answer: Callable[[], web.Response] = web.Response
        self.manifest = b""
        self.bodies: list[bytes] = []
        self.requests: list[web.BaseRequest] = []
        self.url = ""

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("index.json.gz"):
            self.index = await request.content.read()
            return self.index_answer
        if request.path.endswith("content.json.gz"):
            self.manifest = await request.content.read()
            return self.manifest_answer()
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

    def __init__(self, base: str, *failures: Exception | RequestRefused) -> None:
        self.base = base
        self.failures = list(failures)
        self.given = 0
        self.lifetime_seconds = 3600

    def grant(self, key: str = "key.tar.gz") -> Grant:
        self.given += 1
        url = f"{self.base}/bucket/{key}?version={self.given}&{SIGNATURE}"
        headers = {"If-None-Match": "*", "x-amz-meta-made-by": "a test"}
        return Grant(SignedUrl(method="PUT", url=url, headers=headers, lifetime_seconds=self.lifetime_seconds))

    @property
    def manifest_url(self) -> SignedUrl:
        url = f"{self.base}/bucket/key.content.json.gz?{SIGNATURE}"
        return SignedUrl(method="PUT", url=url, lifetime_seconds=3600)

    async def ask(self, request: UploadRequest) -> NodeRequestAnswer:
        if self.failures:
            failure = self.failures.pop(0)
            if isinstance(failure, RequestRefused):
                return failure
            raise failure
        match request:
            case GrantRequest():
                return GrantGiven(archive=self.grant().url)
            case BesideRequest():
                return BesideGiven(url=self.manifest_url)
            case _:
                return IndexGrantGiven(index=self.grant("key.index.json.gz").url)


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
async def uploading() -> AsyncIterator[SharedLimits]:
    async with upload_session() as http:
        made = SharedLimits(http, compressing=1, first_pause_seconds=0.01)
        yield made
        await asyncio.to_thread(made.close)


@pytest.fixture
def result(tmp_path: Path) -> Path:
    folder = tmp_path / "result"
    (folder / "outputs").mkdir(parents=True)
    (folder / "stdout").write_text("hello\n")
    (folder / "outputs" / "data").write_bytes(os.urandom(900_000))
    return folder


class Bench:
    def __init__(self, result: Path, uploading: SharedLimits, orchestrator: Orchestrator, **more: Any) -> None:
        self.orchestrator = orchestrator
        self.grants = ExecutionGrants(EXECUTION, orchestrator.ask, orchestrator.grant())
        self.grants.offer_beside({Beside.MANIFEST: orchestrator.manifest_url})
        self.told: list[str] = []
        self.upload = Upload(
            EXECUTION, result, result.parent, self.grants, uploading, on_waiting=self.told.append, **more
        )

    @property
    def counts(self) -> tuple[int, int]:
        return self.upload.trouble.retries, self.upload.trouble.renewals

    async def run(self) -> Sent | NotSent:
        async with asyncio.timeout(20):
            return await self.upload.run()


@pytest.fixture(autouse=True)
def no_signature_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert [record for record in caplog.get_records("call") if SIGNATURE in record.getMessage()] == []


async def attempt(
    result: Path, uploading: SharedLimits, *answers: Answer, **more: Any
) -> tuple[PlayedS3, Bench, Sent | NotSent]:
    s3 = PlayedS3(*answers)
    async with serving(s3) as base:
        bench = Bench(result, uploading, Orchestrator(base), **more)
        return s3, bench, await bench.run()


def error(status: int, body: str = "") -> web.Response:
    return web.Response(status=status, body=body.encode(), headers={"x-amz-request-id": "R-1"})


async def test_one_put_carries_the_whole_archive(result: Path, uploading: SharedLimits) -> None:
    s3, bench, end = await attempt(result, uploading)
    assert isinstance(end, Sent)
    (body,) = s3.bodies
    assert end.facts.md5 == hashlib.md5(body).hexdigest()
    assert end.facts.sha256 == hashlib.sha256(body).hexdigest()
    assert end.facts.size_bytes == len(body)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as archive:
        assert {"stdout", "outputs/data"} <= {name.removeprefix("./") for name in archive.getnames()}
    assert end.facts.parts == 1
    assert bench.counts == (0, 0)


async def test_a_put_has_a_length_a_digest_and_the_signed_headers_and_is_never_chunked(
    result: Path, uploading: SharedLimits
) -> None:
    s3, _, _ = await attempt(result, uploading, error(500))
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
    result: Path, uploading: SharedLimits, failure: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.upload.delivery.SLOW_PAUSE_SECONDS", 0.01)
    s3, bench, end = await attempt(result, uploading, failure)
    assert isinstance(end, Sent)
    assert s3.versions_seen == ["1", "1"]
    assert hashlib.md5(s3.bodies[-1]).hexdigest() == end.facts.md5
    assert bench.counts == (1, 0)


async def test_an_expired_url_is_renewed(result: Path, uploading: SharedLimits) -> None:
    s3, bench, end = await attempt(result, uploading, error(403, EXPIRED))
    assert isinstance(end, Sent)
    assert s3.versions_seen == ["1", "2"]
    assert bench.counts == (1, 1)


async def test_a_wrong_signature_is_renewed_a_few_times_and_then_told(result: Path, uploading: SharedLimits) -> None:
    wrong = "<Error><Code>SignatureDoesNotMatch</Code></Error>"
    s3, _, end = await attempt(result, uploading, *[error(403, wrong) for _ in range(MAX_ASKED + 1)])
    assert isinstance(end, NotSent)
    assert s3.versions_seen == [str(version) for version in range(1, MAX_ASKED + 2)]


async def test_what_s3_refuses_for_good_is_told_with_its_code_and_request(
    result: Path, uploading: SharedLimits
) -> None:
    s3, _, end = await attempt(result, uploading, error(413, TOO_LARGE))
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "EntityTooLarge" in end.detail
    assert "R-17" in end.detail
    assert SIGNATURE not in end.detail
    assert len(s3.requests) == 1


async def test_a_redirect_is_not_followed(result: Path, uploading: SharedLimits) -> None:
    s3, _, end = await attempt(
        result, uploading, web.Response(status=307, headers={"Location": "/elsewhere?version=9"})
    )
    assert isinstance(end, NotSent)
    assert len(s3.requests) == 1


async def test_an_object_that_is_there_already_is_left_to_the_orchestrator(
    result: Path, uploading: SharedLimits
) -> None:
    s3, _, end = await attempt(result, uploading, error(412, "<Error><Code>PreconditionFailed</Code></Error>"))
    assert isinstance(end, Sent)
    assert end.was_there
    assert len(s3.requests) == 1


async def test_bytes_that_arrive_damaged_again_and_again_are_told(result: Path, uploading: SharedLimits) -> None:
    damaged = [error(400, "<Error><Code>BadDigest</Code></Error>") for _ in range(9)]
    s3, _, end = await attempt(result, uploading, *damaged)
    assert isinstance(end, NotSent)
    assert "BadDigest" in end.detail
    assert len(s3.requests) == 4


async def test_a_url_with_too_little_life_left_is_not_used(result: Path, uploading: SharedLimits) -> None:
    s3 = PlayedS3()
    async with serving(s3) as base:
        bench = Bench(result, uploading, Orchestrator(base))
        bench.orchestrator.lifetime_seconds = 2
        bench.grants.current = bench.orchestrator.grant()
        bench.orchestrator.lifetime_seconds = 3600
        assert isinstance(await bench.run(), Sent)
    assert s3.versions_seen == ["3"]


async def test_a_fresh_url_is_tried_however_short_its_life(result: Path, uploading: SharedLimits) -> None:
    s3 = PlayedS3(error(403, EXPIRED))
    async with serving(s3) as base:
        bench = Bench(result, uploading, Orchestrator(base))
        bench.grants.current = None
        bench.orchestrator.lifetime_seconds = 1
        assert isinstance(await bench.run(), Sent)
    assert (len(s3.requests), bench.upload.trouble.renewals) == (2, 1)


async def test_an_orchestrator_that_is_away_is_waited_for(
    result: Path, uploading: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.upload.grants.FIRST_PAUSE_SECONDS", 0.01)
    s3 = PlayedS3(error(403, EXPIRED))
    async with serving(s3) as base:
        away = [NotReady("no responders") for _ in range(3)]
        bench = Bench(result, uploading, Orchestrator(base, *away))
        assert isinstance(await bench.run(), Sent)
    assert bench.upload.last_problem


async def test_an_orchestrator_that_gives_no_url_ends_the_upload(result: Path, uploading: SharedLimits) -> None:
    s3 = PlayedS3(error(403, EXPIRED))
    async with serving(s3) as base:
        bench = Bench(
            result,
            uploading,
            Orchestrator(base, RequestRefused(code="GrantRefused", message="The execution is not yours.")),
        )
        end = await bench.run()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.PUBLISH_REFUSED
    assert "not yours" in end.detail


async def test_a_url_that_never_gets_an_answer_is_replaced(result: Path, uploading: SharedLimits) -> None:
    s3, _, end = await attempt(result, uploading, None, None, None)
    assert isinstance(end, Sent)
    assert s3.versions_seen[-1] == "2"


async def test_a_stalled_upload_is_given_up_and_tried_again(
    result: Path, uploading: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.upload.put.put.__kwdefaults__", {"idle_seconds": 0.2})
    seen: list[str] = []
    stalled = asyncio.Event()

    async def stall_once(request: web.BaseRequest) -> web.StreamResponse:
        if request.path.endswith("content.json.gz"):
            return web.Response()
        seen.append(request.query["version"])
        if len(seen) == 1:
            await stalled.wait()
        await request.content.read()
        return web.Response()

    async with serving(stall_once) as base:
        bench = Bench(result, uploading, Orchestrator(base))
        assert isinstance(await bench.run(), Sent)
        stalled.set()
    assert len(seen) == 2


async def test_a_result_that_is_larger_than_allowed_is_told_with_the_limit(
    result: Path, uploading: SharedLimits
) -> None:
    uploading.limit_bytes = 1 << 19
    s3, _, end = await attempt(result, uploading)
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_TOO_LARGE
    assert "512.0 KiB" in end.detail
    assert s3.requests == []


async def test_a_result_that_cannot_be_read_is_told(tmp_path: Path, uploading: SharedLimits) -> None:
    bench = Bench(tmp_path / "absent", uploading, Orchestrator("http://127.0.0.1:1"))
    end = await bench.run()
    assert isinstance(end, NotSent)
    assert end.reason is FailureReason.RESULT_UNREADABLE


class TestOnUnreadable:
    async def test_a_result_that_is_not_whole_is_not_sent_where_the_job_says_so(
        self, result: Path, uploading: SharedLimits, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (result / "1").mkdir()
        (result / "1" / "2").mkdir()
        monkeypatch.setattr(tar_stream, "MAX_DEPTH", 2)
        s3, _, end = await attempt(result, uploading, must_be_whole=True)
        assert isinstance(end, NotSent)
        assert end.reason is FailureReason.RESULT_NOT_WHOLE
        assert end.detail.startswith("1 entries of the result could not be archived as the task wrote them")
        assert "'1/2' was archived without its content" in end.detail
        assert s3.requests == []

    async def test_what_was_lost_before_it_was_packed_counts_too(self, result: Path, uploading: SharedLimits) -> None:
        s3, _, end = await attempt(result, uploading, must_be_whole=True, lacking=1)
        assert isinstance(end, NotSent)
        assert end.reason is FailureReason.RESULT_NOT_WHOLE
        assert s3.requests == []

    async def test_a_small_one_that_is_packed_already_is_not_sent_either(
        self, result: Path, uploading: SharedLimits
    ) -> None:
        (result / "small").mkdir()
        packed = uploading.small.pack(result / "small", ALL)
        s3, _, end = await attempt(result, uploading, must_be_whole=True, lacking=1, packed=packed)
        assert packed is not None
        assert isinstance(end, NotSent)
        assert end.reason is FailureReason.RESULT_NOT_WHOLE
        assert s3.requests == []

    async def test_otherwise_it_is_sent_with_the_number(self, result: Path, uploading: SharedLimits) -> None:
        _, _, end = await attempt(result, uploading, lacking=1)
        assert isinstance(end, Sent)

    async def test_a_whole_one_is_sent(self, result: Path, uploading: SharedLimits) -> None:
        _, _, end = await attempt(result, uploading, must_be_whole=True)
        assert isinstance(end, Sent)


async def test_a_cancelled_upload_leaves_no_connection(result: Path, uploading: SharedLimits) -> None:
    arrived, leave = asyncio.Event(), asyncio.Event()

    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        arrived.set()
        await leave.wait()
        return web.Response()

    async with serving(hang) as base, asyncio.TaskGroup() as group:
        task = group.create_task(Bench(result, uploading, Orchestrator(base)).run(), name="upload")
        await arrived.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert isinstance(uploading.http.connector, aiohttp.TCPConnector)
        assert not uploading.http.connector._acquired
        leave.set()


async def test_the_index_of_a_larger_archive_goes_beside_it(result: Path, uploading: SharedLimits) -> None:
    (result / "outputs" / "more").write_bytes(os.urandom(900_000))
    s3, bench, end = await attempt(result, uploading)
    assert isinstance(end, Sent)
    assert len(s3.requests) == 1
    assert (end.facts.index_bytes, end.facts.index_sha256) == (len(s3.index), hashlib.sha256(s3.index).hexdigest())
    assert b'"path":"outputs/more"' in gzip.decompress(s3.index)
    assert bench.counts == (0, 0)


async def test_a_result_whose_index_is_refused_is_published_without_one(result: Path, uploading: SharedLimits) -> None:
    (result / "outputs" / "more").write_bytes(os.urandom(900_000))
    s3 = PlayedS3()
    s3.index_answer = error(413, TOO_LARGE)
    async with serving(s3) as base:
        end = await Bench(result, uploading, Orchestrator(base)).run()
    assert isinstance(end, Sent)
    assert (end.facts.index_bytes, end.facts.index_sha256) == (0, "")


async def test_a_result_for_whose_index_there_is_no_url_is_published_without_one(
    result: Path, uploading: SharedLimits
) -> None:
    (result / "outputs" / "more").write_bytes(os.urandom(900_000))
    s3 = PlayedS3()
    async with serving(s3) as base:
        refusal = RequestRefused(code="UnknownMessage", message="an older orchestrator")
        end = await Bench(result, uploading, Orchestrator(base, refusal)).run()
    assert isinstance(end, Sent)
    assert (end.facts.index_bytes, s3.index) == (0, b"")


async def test_the_manifest_goes_beside_an_archive_of_any_size(result: Path, uploading: SharedLimits) -> None:
    s3, bench, end = await attempt(result, uploading)
    assert isinstance(end, Sent)
    facts, told = end.facts, s3.manifest
    assert (facts.manifest_bytes, facts.manifest_sha256) == (len(told), hashlib.sha256(told).hexdigest())
    assert end.manifest_md5 == hashlib.md5(told).hexdigest()
    assert {each.name for each in manifest_entries(io.BytesIO(told), facts.content_digest)} == {
        b"outputs",
        b"outputs/data",
        b"stdout",
    }
    assert bench.counts == (0, 0)


async def test_a_result_whose_manifest_is_refused_is_published_without_one(
    result: Path, uploading: SharedLimits
) -> None:
    s3 = PlayedS3()
    s3.manifest_answer = lambda: error(413, TOO_LARGE)
    async with serving(s3) as base:
        end = await Bench(result, uploading, Orchestrator(base)).run()
    assert isinstance(end, Sent)
    assert (end.facts.manifest_bytes, end.facts.manifest_sha256, end.manifest_md5) == (0, "", "")
    assert end.facts.content_digest


async def test_a_manifest_that_readers_would_not_take_is_not_sent(
    result: Path, uploading: SharedLimits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.upload.upload.MAX_MANIFEST_BYTES", 10)
    s3, _, end = await attempt(result, uploading)
    assert isinstance(end, Sent)
    assert (end.facts.manifest_bytes, s3.manifest) == (0, b"")


class TestTrouble:
    """When somebody is told that a result waits."""

    @pytest.fixture(autouse=True)
    def soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("compute.upload.delivery.TOLD_AFTER_SECONDS", 0.02)
        monkeypatch.setattr("compute.upload.delivery.TOLD_EVERY_SECONDS", 0.02)

    async def test_the_last_failure_is_told_again_and_again_until_something_goes_well(self) -> None:
        told: list[str] = []
        trouble = Trouble(told.append)
        trouble.failed("first")
        trouble.failed("second")
        assert (told, trouble.is_waiting) == ([], True)
        await eventually(lambda: len(told) >= 2)
        assert set(told) == {"second"}
        trouble.went_well()
        assert not trouble.is_waiting

    async def test_nothing_is_told_of_what_goes_well_soon(self) -> None:
        told: list[str] = []
        trouble, other = Trouble(told.append), Trouble(told.append)
        trouble.failed("first")
        trouble.went_well()
        other.failed("other")
        await eventually(lambda: "other" in told)
        other.end()
        assert set(told) == {"other"}

    async def test_what_waits_for_its_turn_shares_the_trouble_of_those_before_it(self) -> None:
        told: list[str] = []
        queued = Trouble(told.append)
        trouble = Trouble(lambda _: None, {queued})
        trouble.failed("S3 is away")
        assert queued.is_waiting
        await eventually(lambda: "S3 is away" in told)
        trouble.went_well()
        assert not queued.is_waiting
