"""One GET of a part of an object through a signed URL, and what came of it.

Nothing here, nor any error from here, shows the URL's query: it is the signature.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable
from http import HTTPStatus

import aiohttp
from yarl import URL

from compute.upload.put import CONNECT_SECONDS, IDLE_SECONDS, NotAnswered, bounded, host_of, why_not_answered
from shared.protocol.s3_errors import S3Failure, parse_error
from shared.protocol.signed_url import SignedUrl

READ_BYTES = 256 << 10
"""So much of each answer is held before it is taken, twice."""
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)\Z")

Take = Callable[[bytes], Awaitable[None] | None]
"""Takes what has come. Where it has to be waited for, nothing more is read until then."""


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
    def is_all(self) -> bool:
        return self.end - self.first == self.size

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
    http: aiohttp.ClientSession, url: SignedUrl, part: ObjectPart, take: Take, *, idle_seconds: float = IDLE_SECONDS
) -> S3Failure | None:
    """What S3 refused, or None when all of the part was taken. Raises NotAnswered, Changed, what `take` raises."""
    loop = asyncio.get_running_loop()
    left = part.end - part.first
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
            while chunk := await response.content.readany():
                left -= len(chunk)
                if left < 0:
                    raise Changed
                if (taking := take(chunk)) is not None:
                    deadline.reschedule(None)  # of the disk, not of S3
                    await taking
                deadline.reschedule(loop.time() + idle_seconds)
    except (aiohttp.ClientError, TimeoutError, ConnectionError, ValueError) as error:
        # Not chained: aiohttp puts the whole URL into some of its messages.
        raise NotAnswered(f"{host_of(url)}: {why_not_answered(error, idle_seconds)}") from None
    if left:
        raise NotAnswered(f"{host_of(url)}: the connection ended too early")
    return None


def input_session(trust: ssl.SSLContext | None = None) -> aiohttp.ClientSession:
    """Takes no proxy and no credentials from the environment, which would break signatures.

    Without `trust` the certificate has to be of somebody whom this machine trusts.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=True if trust is None else trust, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        read_bufsize=READ_BYTES,
    )
