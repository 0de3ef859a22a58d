"""One PUT of bytes in hand through a signed URL, and what came of it.

Nothing here, nor any error from here, shows the URL's query: it is the signature.
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import Protocol

import aiohttp
import msgspec
from aiohttp.payload import AsyncIterablePayload
from yarl import URL

from compute.upload.meter import UploadMeter
from shared.protocol.s3_errors import MAX_ERROR_BYTES, S3Failure, parse_error
from shared.protocol.signed_url import SignedUrl
from shared.runtime.network_problems import why_unreachable

SLICE_BYTES = 256 << 10
UNSENT_BYTES = 512 << 10
CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
"""Without a slice sent or an answer begun. There is no limit on the whole, since networks may be slow."""


class NotAnswered(Exception):
    """The connection failed before S3 answered; whether the object was stored is not known."""


class Stored(msgspec.Struct, frozen=True):
    """S3 has the bytes; `etag` without its quotes."""

    etag: str


class Pieces(Protocol):
    """Bytes that are not in memory."""

    def __len__(self) -> int: ...

    async def piece(self, start: int, end: int) -> memoryview:
        """Those from `start` up to `end`, or up to where all end. Raises OSError."""


Content = memoryview | Pieces


class PartBody:
    """The body of one PUT, in slices. Iterating again starts again, which a retry below us may do."""

    def __init__(self, content: Content, deadline: asyncio.Timeout, idle_seconds: float) -> None:
        self.sent_bytes = 0
        self._content = content
        self._deadline = deadline
        self._idle_seconds = idle_seconds

    async def __aiter__(self) -> AsyncIterator[memoryview]:
        self.sent_bytes = 0
        while self.sent_bytes < len(self._content):
            end = self.sent_bytes + SLICE_BYTES
            content = self._content
            if isinstance(content, memoryview):
                piece = content[self.sent_bytes : end]
            else:
                piece = await content.piece(self.sent_bytes, end)
            self._deadline.reschedule(asyncio.get_running_loop().time() + self._idle_seconds)
            yield piece
            self.sent_bytes += len(piece)


def upload_session(trust: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """Takes no proxy and no credentials from the environment, which would break signatures.

    Without `trust` the certificate has to be of somebody whom this machine trusts.
    """
    connector = aiohttp.TCPConnector(ssl=True if trust is None else trust, socket_factory=_new_socket)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar())


def _new_socket(address: aiohttp.AddrInfoType) -> socket.socket:
    """One that takes little more than what is on its way, so that what it has taken can count as sent."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    return made


async def put(
    http: aiohttp.ClientSession,
    url: SignedUrl,
    content: Content,
    *,
    content_md5: str = "",
    idle_seconds: float = IDLE_SECONDS,
    meter: UploadMeter | None = None,
) -> Stored | S3Failure:
    """What S3 said. Raises NotAnswered. `meter` sees what is sent meanwhile.

    `content_md5` is the digest in base64, as RFC 1864 has it, by which S3 refuses other bytes; empty where the URL is
    signed with a checksum.
    """
    # With a length, aiohttp never sends a chunked body, which AWS refuses.
    headers = {name: value for name, value in url.headers.items() if name != "content-length"}
    headers["Content-Length"] = str(len(content))
    if content_md5:
        headers["Content-MD5"] = content_md5
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(idle_seconds) as deadline:
            body = PartBody(content, deadline, idle_seconds)
            async with (
                _seen_by(meter, body),
                http.request(
                    url.method,
                    URL(url.url, encoded=True),
                    data=_payload(body),
                    headers=headers,
                    allow_redirects=False,
                ) as response,
            ):
                deadline.reschedule(loop.time() + idle_seconds)
                answer = await bounded(response.content)
                if 200 <= response.status < 300:
                    return Stored(response.headers.get("ETag", "").removeprefix("W/").strip('"'))
                return parse_error(response.status, answer, response.headers, url=url.url)
    except (aiohttp.ClientError, OSError, ValueError) as error:
        # Not chained: aiohttp puts the whole URL into some of its messages.
        raise NotAnswered(f"{host_of(url)}: {why_not_answered(error, idle_seconds)}") from None


@asynccontextmanager
async def _seen_by(meter: UploadMeter | None, body: PartBody) -> AsyncIterator[None]:
    with meter.sending(body) if meter is not None else nullcontext():
        yield


def _payload(body: PartBody) -> AsyncIterablePayload:
    """What aiohttp would make of it, after trying all else that it knows; it writes a memoryview as it does bytes."""
    return AsyncIterablePayload(body)  # type: ignore[arg-type]


async def bounded(stream: aiohttp.StreamReader) -> bytes:
    answer = b""
    while len(answer) <= MAX_ERROR_BYTES and (chunk := await stream.readany()):
        answer += chunk
    return answer


def host_of(url: SignedUrl) -> str:
    return URL(url.url, encoded=True).authority


def why_not_answered(error: Exception, idle_seconds: float) -> str:
    number = getattr(error, "errno", None)
    if isinstance(error, TimeoutError) and number is None:
        return f"no progress for {idle_seconds:.0f} s, or no connection within {CONNECT_SECONDS:.0f} s"
    return why_unreachable(error)
