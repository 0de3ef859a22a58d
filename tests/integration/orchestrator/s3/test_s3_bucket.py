import asyncio
import hashlib
import logging
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from orchestrator.rules.location import Location
from orchestrator.s3 import requests as s3_requests
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.credentials.chain import Snapshot
from orchestrator.s3.credentials.rotation import CredentialSource
from orchestrator.s3.probe import BODY, NOT_PROBED
from orchestrator.s3.problems import ProblemCode
from orchestrator.s3.verification import Absent, ObjectFacts, Verdict, matches
from shared.errors import ConfigurationInvalid, CredentialsMissing, StorageUnavailable
from shared.protocol.s3_errors import UploadAction, action_for, parse_error
from shared.protocol.signed_url import SignedUrl
from tests.servers import HOST, Keys, S3Server, free_ports
from tests.waiting import eventually

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def source(keys: Keys) -> CredentialSource:
    def load() -> Snapshot:
        return Snapshot(
            access_key=keys.access,
            secret_key=keys.secret,
            token=None,
            expires_at=None,
            loaded_at=datetime.now(UTC),
            source="test",
        )

    return CredentialSource(load)


def settings_of(endpoint: str, bucket: str) -> Location:
    return Location(bucket=bucket, key="results", region="us-east-1", endpoint=endpoint)


@asynccontextmanager
async def opened(endpoint: str, bucket: str, keys: Keys) -> AsyncIterator[Bucket]:
    settings = settings_of(endpoint, bucket)
    async with Bucket(settings, credentials=source(keys), probe_interval_seconds=0.05) as opened_bucket:
        yield opened_bucket


@pytest.fixture(scope="module")
def name(s3_server: S3Server) -> str:
    return s3_server.create_bucket(prefix="results")


@pytest.fixture
async def bucket(s3_server: S3Server, name: str) -> AsyncIterator[Bucket]:
    async with opened(s3_server.endpoint, name, s3_server.orchestrator) as opened_bucket:
        yield opened_bucket


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def use(http: aiohttp.ClientSession, url: SignedUrl, body: bytes | None = None) -> tuple[int, bytes]:
    target = URL(url.url, encoded=True)
    async with http.request(url.method, target, headers=url.headers, data=body) as response:
        return response.status, await response.read()


async def test_the_probe_writes_and_reads_and_learns_that_create_only_is_honoured(
    s3_server: S3Server, bucket: Bucket
) -> None:
    assert bucket.health.outcome is NOT_PROBED
    await bucket.health.until_ready()
    outcome = bucket.health.outcome
    assert outcome.ready
    assert outcome.create_only
    assert outcome.problem is None
    assert outcome.clock_skew_seconds is not None
    assert abs(outcome.clock_skew_seconds) <= 2
    kept = s3_server.client().get_object(Bucket=bucket.location.bucket, Key="results/.tarpon-probe")
    assert kept["Body"].read() == BODY


async def test_what_a_signed_put_wrote_a_signed_get_reads(bucket: Bucket, http: aiohttp.ClientSession) -> None:
    key, content = f"results/job/{uuid.uuid4().hex} ü+~=&.tar.gz", b"content" * 1000
    assert (await use(http, await bucket.sign_put(key, create_only=True), content))[0] == 200
    assert await use(http, await bucket.sign_get(key)) == (200, content)
    facts = await bucket.head(key)
    assert isinstance(facts, ObjectFacts)
    assert matches(facts, len(content), hashlib.md5(content).hexdigest()) is Verdict.VERIFIED
    assert matches(facts, len(content), hashlib.md5(b"other").hexdigest()) is Verdict.MISMATCH


async def test_a_create_only_put_never_replaces_an_object(bucket: Bucket, http: aiohttp.ClientSession) -> None:
    key = f"results/{uuid.uuid4().hex}"
    assert (await use(http, await bucket.sign_put(key, create_only=True), b"first"))[0] == 200
    status, body = await use(http, await bucket.sign_put(key, create_only=True), b"second")
    assert status == 412
    assert action_for(parse_error(status, body, {})) is UploadAction.SETTLE
    assert await use(http, await bucket.sign_get(key)) == (200, b"first")
    assert (await use(http, await bucket.sign_put(key, create_only=False), b"third"))[0] == 200


async def test_the_condition_cannot_be_left_out_of_a_create_only_put(
    bucket: Bucket, http: aiohttp.ClientSession
) -> None:
    url = await bucket.sign_put(f"results/{uuid.uuid4().hex}", create_only=True)
    async with http.put(URL(url.url, encoded=True), data=b"without the header") as response:
        assert response.status == 403


async def test_an_absent_object_and_one_that_may_not_be_seen_are_told_as_absent(bucket: Bucket) -> None:
    assert await bucket.head("results/nothing-here") == Absent()
    assert await bucket.head("elsewhere/nothing-here") == Absent()


@pytest.mark.parametrize(
    ("method", "key", "query"),
    [
        ("GET", "", {"list-type": "2", "prefix": "results/"}),
        ("DELETE", "results/.tarpon-probe", {}),
        ("DELETE", "results/.tarpon-probe", {"uploadId": "x"}),
        ("PUT", "elsewhere/object", {}),
        ("GET", "elsewhere/object", {}),
        ("PUT", "results-too/object", {}),
    ],
)
async def test_the_documented_policy_allows_put_and_get_below_the_prefix_alone(
    bucket: Bucket, http: aiohttp.ClientSession, method: str, key: str, query: dict[str, str]
) -> None:
    keys = await bucket.credentials.usable(least_seconds=10)
    url = bucket._signers.internal.sign(method, key, keys=keys, query=query)
    status, body = await use(http, url, b"x" if method == "PUT" else None)
    assert (status, parse_error(status, body, {}).code) == (403, "AccessDenied")


async def test_a_missing_bucket_is_told(s3_server: S3Server) -> None:
    async with opened(s3_server.endpoint, "no-such-bucket", s3_server.admin) as bucket:
        problem = (await bucket.health.check()).problem
    assert problem is not None
    assert problem.code is ProblemCode.BUCKET_MISSING
    assert "'no-such-bucket' does not exist, or these credentials may not use it" in problem.message


async def test_where_s3_does_not_tell_both_reasons_are_named(s3_server: S3Server) -> None:
    async with opened(s3_server.endpoint, "no-such-bucket", s3_server.orchestrator) as bucket:
        problem = (await bucket.health.check()).problem
    assert problem is not None
    assert problem.code is ProblemCode.ACCESS_DENIED
    assert "'no-such-bucket' does not exist, or these credentials may not use it" in problem.message
    assert "arn:aws:s3:::no-such-bucket/results/*" in problem.hint


async def test_an_unknown_key_and_a_wrong_secret_are_told_apart_and_never_shown(s3_server: S3Server, name: str) -> None:
    right = s3_server.orchestrator
    for keys, code in [
        (Keys("AKUNKNOWN", right.secret), ProblemCode.ACCESS_KEY_UNKNOWN),
        (Keys(right.access, "wrong-secret"), ProblemCode.SECRET_KEY_WRONG),
    ]:
        async with opened(s3_server.endpoint, name, keys) as bucket:
            problem = (await bucket.health.check()).problem
            assert problem is not None
            assert problem.code is code
            shown = f"{problem!r} {problem} {bucket!r} {bucket.health!r} {bucket.credentials!r}"
            assert keys.access not in shown
            assert keys.secret not in shown


async def test_what_keys_may_not_read_is_absent_and_what_refused_keys_may_is_not_known(
    s3_server: S3Server, name: str
) -> None:
    right = s3_server.orchestrator
    async with opened(s3_server.endpoint, name, right) as bucket:
        assert isinstance(await bucket.read("none", most_bytes=10_000), Absent)
    for wrong in (Keys("AKIDUNKNOWN", right.secret), Keys(right.access, "wrong-secret")):
        async with opened(s3_server.endpoint, name, wrong) as bucket:
            with pytest.raises(StorageUnavailable):
                await bucket.read("none", most_bytes=10_000)


async def test_refused_keys_are_read_again(s3_server: S3Server, name: str) -> None:
    right, loads = s3_server.orchestrator, 0

    def load() -> Snapshot:
        nonlocal loads
        loads += 1
        return source(right)._load() if loads > 1 else source(Keys(right.access, "rotated away"))._load()

    settings = settings_of(s3_server.endpoint, name)
    async with (
        asyncio.timeout(10),
        Bucket(settings, credentials=CredentialSource(load), probe_interval_seconds=0.05) as bucket,
    ):
        await bucket.health.until_ready()
    assert loads == 2


async def test_an_endpoint_where_nothing_listens_is_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    [port] = free_ports(1)
    async with opened(f"http://{HOST}:{port}", "b", Keys("AKID", "secret")) as bucket:
        problem = (await bucket.health.check()).problem
        assert problem is not None
        assert problem.code is ProblemCode.ENDPOINT_UNREACHABLE
        assert f"{HOST}:{port} cannot be reached: the connection is refused" in problem.message
        with pytest.raises(StorageUnavailable) as caught:
            await bucket.head("results/x")
    assert caught.value.retryable
    for text in (str(problem), str(caught.value), repr(caught.value), caplog.text):
        assert "X-Amz-" not in text
        assert "AKID" not in text


async def test_a_host_name_that_does_not_resolve_is_told() -> None:
    async with opened("http://s3.invalid", "b", Keys("AKID", "secret")) as bucket:
        problem = (await bucket.health.check()).problem
    assert problem is not None
    assert problem.code is ProblemCode.ENDPOINT_UNREACHABLE
    assert "s3.invalid cannot be reached: no such host" in problem.message


async def test_https_where_plain_http_is_spoken_is_told(s3_server: S3Server) -> None:
    async with opened(f"https://{HOST}:{s3_server.port}", "b", Keys("AKID", "secret")) as bucket:
        problem = (await bucket.health.check()).problem
    assert problem is not None
    assert problem.code is ProblemCode.TLS_FAILED


@asynccontextmanager
async def answering(handler: Handler) -> AsyncIterator[str]:
    """An HTTP server that is not S3; what it answers stands in for services that cannot be run here."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0).start()
        yield f"http://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def probed(handler: Handler) -> tuple[ProblemCode | None, bool]:
    async with answering(handler) as endpoint, opened(endpoint, "b", Keys("AKID", "secret")) as bucket:
        outcome = await bucket.health.check()
        return (outcome.problem.code if outcome.problem else None), outcome.create_only


async def test_a_web_server_is_not_taken_for_s3() -> None:
    async def page(_: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    async def no_page(_: web.Request) -> web.Response:
        return web.Response(status=405, text="<html>No</html>", content_type="text/html")

    assert await probed(page) == (ProblemCode.NOT_S3, False)
    assert await probed(no_page) == (ProblemCode.NOT_S3, False)


async def test_a_bucket_of_another_region_is_told_and_no_redirect_is_followed() -> None:
    paths = []

    async def redirect(request: web.Request) -> web.Response:
        paths.append(request.path)
        headers = {"location": "/elsewhere", "x-amz-bucket-region": "eu-north-1"}
        return web.Response(status=301, text="<Error><Code>PermanentRedirect</Code></Error>", headers=headers)

    assert await probed(redirect) == (ProblemCode.REGION_WRONG, False)
    assert paths == ["/b/results/.tarpon-probe"]


@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (200, "", (None, False)),
        (412, "PreconditionFailed", (None, True)),
        (501, "NotImplemented", (None, False)),
        (400, "InvalidArgument", (None, False)),
        (403, "SignatureDoesNotMatch", (None, False)),
        (503, "SlowDown", (ProblemCode.SERVICE_FAILING, False)),
    ],
)
async def test_only_a_412_counts_as_honouring_create_only(
    status: int, code: str, expected: tuple[ProblemCode | None, bool]
) -> None:
    async def service(request: web.Request) -> web.Response:
        assert request.method != "PUT" or request.content_length == len(BODY)
        if request.method == "GET":
            return web.Response(body=BODY)
        if "If-None-Match" not in request.headers:
            return web.Response()
        return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>")

    assert await probed(service) == expected


@pytest.mark.parametrize("refuses", [False, True])
async def test_a_service_that_takes_no_name_for_what_is_read_gets_urls_without_one(*, refuses: bool) -> None:
    async def service(request: web.Request) -> web.Response:
        if request.method == "GET" and refuses and "response-content-disposition" in request.query:
            return web.Response(status=400, text="<Error><Code>InvalidArgument</Code></Error>")
        return web.Response(body=BODY if request.method == "GET" else None)

    async with answering(service) as endpoint, opened(endpoint, "b", Keys("AKID", "secret")) as bucket:
        assert (await bucket.health.check()).ready
        url = URL((await bucket.sign_get("results/x", saved_as="my job.tar.gz")).url, encoded=True)
    asked = None if refuses else 'attachment; filename="my job.tar.gz"'
    assert url.query.get("response-content-disposition") == asked


async def test_a_service_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    never = asyncio.Event()

    async def hanging(_: web.Request) -> web.Response:
        await never.wait()
        return web.Response()

    monkeypatch.setattr(s3_requests, "REQUEST_SECONDS", 0.1)
    async with answering(hanging) as endpoint, opened(endpoint, "b", Keys("AKID", "secret")) as bucket:
        problem = (await bucket.health.check()).problem
        with pytest.raises(StorageUnavailable):
            await bucket.head("results/x")
        never.set()
    assert problem is not None
    assert problem.code is ProblemCode.ENDPOINT_TIMEOUT


async def test_urls_are_for_the_public_host_and_the_own_requests_for_the_internal_one(
    s3_server: S3Server, name: str
) -> None:
    settings = Location(
        bucket=name,
        key="results",
        region="us-east-1",
        endpoint=s3_server.endpoint,
        public_endpoint="https://s3.example.com",
    )
    async with Bucket(settings, credentials=source(s3_server.orchestrator)) as bucket:
        for url in (await bucket.sign_put("results/x", create_only=True), await bucket.sign_get("results/x")):
            assert url.url.startswith(f"https://s3.example.com/{name}/results/x?")
        assert (await bucket.health.check()).ready
        assert isinstance(await bucket.head("results/.tarpon-probe"), ObjectFacts)


async def test_a_clock_that_is_wrong_is_told_by_how_much() -> None:
    async def service(_: web.Request) -> web.Response:
        body = "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
        return web.Response(status=403, text=body, headers={"date": "Thu, 01 Jan 2099 00:00:00 GMT"})

    async with answering(service) as endpoint, opened(endpoint, "b", Keys("AKID", "secret")) as bucket:
        outcome = await bucket.health.check()
    assert outcome.problem is not None
    assert outcome.problem.code is ProblemCode.CLOCK_SKEWED
    assert outcome.clock_skew_seconds is not None
    assert outcome.clock_skew_seconds > 365 * 86400
    assert f"it is {outcome.clock_skew_seconds:.0f} s behind that of S3" in outcome.problem.message


async def test_a_failing_service_and_one_without_a_size_make_a_head_unavailable() -> None:
    async def failing(_: web.Request) -> web.Response:
        return web.Response(status=503)

    async def sizeless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        return response

    handlers: list[Handler] = [failing, sizeless]
    for handler in handlers:
        async with answering(handler) as endpoint, opened(endpoint, "b", Keys("AKID", "secret")) as bucket:
            with pytest.raises(StorageUnavailable) as caught:
                await bucket.head("results/x")
            assert "X-Amz-" not in str(caught.value)


async def test_the_probe_recovers_by_itself_and_logs_changes_alone(
    s3_server: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="orchestrator")
    name = f"later-{uuid.uuid4().hex[:8]}"
    tries = 0
    async with asyncio.timeout(20), opened(s3_server.endpoint, name, s3_server.orchestrator) as bucket:
        check = bucket.health._check

        async def counted() -> object:
            nonlocal tries
            tries += 1
            if tries == 3:
                await asyncio.to_thread(s3_server.create_bucket, name, prefix="results")
            return await check()

        bucket.health._check = counted  # type: ignore[assignment]
        await bucket.health.until_ready()
        assert bucket.health.outcome.ready
    assert tries >= 3
    levels = [record.levelname for record in caplog.records if record.name == "orchestrator.s3.probe"]
    assert levels == ["WARNING", "INFO"]


async def test_without_credentials_the_bucket_opens_and_its_health_says_so() -> None:
    async with Bucket(settings_of("http://127.0.0.1:9", "b")) as bucket:
        problem = (await bucket.health.check()).problem
        assert problem is not None
        assert problem.code is ProblemCode.CREDENTIALS_MISSING
        assert "AWS_ACCESS_KEY_ID" in problem.hint
        with pytest.raises(CredentialsMissing):
            await bucket.sign_get("results/x")


async def test_impossible_settings_do_not_open() -> None:
    with pytest.raises(ConfigurationInvalid):
        await Bucket(settings_of("localhost:9000", "b")).__aenter__()


async def test_a_cancelled_probe_leaves_no_connection_behind() -> None:
    arrived, never = asyncio.Event(), asyncio.Event()
    transports: list[asyncio.Transport] = []

    async def hanging(request: web.Request) -> web.Response:
        assert request.transport is not None
        transports.append(request.transport)
        arrived.set()
        await never.wait()
        return web.Response()

    async with answering(hanging) as endpoint, opened(endpoint, "b", Keys("AKID", "secret")) as bucket:
        async with asyncio.TaskGroup() as group:
            run = group.create_task(bucket.run(), name="bucket")
            await arrived.wait()
            run.cancel()
        assert bucket.health.outcome is NOT_PROBED
        await eventually(lambda: all(each.is_closing() for each in transports), within=20)
        never.set()
