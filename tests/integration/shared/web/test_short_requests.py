"""Short requests have the answers that HTTP allows, over connections that are kept as long as they are good."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import uvloop

from shared.web import short_requests
from shared.web.short_requests import (
    Address,
    BadAnswer,
    HttpServer,
    ShortAnswer,
    ShortRequests,
    address_of,
    request_head,
)
from tests.certificates import make_certificate
from tests.odd_server import OddServer, answer
from tests.servers import HOST, free_ports
from tests.waiting import eventually

GOOD = answer(b"good", "ETag: 1")
CHUNKED = "Transfer-Encoding: chunked"


class Keeping:
    """A server that answers many requests over a connection, as `said`; whoever is asked last answers first."""

    def __init__(self, *said: bytes) -> None:
        self.said = list(said)
        self.connections: list[asyncio.StreamWriter] = []
        self.requests: list[bytes] = []
        self.server = HttpServer()

    @asynccontextmanager
    async def running(self, place: Path | None = None, tls: ssl.SSLContext | None = None) -> AsyncIterator["Keeping"]:
        if place is not None:
            serving, self.server = await asyncio.start_unix_server(self._serve, place), HttpServer(socket=str(place))
        else:
            serving = await asyncio.start_server(self._serve, HOST, 0, ssl=tls)
            self.server = HttpServer(HOST, serving.sockets[0].getsockname()[1], tls is not None)
        async with serving:
            try:
                yield self
            finally:
                self.hang_up()

    def hang_up(self) -> None:
        for each in self.connections:
            each.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.append(writer)
        try:
            while True:
                self.requests.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(self.said.pop(0) if len(self.said) > 1 else self.said[0])
        except (OSError, asyncio.IncompleteReadError):
            writer.close()


def asking(method: str = "GET") -> bytes:
    head = request_head(method, "host", "/a?b=c", {"X-Told": "1"})
    assert head is not None
    return head


async def asked(server: HttpServer, *, has_body: bool = True) -> ShortAnswer:
    with closing(ShortRequests()) as short:
        async with asyncio.timeout(20):
            return await short.ask(server, asking(), may_repeat=True, has_body=has_body)


@pytest.mark.parametrize(
    ("said", "body"),
    [
        (answer(b"all of it"), b"all of it"),
        (answer(b""), b""),
        (b"HTTP/1.1 204\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + answer(b"then"), b"then"),
        (
            answer(b"4;x=y\r\nsome\r\n5\r\n more\r\n0\r\nT: 1\r\n\r\n", CHUNKED, length=-1),
            b"some more",
        ),
        (answer(b"to the end", length=-1), b"to the end"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nold", b"old"),
    ],
    ids=["length", "empty", "none", "unmodified", "continued", "chunks", "to the end", "old"],
)
@pytest.mark.parametrize("piece_bytes", [1, 1 << 20])
async def test_an_answer_is_understood_however_it_is_cut(said: bytes, body: bytes, piece_bytes: int) -> None:
    async def script(_: Any, writer: asyncio.StreamWriter) -> None:
        for at in range(0, len(said), piece_bytes):
            writer.write(said[at : at + piece_bytes])
            await writer.drain()
            await asyncio.sleep(0)

    async with OddServer(script).running() as odd:
        assert (await asked(HttpServer(HOST, odd.port))).body == body


async def test_names_of_headers_are_in_lower_case_and_what_comes_twice_is_joined() -> None:
    async with OddServer(answer(b"", "ETag:  1 ", "X-A: b", "x-a: c", status=412)).running() as odd:
        found = await asked(HttpServer(HOST, odd.port))
        assert (found.status, found.headers["etag"], found.headers["x-a"]) == (412, "1", "b, c")
        assert odd.asked[0].target == "/a?b=c"
        assert odd.asked[0].headers == {"host": "host", "x-told": "1"}


async def test_an_answer_to_head_has_no_body_whatever_length_it_tells() -> None:
    async with Keeping(answer(length=1000)).running() as server:
        with closing(ShortRequests()) as short:
            for _ in range(3):
                found = await short.ask(server.server, asking("HEAD"), may_repeat=True, has_body=False)
                assert (found.headers["content-length"], found.body) == ("1000", b"")
        assert len(server.connections) == 1


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"X" * (1 << 17),
        b"SSH-2.0-server\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: 1\r\n folded\r\n\r\n",
        answer(b"cut", length=9),
        answer(b"", "Content-Length: +3", length=-1),
        answer(b"", "Content-Length: 3", "Content-Length: 4", length=-1),
        answer(b"x\r\n", CHUNKED, length=-1),
        answer(b"4\r\nso", CHUNKED, length=-1),
        answer(b"", "Transfer-Encoding: gzip, chunked", length=-1),
        answer(b"x" * (short_requests.MOST_BODY_BYTES + 1), length=1 << 30),
    ],
    ids=[
        *("nothing", "endless head", "no http", "another protocol", "folded", "cut", "odd length", "two lengths"),
        *("odd chunk", "cut chunk", "encoded", "endless"),
    ],
)
async def test_what_is_no_whole_answer_is_an_error(said: bytes) -> None:
    async with OddServer(said).running() as odd:
        with pytest.raises(BadAnswer):
            await asked(HttpServer(HOST, odd.port))


async def test_connections_are_kept_and_no_more_are_opened_than_are_allowed(tmp_path: Path) -> None:
    async with Keeping(GOOD).running(tmp_path / "socket") as server:
        with closing(ShortRequests(at_once=3)) as short:
            for _ in range(2):
                async with asyncio.TaskGroup() as group:
                    asks = [group.create_task(short.ask(server.server, asking(), may_repeat=False)) for _ in range(20)]
                assert {each.result().body for each in asks} == {b"good"}
        assert len(server.connections) == 3


@pytest.mark.parametrize("said", [answer(b"good", "Connection: close"), GOOD + b"more"], ids=["closing", "more"])
async def test_a_connection_is_not_kept_that_is_good_for_nothing_more(said: bytes) -> None:
    async with Keeping(said).running() as server:
        with closing(ShortRequests()) as short:
            for _ in range(2):
                assert (await short.ask(server.server, asking(), may_repeat=False)).body == b"good"
        assert len(server.connections) == 2


async def test_what_may_be_repeated_is_asked_again_where_a_kept_connection_has_ended() -> None:
    async with Keeping(GOOD).running() as server:
        with closing(ShortRequests()) as short:
            await short.ask(server.server, asking(), may_repeat=True)
            server.connections[0].transport.abort()  # which is heard of only after the next request is sent
            assert (await short.ask(server.server, asking(), may_repeat=True)).body == b"good"


async def test_a_connection_is_let_go_that_nobody_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(short_requests, "KEPT_SECONDS", 0.05)
    async with Keeping(GOOD).running() as server:
        with closing(ShortRequests()) as short:
            await short.ask(server.server, asking(), may_repeat=True)
            await eventually(server.connections[0].transport.is_closing, within=20)


async def test_when_cancelled_its_connection_ends() -> None:
    async with Keeping(b"HTTP/1.1 200 OK\r\n").running() as server:
        with closing(ShortRequests()) as short:
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(short.ask(server.server, asking(), may_repeat=True), name="ask")
                await eventually(lambda: server.requests, within=20)
                waiting.cancel()
            await eventually(server.connections[0].transport.is_closing, within=20)


async def test_a_server_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for server in (HttpServer(HOST, free_ports(1)[0]), HttpServer(socket=str(tmp_path / "absent"))):
        with pytest.raises(OSError, match=r"Connect|No such file"):
            await asked(server)


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_over_tls_only_who_is_trusted_is_asked(
    tmp_path: Path, run: Callable[[Coroutine[Any, Any, None]], None]
) -> None:
    made = make_certificate(tmp_path)
    serving, trusting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    serving.load_cert_chain(made.certificate, made.key)
    trusting.load_verify_locations(made.certificate)

    async def look() -> None:
        async with Keeping(GOOD).running(tls=serving) as server:
            with closing(ShortRequests(trusting)) as short:
                assert (await short.ask(server.server, asking(), may_repeat=True)).body == b"good"
            with pytest.raises(ssl.SSLCertVerificationError):
                await asked(server.server)
            assert len(server.requests) == 1

    run(look())


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://host/a%20b?x=1", Address(HttpServer("host", 80), "host", "/a%20b?x=1")),
        ("https://host:443/a", Address(HttpServer("host", 443, is_tls=True), "host", "/a")),
        ("http://host:8333/a", Address(HttpServer("host", 8333), "host:8333", "/a")),
        *(
            (url, None)
            for url in ("http://[::1]/a", "http://me:secret@host/a", "http://host/a b", "http://host/a\r\nb")
        ),
    ],
)
def test_a_url_is_taken_apart_that_can_be_sent_as_it_is(url: str, address: Address | None) -> None:
    assert address_of(url) == address


@pytest.mark.parametrize("value", ["1\r\nY: 2", "1\nY: 2", "", "é"])
def test_a_header_that_would_be_more_than_one_is_not_sent(value: str) -> None:
    assert request_head("GET", "host", "/", {"X": value}) is None
