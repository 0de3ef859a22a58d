"""Requests of the orchestrator itself, by URLs that it has signed."""

import asyncio
import base64
import hashlib
import logging
import ssl
from email.utils import parsedate_to_datetime
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from shared.protocol.s3_errors import MAX_ERROR_BYTES, S3Failure, parse_error
from shared.protocol.signed_url import SignedUrl
from shared.web.short_requests import ShortRequests, address_of, request_head

REQUEST_SECONDS = 15.0
MAX_CONNECTIONS = 64
SHORT_BYTES = 64 << 10
LEFT_SECONDS = 60.0
"""So long after one that did not go as usual no request is made but by aiohttp."""
AT_ONCE_BYTES = 256 << 10
"""Of more than that the digest is made in a thread: it is half a millisecond."""

_log = logging.getLogger(__name__)


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What S3 answered, with the beginning of its body, 64 KiB as a rule, and header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes
    failure: S3Failure | None
    """What went wrong; None for success."""

    def clock_ahead_seconds(self, local: float) -> float | None:
        """How much S3's clock was ahead of ours when ours showed `local` (seconds since 1970); whole seconds count."""
        try:
            return parsedate_to_datetime(self.headers["date"]).timestamp() - int(local)
        except (KeyError, ValueError, TypeError):
            return None


class Send(Protocol):
    """Makes the request that a URL allows, as `Sender` does."""

    async def __call__(
        self,
        url: SignedUrl,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        most_bytes: int = MAX_ERROR_BYTES,
    ) -> Answer: ...


class Sign(Protocol):
    """Signs for a host that the orchestrator reaches."""

    async def __call__(
        self, method: str, key: str, *, headers: dict[str, str] | None = None, query: dict[str, str] | None = None
    ) -> SignedUrl: ...


class Sender:
    """Makes requests with the certificates of `trust`, or those that this machine trusts; see `Send`.

    It follows no redirect. Raises aiohttp.ClientError, OSError, or TimeoutError after 15 s, whose text may hold the
    signed URL, so callers tell its kind alone.
    """

    def __init__(self, trust: ssl.SSLContext | None) -> None:
        connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, ssl=True if trust is None else trust)
        self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._short = ShortRequests(trust, at_once=MAX_CONNECTIONS)
        self._left_until = 0.0
        """Until when short requests are left to aiohttp, by the clock of the loop."""

    def __repr__(self) -> str:
        return "<Sender>"

    async def close(self) -> None:
        self._short.close()
        await self._session.close()

    async def __call__(
        self,
        url: SignedUrl,
        *,
        body: bytes | None = None,
        headers: dict[str, str] | None = None,
        most_bytes: int = MAX_ERROR_BYTES,
    ) -> Answer:
        """Of the answer `most_bytes` are read. The `headers` are those that are not signed.

        A body of a PUT goes with its MD5, without which S3 takes none into a bucket that locks its objects by default.
        """
        sent = url.headers | (headers or {}) | {"accept-encoding": "identity"}
        if body is not None and url.method == "PUT":
            sent["content-md5"] = await _digest(body)
        async with asyncio.timeout(REQUEST_SECONDS):
            found = await self._soon(url, sent, body) or await self._answered(url, sent, body, most_bytes)
        if found.failure is not None and found.failure.names_somebody:  # which nobody else is told
            _log.info("S3 answers %d %s: %s", found.status, found.failure.code, found.failure.message)
        return found

    async def _soon(self, url: SignedUrl, sent: dict[str, str], body: bytes | None) -> Answer | None:
        """What two of are made for each job: they may be repeated, so that whatever is odd is left to aiohttp."""
        address = address_of(url.url)
        is_short = url.method == "HEAD" or (url.method == "PUT" and body is not None and len(body) <= SHORT_BYTES)
        if address is None or not is_short or asyncio.get_running_loop().time() < self._left_until:
            return None
        length = {} if body is None else {"content-length": str(len(body))}
        head = request_head(url.method, address.called, address.target, sent | length)
        if head is None:
            return None
        try:
            found = await self._short.ask(
                address.server, head + (body or b""), may_repeat=True, has_body=url.method != "HEAD"
            )
        except OSError:
            self._left_until = asyncio.get_running_loop().time() + LEFT_SECONDS
            return None
        return _answer(url, found.status, found.headers, found.body[:MAX_ERROR_BYTES])

    async def _answered(self, url: SignedUrl, sent: dict[str, str], body: bytes | None, most_bytes: int) -> Answer:
        async with self._session.request(
            url.method, URL(url.url, encoded=True), headers=sent, data=body, allow_redirects=False
        ) as response:
            content = await _at_most(response.content, most_bytes)
            lowered = {name.lower(): value for name, value in response.headers.items()}
            return _answer(url, response.status, lowered, content)


def _answer(url: SignedUrl, status: int, headers: dict[str, str], body: bytes) -> Answer:
    failure = None if 200 <= status < 300 else parse_error(status, body, headers, url=url.url)
    return Answer(status=status, headers=headers, body=body, failure=failure)


async def _digest(body: bytes) -> str:
    """In base64, as RFC 1864 has it."""
    digest = (await asyncio.to_thread(_md5, body)) if len(body) > AT_ONCE_BYTES else _md5(body)
    return base64.b64encode(digest).decode()


def _md5(body: bytes) -> bytes:
    return hashlib.md5(body, usedforsecurity=False).digest()


async def _at_most(stream: aiohttp.StreamReader, size_bytes: int) -> bytes:
    content = bytearray()
    while len(content) < size_bytes and (chunk := await stream.read(size_bytes - len(content))):
        content += chunk
    return bytes(content)
