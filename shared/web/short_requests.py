"""Short requests over HTTP/1.1: a head and little more each way, over connections that are kept.

aiohttp takes five times the processor time of what is made here for such a request, which adds up where the same few
are made for each job. What is understood here is a head, and a body of a known length, in chunks, or up to the end of
the connection. Proxies, redirects, cookies and compression are not: who needs those asks by aiohttp.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple, cast

from aiohappyeyeballs import start_connection

from shared.runtime.tls.trust import trusting_system

CONNECT_SECONDS = 5.0
NEXT_ADDRESS_SECONDS = 0.25
"""After so long the next address of a name is tried too (RFC 8305)."""
KEPT_SECONDS = 15.0
"""For so long a connection is kept that nobody uses."""
MOST_HEAD_BYTES = 64 << 10
MOST_BODY_BYTES = 4 << 20
_URL = re.compile(r"(https?)://([A-Za-z0-9._-]+)(?::([0-9]{1,5}))?(/[!-\"$-~]*)\Z")
"""One that can be sent as it is: without a space, a fragment, a password, or an address in brackets."""
_FIELD = re.compile(r"[!-~]+(?:[ \t]+[!-~]+)*\Z")
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?\Z")
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\Z")
_LINE, _HEAD_END = b"\r\n", b"\r\n\r\n"
_PORTS = {"http": 80, "https": 443}
_WITHOUT_BODY = frozenset({204, 304})


class BadAnswer(ConnectionError):
    """What came is no answer, or not one of which all came. Whether the request was carried out is not known."""


class HttpServer(NamedTuple):
    """Where one listens: at a port, or behind the `socket` of this machine."""

    host: str = ""
    port: int = 0
    is_tls: bool = False
    socket: str = ""


class Address(NamedTuple):
    """A URL, as it is asked for: what the server is called, and what is wanted of it."""

    server: HttpServer
    called: str
    target: str


class ShortAnswer(NamedTuple):
    """Names of headers are in lower case; what one that came several times says is joined by commas."""

    status: int
    headers: dict[str, str]
    body: bytes


def address_of(url: str) -> Address | None:
    """None for one that cannot be asked for here."""
    found = _URL.match(url)
    if found is None:
        return None
    scheme, host, port, target = found.groups()
    number = int(port or _PORTS[scheme])
    called = host if number == _PORTS[scheme] else f"{host}:{number}"
    return Address(HttpServer(host, number, scheme == "https"), called, target)


def request_head(method: str, called: str, target: str, headers: Mapping[str, str]) -> bytes | None:
    """What is sent before the body, of which the `headers` tell the length; None where something cannot be sent so."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    if not all(map(_FIELD.match, lines)):
        return None
    return "\r\n".join((f"{method} {target} HTTP/1.1", f"Host: {called}", *lines, "", "")).encode()


class ShortRequests:
    """Asks servers, over at most so many connections to each at once; 0 is any number.

    Without `trust` a server's certificate has to be of somebody whom this machine trusts.
    """

    def __init__(self, trust: ssl.SSLContext | None = None, *, at_once: int = 0) -> None:
        self._trust = trust
        self._at_once = at_once
        self._pools: dict[HttpServer, _Pool] = {}

    def __repr__(self) -> str:
        return f"<ShortRequests to {len(self._pools)} servers>"

    async def ask(self, server: HttpServer, request: bytes, *, may_repeat: bool, has_body: bool = True) -> ShortAnswer:
        """Raises OSError, of which BadAnswer is one. The caller writes the deadline.

        `may_repeat`: it does no harm when it is carried out twice. So it is sent again where a connection ends that was
        kept, as a server may close one at any time. `has_body` is whether an answer may have one, unlike that to HEAD.
        """
        if server.is_tls and self._trust is None:
            self._trust = await asyncio.to_thread(trusting_system)
        pool = self._pools.get(server)
        if pool is None:
            pool = self._pools[server] = _Pool(server, self._trust, self._at_once)
        return await pool.ask(request, may_repeat=may_repeat, has_body=has_body)

    def close(self) -> None:
        """In the event loop, when nobody asks any more."""
        for pool in self._pools.values():
            pool.close()


class _Pool:
    """Connections with one server."""

    def __init__(self, server: HttpServer, trust: ssl.SSLContext | None, at_once: int) -> None:
        self._server = server
        self._trust = trust if server.is_tls else None
        self._free = asyncio.Semaphore(at_once) if at_once else None
        self._idle: list[_Connection] = []
        """The one that was used last is the last."""
        self._sweep: asyncio.TimerHandle | None = None

    async def ask(self, request: bytes, *, may_repeat: bool, has_body: bool) -> ShortAnswer:
        if self._free is None:
            return await self._ask(request, may_repeat=may_repeat, has_body=has_body)
        async with self._free:
            return await self._ask(request, may_repeat=may_repeat, has_body=has_body)

    async def _ask(self, request: bytes, *, may_repeat: bool, has_body: bool) -> ShortAnswer:
        while (connection := self._kept()) is not None:
            try:
                return await self._asked(connection, request, has_body=has_body)
            except OSError:
                if connection.has_heard or not may_repeat:
                    raise
        return await self._asked(await self._open(), request, has_body=has_body)

    async def _asked(self, connection: "_Connection", request: bytes, *, has_body: bool) -> ShortAnswer:
        try:
            answer = await connection.ask(request, has_body=has_body)
        except BaseException:
            connection.drop()
            raise
        if connection.is_usable:
            self._keep(connection)
        else:
            connection.drop()
        return answer

    def _kept(self) -> "_Connection | None":
        while self._idle:
            connection = self._idle.pop()
            if connection.is_usable:
                return connection
        return None

    def _keep(self, connection: "_Connection") -> None:
        self._idle.append(connection)
        if self._sweep is None:
            self._sweep = asyncio.get_running_loop().call_later(KEPT_SECONDS, self._drop_old)

    def _drop_old(self) -> None:
        loop = asyncio.get_running_loop()
        kept = [each for each in self._idle if each.is_usable and loop.time() - each.used_at < KEPT_SECONDS]
        for each in set(self._idle) - set(kept):
            each.drop()
        self._idle = kept
        self._sweep = loop.call_later(KEPT_SECONDS, self._drop_old) if kept else None

    async def _open(self) -> "_Connection":
        loop, server = asyncio.get_running_loop(), self._server
        if server.socket:
            return (await loop.create_unix_connection(_Connection, server.socket))[1]
        async with asyncio.timeout(CONNECT_SECONDS):
            found = await loop.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM)
            connected = await start_connection(found, happy_eyeballs_delay=NEXT_ADDRESS_SECONDS, loop=loop)
            name = server.host if server.is_tls else None
            try:
                connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                made = await loop.create_connection(_Connection, sock=connected, ssl=self._trust, server_hostname=name)
            except BaseException:
                connected.close()
                raise
            return made[1]

    def close(self) -> None:
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        while self._idle:
            self._idle.pop().drop()


class _Connection(asyncio.Protocol):
    """Has one request at a time."""

    def __init__(self) -> None:
        self.used_at = 0.0
        self.has_heard = False
        self.is_usable = True
        self._loop = asyncio.get_running_loop()
        self._has_body = True
        self._come = b""
        self._answer: asyncio.Future[ShortAnswer] | None = None
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one by its methods alone

    async def ask(self, request: bytes, *, has_body: bool) -> ShortAnswer:
        self._come, self._has_body, self.has_heard = b"", has_body, False
        self._answer = self._loop.create_future()
        self._transport.write(request)
        try:
            return await self._answer
        finally:
            self._answer = None
            self.used_at = self._loop.time()

    def drop(self) -> None:
        self.is_usable = False
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self.has_heard = True
        if self._answer is None or self._answer.done():  # nobody has asked for this
            self.drop()
            return
        self._come = self._come + data if self._come else data
        self._look(has_ended=False)

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_usable = False
        if self._answer is not None and not self._answer.done():
            self._look(has_ended=True, why=exc)

    def _look(self, *, has_ended: bool, why: Exception | None = None) -> None:
        assert self._answer is not None
        try:
            found = _parsed(self._come, has_body=self._has_body, has_ended=has_ended)
        except BadAnswer as error:
            self.is_usable = False
            self._answer.set_exception(error)
            return
        if found is not None:
            self.is_usable = self.is_usable and found.keeps
            self._answer.set_result(found.answer)
        elif has_ended:
            self._answer.set_exception(why if isinstance(why, OSError) else BadAnswer("the connection has ended"))


class _Found(NamedTuple):
    answer: ShortAnswer
    keeps: bool
    """Whether the connection is good for another request: nothing else came, and the server does not close it."""


def _parsed(come: bytes, *, has_body: bool, has_ended: bool) -> _Found | None:
    """The answer, if all of it has come. Raises BadAnswer."""
    at = 0
    while True:
        end = come.find(_HEAD_END, at)
        if end < 0:
            if len(come) - at > MOST_HEAD_BYTES:
                raise BadAnswer("the head of the answer is too long")
            return None
        first, *lines = come[at:end].split(_LINE)
        at = end + len(_HEAD_END)
        told = _STATUS.match(first)
        if told is None:
            raise BadAnswer("what answers does not speak HTTP")
        status = int(told[2])
        if status >= 200:
            break
        if status == 101:
            raise BadAnswer("the answer changes to another protocol")
    headers = _fields(lines)
    keeps = told[1] == b"1" and "close" not in headers.get("connection", "").lower()
    if not has_body or status in _WITHOUT_BODY:
        return _Found(ShortAnswer(status, headers, b""), keeps=keeps and len(come) == at)
    found = _body(come, at, headers, has_ended=has_ended)
    if found is None:
        if len(come) - at > MOST_BODY_BYTES:
            raise BadAnswer("the answer is too long")
        return None
    body, after = found
    is_delimited = "transfer-encoding" in headers or "content-length" in headers
    return _Found(ShortAnswer(status, headers, body), keeps=keeps and is_delimited and len(come) == after)


def _fields(lines: list[bytes]) -> dict[str, str]:
    """Raises BadAnswer."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not name or name != name.strip():  # of an earlier HTTP: a line that goes on in the next
            raise BadAnswer("a header of the answer cannot be read")
        lowered, value = name.lower(), value.strip()
        fields[lowered] = f"{fields[lowered]}, {value}" if lowered in fields else value
    return fields


def _body(come: bytes, at: int, headers: Mapping[str, str], *, has_ended: bool) -> tuple[bytes, int] | None:
    """The body and where it ends; None where it has not all come. Raises BadAnswer."""
    if "transfer-encoding" in headers:
        if headers["transfer-encoding"].lower() != "chunked":
            raise BadAnswer("the answer comes in an encoding that is not known here")
        return _chunks(come, at)
    length = headers.get("content-length")
    if length is None:
        return (come[at:], len(come)) if has_ended else None
    if not length.isascii() or not length.isdecimal():
        raise BadAnswer("the answer has no length that makes sense")
    end = at + int(length)
    return (come[at:end], end) if len(come) >= end else None


def _chunks(come: bytes, at: int) -> tuple[bytes, int] | None:
    """RFC 9112, section 7.1. Raises BadAnswer."""
    pieces: list[bytes] = []
    while True:
        end = come.find(_LINE, at)
        if end < 0:
            return None
        told = _SIZE.match(come[at:end])
        if told is None:
            raise BadAnswer("a chunk of the answer has no length")
        at, size = end + len(_LINE), int(told[1], 16)
        if not size:
            break
        if len(come) < at + size + len(_LINE):
            return None
        pieces.append(come[at : at + size])
        at += size + len(_LINE)
    while (end := come.find(_LINE, at)) != at:  # trailers, which nobody reads
        if end < 0:
            return None
        at = end + len(_LINE)
    return b"".join(pieces), at + len(_LINE)
