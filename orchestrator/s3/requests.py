"""Requests of the orchestrator itself, by URLs that it has signed."""

import asyncio
import base64
import hashlib
import logging
from email.utils import parsedate_to_datetime
from typing import Protocol

import aiohttp
import msgspec
from yarl import URL

from shared.protocol.s3_errors import MAX_ERROR_BYTES, S3Failure, parse_error
from shared.protocol.signed_url import SignedUrl

REQUEST_SECONDS = 15.0
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
    """Makes the request that a URL allows, as `send` does."""

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


async def send(
    session: aiohttp.ClientSession,
    url: SignedUrl,
    *,
    body: bytes | None = None,
    headers: dict[str, str] | None = None,
    most_bytes: int = MAX_ERROR_BYTES,
) -> Answer:
    """Make the request, following no redirect. Raises aiohttp.ClientError, OSError, or TimeoutError after 15 s.

    Of the answer `most_bytes` are read. The `headers` are those that are not signed. A body of a PUT goes with its MD5,
    without which S3 takes none into a bucket that locks its objects by default.

    The text of what it raises may hold the signed URL, so callers tell its kind alone.
    """
    sent = url.headers | (headers or {}) | {"accept-encoding": "identity"}
    if body is not None and url.method == "PUT":
        sent["content-md5"] = await _digest(body)
    async with (
        asyncio.timeout(REQUEST_SECONDS),
        session.request(
            url.method, URL(url.url, encoded=True), headers=sent, data=body, allow_redirects=False
        ) as response,
    ):
        content = await _at_most(response.content, most_bytes)
        lowered = {name.lower(): value for name, value in response.headers.items()}
        is_good = 200 <= response.status < 300
        failure = None if is_good else parse_error(response.status, content, lowered, url=url.url)
        if failure is not None and failure.names_somebody:  # which nobody else is told
            _log.info("S3 answers %d %s: %s", failure.status, failure.code, failure.message)
        return Answer(status=response.status, headers=lowered, body=content, failure=failure)


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
