"""One GET of a part of an object through a signed URL, and what came of it.

Nothing here, nor any error from here, shows the URL's query: it is the signature.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TypeVar

import aiohttp
from yarl import URL

from compute.inputs.objects.body_buffers import taken_over
from compute.upload.put import CONNECT_SECONDS, IDLE_SECONDS, NotAnswered, bounded, host_of, why_not_answered
from shared.protocol.s3_errors import S3Failure, parse_error
from shared.protocol.signed_url import SignedUrl

_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")

T = TypeVar("T")

Write = Callable[[memoryview], Awaitable[None]]
"""Takes what has come. It returns once what it was given the time before is written, and may be replaced."""


class Changed(Exception):
    """S3 has another object than the one that was asked for."""


class ObjectPart:
    """The bytes from `first` to before `end` of an object of `size` bytes, with this ETag if it has one."""

    def __init__(self, size: int, etag: str, first: int, end: int) -> None:
        self.size = size
        self.etag = etag
        self.first = first
        self.end = end

    def __repr__(self) -> str:
        return f"<ObjectPart {self.first}-{self.end} of {self.size}>"

    @property
    def size_bytes(self) -> int:
        return self.end - self.first

    @property
    def is_all(self) -> bool:
        return self.size_bytes == self.size

    def headers(self, url: SignedUrl) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity", **url.headers}
        if self.etag and not any(name.lower() == "if-match" for name in headers):
            headers["If-Match"] = self.etag
        if not self.is_all:
            headers["Range"] = f"bytes={self.first}-{self.end - 1}"
        return headers

    def check(self, response: aiohttp.ClientResponse) -> None:
        """Raises Changed where the answer is of another object, NotAnswered where it is of another part."""
        etag = response.headers.get("ETag", "")
        if self.etag and etag and etag.removeprefix("W/") != self.etag:
            raise Changed
        if response.status == HTTPStatus.PARTIAL_CONTENT:
            found = _RANGE.match(response.headers.get("Content-Range", ""))
            if found is None or (int(found[1]), int(found[2]) + 1) != (self.first, self.end):
                raise NotAnswered("S3 answered with another part than the one that was asked for")
            if int(found[3]) != self.size:
                raise Changed
        elif not self.is_all:
            raise NotAnswered("S3 answered with all of an object of which a part was asked for")
        elif response.content_length not in {None, self.size}:
            raise Changed


async def get(
    http: aiohttp.ClientSession, url: SignedUrl, part: ObjectPart, *, idle_seconds: float = IDLE_SECONDS
) -> S3Failure | bytes:
    """What S3 refused, or all of the part. Raises NotAnswered, Changed."""
    loop = asyncio.get_running_loop()

    async def read(response: aiohttp.ClientResponse, deadline: asyncio.Timeout) -> bytes:
        content = b""
        while len(content) <= part.size_bytes and (more := await response.content.readany()):
            content = content + more if content else more
            if len(content) < part.size_bytes:
                deadline.reschedule(loop.time() + idle_seconds)
        if len(content) > part.size_bytes:
            raise Changed
        if len(content) < part.size_bytes:
            raise ConnectionResetError
        return content

    return await _answer(http, url, part, read, idle_seconds)


async def receive(
    http: aiohttp.ClientSession, url: SignedUrl, part: ObjectPart, write: Write, *, idle_seconds: float = IDLE_SECONDS
) -> S3Failure | None:
    """What S3 refused, or None when all of the part was given to `write`. Raises NotAnswered, Changed, OSError of that.

    For what is large. The connection is of no more use afterwards.
    """
    loop = asyncio.get_running_loop()

    async def read(response: aiohttp.ClientResponse, deadline: asyncio.Timeout) -> None:
        async def take(view: memoryview) -> None:
            deadline.reschedule(None)  # of the disk, not of S3
            await write(view)
            deadline.reschedule(loop.time() + idle_seconds)

        if response.connection is None or response.content_length != part.size_bytes:
            # All of it came with its head, or it comes in chunks, which aiohttp alone can take apart.
            await _in_pieces(response.content, part.size_bytes, take)
            return
        left = part.size_bytes
        with taken_over(response, left) as body:
            while left:
                view = await body.next()
                left -= len(view)
                await take(view)
                body.go_on()

    return await _answer(http, url, part, read, idle_seconds)


async def _in_pieces(stream: aiohttp.StreamReader, size_bytes: int, take: Write) -> None:
    """As aiohttp reads it. Raises Changed, ConnectionResetError where it is longer or shorter."""
    while piece := await stream.readany():
        size_bytes -= len(piece)
        if size_bytes < 0:
            raise Changed
        await take(memoryview(piece))
    if size_bytes:
        raise ConnectionResetError


async def _answer(
    http: aiohttp.ClientSession,
    url: SignedUrl,
    part: ObjectPart,
    read: Callable[[aiohttp.ClientResponse, asyncio.Timeout], Awaitable[T]],
    idle_seconds: float,
) -> S3Failure | T:
    try:
        async with (
            asyncio.timeout(idle_seconds) as deadline,
            http.request(
                url.method, URL(url.url, encoded=True), headers=part.headers(url), allow_redirects=False
            ) as response,
        ):
            if response.status not in {HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT}:
                answer = await bounded(response.content)
                return parse_error(response.status, answer, response.headers, url=url.url)
            part.check(response)
            return await read(response, deadline)
    except ConnectionResetError:
        raise NotAnswered(f"{host_of(url)}: the connection ended too early") from None
    except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
        # Not chained: aiohttp puts the whole URL into some of its messages.
        raise NotAnswered(f"{host_of(url)}: {why_not_answered(error, idle_seconds)}") from None


def input_session(trust: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """Takes no proxy and no credentials from the environment, which would break signatures.

    Without `trust` the certificate has to be of somebody whom this machine trusts.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=True if trust is None else trust, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
    )
