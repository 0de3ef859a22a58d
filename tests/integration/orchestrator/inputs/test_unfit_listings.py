"""Services that answer otherwise than S3 should, and what is told of inputs there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from xml.sax.saxutils import escape

import pytest
from aiohttp import web

from orchestrator.inputs import resolvers, s3_objects
from orchestrator.inputs.problems import (
    InputDiffers,
    InputForbidden,
    InputKeyUnusable,
    InputListForbidden,
    InputNotFound,
    InputsClash,
    InputsNotReady,
    TooManyObjects,
)
from orchestrator.s3 import lookups
from shared.errors import TarponError
from tests.integration.input_places import InputPlaces, input_places, s3_source
from tests.servers import HOST, S3Server, free_ports

Answers = Callable[[web.Request], web.StreamResponse]
BUCKET = "data"
DIGEST = "ypeBEsobvcr6wjGzmiPcTaeG7/gUfE5yuYB3ha/uSLs="
"""Of `a`, as S3 writes it."""


def xml(text: str, status: int = 200, **headers: str) -> web.Response:
    return web.Response(text=text, status=status, content_type="application/xml", headers=headers)


def error(code: str, status: int, more: str = "") -> web.Response:
    return xml(f"<Error><Code>{code}</Code><Message>No.</Message>{more}</Error>", status)


def listing(*keys: str, more: bool = False) -> web.Response:
    each = "".join(f"<Contents><Key>{escape(key)}</Key><Size>1</Size><ETag>e</ETag></Contents>" for key in keys)
    token = "<IsTruncated>true</IsTruncated><NextContinuationToken>t</NextContinuationToken>" if more else ""
    return xml(f"<ListBucketResult>{token}{each}</ListBucketResult>")


@asynccontextmanager
async def service(s3_server: S3Server, answers: Answers) -> AsyncIterator[InputPlaces]:
    """One that answers so, and is asked without a second try."""
    (port,) = free_ports(1)

    async def answer(request: web.Request) -> web.StreamResponse:
        return answers(request)

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, port).start()
        async with input_places(s3_server, f"s3://{BUCKET}", endpoint=f"http://{HOST}:{port}") as places:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(lookups, "PAUSE_SECONDS", 0.0)
                yield places
    finally:
        await runner.cleanup()


async def told(s3_server: S3Server, key: str, answers: Answers, **params: str) -> TarponError:
    async with service(s3_server, answers) as places:
        with pytest.raises(TarponError) as caught:
            await places.found(s3_source(BUCKET, key, **params))
        return caught.value


@pytest.mark.parametrize("key", ["in//x", "in/a/../../x", "in/./x", "in/a\x7f/" + "n" * 256, "in/..", "out/in"])
async def test_an_object_that_can_be_no_file_is_refused_by_its_key(s3_server: S3Server, key: str) -> None:
    found = await told(s3_server, "in/", lambda _: listing("in/fine", key))
    if key == "out/in":  # which was not asked for
        assert isinstance(found, InputsNotReady)
        return
    assert isinstance(found, InputKeyUnusable)
    assert repr(key[:200]) in found.message


async def test_a_file_in_the_place_of_a_folder_is_refused(s3_server: S3Server) -> None:
    found = await told(s3_server, "in/", lambda _: listing("in/a/b/c", "in/a", "in/z"))
    assert isinstance(found, InputsClash)
    assert "'a' and 'a/b/c'" in found.message


async def test_a_list_without_end_is_ended(s3_server: S3Server) -> None:
    asked = 0

    def answers(_: web.Request) -> web.StreamResponse:
        nonlocal asked
        asked += 1
        return listing(f"in/{asked}", more=True)

    assert isinstance(await told(s3_server, "in/", answers), TooManyObjects)
    assert asked == s3_objects.MAX_PAGES


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (lambda: error("AccessDenied", 403), InputListForbidden, "s3:ListBucket on arn:aws:s3:::data"),
        (lambda: error("InvalidAccessKeyId", 403), InputsNotReady, "access key"),
        (lambda: error("SlowDown", 503), InputsNotReady, "failing at present"),
        (lambda: error("NoSuchBucket", 404), InputNotFound, "no bucket 'data'"),
        (
            lambda: error("PermanentRedirect", 301, "<Region>eu-north-1</Region>"),
            InputNotFound,
            "is not in the region",
        ),
        (lambda: xml("<html>hello</html>"), InputsNotReady, "none"),
        (lambda: xml("<html>hello</html>", 418), InputsNotReady, "not an S3 service"),
    ],
)
async def test_what_a_service_says_of_a_list_is_told(
    s3_server: S3Server, answer: Callable[[], web.Response], kind: type[TarponError], words: str
) -> None:
    found = await told(s3_server, "in/", lambda _: answer())
    assert type(found) is kind
    assert words in found.message
    assert "X-Amz" not in f"{found.message} {found.hint}"


async def test_of_one_object_it_is_told_by_a_request_that_has_words(s3_server: S3Server) -> None:
    """S3 answers a HEAD without a body."""

    def answers(request: web.Request) -> web.StreamResponse:
        return web.Response(status=403) if request.method == "HEAD" else error("AccessDenied", 403)

    found = await told(s3_server, "a", answers)
    assert isinstance(found, InputForbidden)
    assert "s3:GetObject on arn:aws:s3:::data/a" in found.hint
    found = await told(s3_server, "a", answers, VersionID="v")
    assert "s3:GetObjectVersion" in found.hint


async def test_a_digest_that_s3_knows_is_compared_and_kept(s3_server: S3Server) -> None:
    def answers(request: web.Request) -> web.StreamResponse:
        assert request.headers["x-amz-checksum-mode"] == "ENABLED"
        return web.Response(headers={"Content-Length": "1", "ETag": '"e"', "x-amz-checksum-sha256": DIGEST})

    async with service(s3_server, answers) as places:
        (only,) = await places.objects(s3_source(BUCKET, "a"))
        assert only.sha256 == "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"
        with pytest.raises(InputDiffers, match="ca978112"):
            await places.found(s3_source(BUCKET, "a", ChecksumSHA256="0" * 64))


async def test_a_service_that_does_not_answer_holds_up_its_own_readers_alone(s3_server: S3Server) -> None:
    reached, free = asyncio.Semaphore(0), asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(s3_objects, "MOST_AT_ONCE", 2)
        patch.setattr(resolvers, "LOOK_UP_SECONDS", 3.0)
        async with service(s3_server, lambda _: Hanging(reached, free)) as places, asyncio.TaskGroup() as group:

            async def asked() -> str:
                with pytest.raises(InputsNotReady) as caught:
                    await places.found(s3_source(BUCKET, "in/"))
                return caught.value.message

            waiting = [group.create_task(asked()) for _ in range(2)]
            for _ in waiting:
                await reached.acquire()
            assert "too many jobs" in await asked()
            assert not any(each.done() for each in waiting)
            assert {"takes more than 3 s" in await each for each in waiting} == {True}
            free.set()


class Hanging(web.StreamResponse):
    """It is begun, and never goes on."""

    def __init__(self, reached: asyncio.Semaphore, free: asyncio.Event) -> None:
        super().__init__()
        self._reached = reached
        self._free = free

    async def write_eof(self, data: bytes = b"") -> None:
        self._reached.release()
        await self._free.wait()
        await super().write_eof(data)
