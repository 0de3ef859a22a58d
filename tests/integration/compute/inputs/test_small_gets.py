"""Small objects come one after the other over connections that are kept, and whatever is unusual is left to others."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import uvloop
from aiohttp import web

from compute.inputs.objects.small import gets as small_gets
from compute.inputs.objects.small.gets import MOST_BYTES, SmallGet, SmallGets, small_get
from shared.protocol.signed_url import SignedUrl
from tests.certificates import make_certificate
from tests.odd_server import OddServer, answer
from tests.servers import HOST
from tests.waiting import eventually

ETAG = '"e-1"'
CONTENT = b"small"
NAMES = [f"a%20b/{number}" for number in range(200)]


def of(url: str, size: int = len(CONTENT), **more: Any) -> SmallGet:
    found = small_get(SignedUrl(method="GET", url=url, lifetime_seconds=60, **more), size, ETAG)
    assert found is not None
    return found


def content_of(name: str) -> bytes:
    return name.encode() * (1 + 37 * int(name.rpartition("/")[2]) % 5000)


class Server:
    """Has an object for each name; counts connections and requests."""

    def __init__(self) -> None:
        self.connections: set[object] = set()
        self.asked: list[web.BaseRequest] = []
        self.answering: asyncio.Event = asyncio.Event()
        self.url = ""

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        self.connections.add(request.transport)
        self.asked.append(request)
        await self.answering.wait()
        return web.Response(body=content_of(request.raw_path[1:]), headers={"ETag": ETAG})

    @asynccontextmanager
    async def running(self, tls: ssl.SSLContext | None = None) -> AsyncIterator["Server"]:
        runner = web.ServerRunner(web.Server(self._answer), shutdown_timeout=0.1)
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, 0, ssl_context=tls).start()
            ((_, port),) = runner.addresses
            self.url = f"{'https' if tls else 'http'}://{HOST}:{port}/"
            self.answering.set()
            yield self
        finally:
            await runner.cleanup()

    def gets(self) -> list[SmallGet]:
        return [of(self.url + name, len(content_of(name))) for name in NAMES]


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async with Server().running() as running:
        yield running


@pytest.fixture
async def odd() -> AsyncIterator[OddServer]:
    async with OddServer(answer()).running() as running:
        yield running


async def got(*gets: SmallGet) -> list[bytes | None]:
    with closing(SmallGets()) as small:
        async with asyncio.timeout(20):
            return await small.get(gets)


async def test_each_object_is_given_in_its_place_over_a_few_connections(server: Server) -> None:
    with closing(SmallGets()) as small:
        for _ in range(2):
            assert await small.get(server.gets()) == [content_of(name) for name in NAMES]
    assert len(server.connections) <= small_gets.AT_ONCE
    assert len(server.asked) == 2 * len(NAMES)
    assert server.asked[0].headers["If-Match"] == ETAG
    assert server.asked[0].headers["Host"] == server.url.removeprefix("http://").rstrip("/")


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_they_come_over_tls_from_a_server_that_is_trusted_alone(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    made = make_certificate(tmp_path)
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    serving.load_cert_chain(made.certificate, made.key)
    trusting.load_verify_locations(made.certificate)

    async def look() -> None:
        async with Server().running(serving) as server:
            with closing(SmallGets(trusting)) as small:
                assert await small.get(server.gets()) == [content_of(name) for name in NAMES]
            with closing(SmallGets()) as small:
                assert await small.get(server.gets()) == [None] * len(NAMES)
            assert len(server.asked) == len(NAMES)

    run(look())


@pytest.mark.parametrize(
    "said",
    [
        answer(CONTENT, f"ETag: {ETAG}", status=206),
        answer(CONTENT, 'ETag: "e-2"'),
        answer(CONTENT, length=len(CONTENT) + 1),
        answer(CONTENT + b"more", length=len(CONTENT)),
        answer(CONTENT, f"Content-Length: {len(CONTENT)}"),
        answer(CONTENT, "Transfer-Encoding: chunked"),
        answer(CONTENT, "X-Long: 1\r\n folded"),
        answer(CONTENT[:3], length=len(CONTENT)),
        answer(b"<Error/>", status=403),
        answer(b"", "Location: /elsewhere", status=307),
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nsmall",
        b"X" * (1 << 20),
        b"",
    ],
    ids=[
        "part",
        "other",
        "longer",
        "more",
        "twice",
        "chunks",
        "folded",
        "cut",
        "refused",
        "redirected",
        "old",
        "endless head",
        "nothing",
    ],
)
async def test_what_is_unusual_is_given_as_nothing(odd: OddServer, said: bytes) -> None:
    odd.answer(said)
    assert await got(of(odd.url())) == [None]


async def test_what_is_usual_is_given_whatever_the_rest_of_the_head_is(odd: OddServer) -> None:
    odd.answer(answer(CONTENT, f"etag:W/{ETAG}", "Connection: close", "Set-Cookie: a=b"))
    assert await got(of(odd.url())) == [CONTENT]


async def test_a_server_that_never_answers_as_usual_is_left_alone_for_a_while(
    odd: OddServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd.answer(answer(b"<Error/>", status=503))
    with closing(SmallGets()) as small:
        for _ in range(10):
            assert await small.get([of(odd.url())]) == [None]
    assert len(odd.asked) == small_gets.MOST_FRUITLESS
    monkeypatch.setattr(small_gets, "LEFT_SECONDS", 0.0)
    with closing(SmallGets()) as small:
        for _ in range(10):
            await small.get([of(odd.url())])
        odd.answer(answer(CONTENT, "Connection: close"))
        assert await small.get([of(odd.url())]) == [CONTENT]


async def test_nobody_waits_for_a_server_that_is_not_there(odd: OddServer) -> None:
    url = odd.url().replace(str(odd.port), "1")
    assert await got(*[of(url)] * 100) == [None] * 100


async def test_what_a_silent_server_was_asked_for_is_given_up(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_gets, "IDLE_SECONDS", 0.05)
    monkeypatch.setattr(small_gets, "LOOK_SECONDS", 0.05)
    server.answering.clear()
    assert await got(*server.gets()[:3]) == [None] * 3


async def test_when_cancelled_nothing_goes_on(server: Server) -> None:
    server.answering.clear()
    with closing(SmallGets()) as small:
        async with asyncio.TaskGroup() as group:
            asking = group.create_task(small.get(server.gets()))
            await eventually(lambda: server.asked, within=20)
            asking.cancel()
        server.answering.set()
        assert await small.get(server.gets()[:1]) == [content_of(NAMES[0])]
    assert len(server.asked) <= small_gets.AT_ONCE + 1


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1]/a",
        "http://me:secret@host/a",
        "http://host/a b",
        "http://host/a#b",
        "http://host/a\r\nX: 1",
        "ftp://host/a",
        "http://hóst/a",
    ],
)
def test_a_url_that_cannot_be_sent_as_it_is_is_not_for_here(url: str) -> None:
    assert small_get(SignedUrl(method="GET", url=url, lifetime_seconds=60), 5, ETAG) is None


@pytest.mark.parametrize(
    ("size", "etag", "headers"),
    [(0, ETAG, {}), (MOST_BYTES + 1, ETAG, {}), (5, '"e"\r\nX: 1', {}), (5, ETAG, {"X": "1\r\nY: 2"})],
)
def test_an_object_is_not_for_here_that_is_large_or_has_odd_headers(
    size: int, etag: str, headers: dict[str, str]
) -> None:
    url = SignedUrl(method="GET", url="http://host/a", headers=headers, lifetime_seconds=60)
    assert small_get(url, size, etag) is None


def test_the_usual_port_is_not_named() -> None:
    assert b"\r\nHost: host\r\n" in of("https://host:443/a?x=1").request
    assert b"\r\nHost: host:80\r\n" in of("https://host:80/a").request
