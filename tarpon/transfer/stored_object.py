"""A stored object: its bytes, by a signed URL, over connections that break and URLs that expire.

The URL is a credential: no message names it, and errors of the HTTP library, which may, are not shown as causes.
"""

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import aiohttp
from yarl import URL

from shared.errors import Damaged, DownloadFailed
from shared.protocol.s3_errors import MAX_ERROR_BYTES, S3Failure, UploadAction, action_for, may_be_of_keys, parse_error
from shared.runtime.network_problems import why_unreachable
from tarpon.http.calls import new_pauses
from tarpon.http.sessions import new_session
from tarpon.http.trust import ClientTrust

PORTION_BYTES = 1 << 20
FRUITLESS_ATTEMPTS = 6
CONNECT_SECONDS = 10
SILENCE_SECONDS = 60

_PASSES = frozenset({UploadAction.RETRY, UploadAction.RETRY_SLOWER, UploadAction.RESEND})
_ABSENT = frozenset({"", "NoSuchKey", "NoSuchBucket"})
_MAY_BE_GONE = (
    "It may have been removed from the bucket: to keys that may not list it, S3 says the same of what is not there."
    " `tarpon admin check` tells the operator."
)
_BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-\d{1,18}/(?:(\d{1,18})|\*)")


class RangesIgnored(Exception):
    """The server gives the whole object whatever is asked for."""


@asynccontextmanager
async def object_session(trust: ClientTrust | None = None) -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to the object store, which give bytes as they are stored. Raises AuthorityUnreadable."""
    context = await asyncio.to_thread((trust or ClientTrust()).store_context)
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    async with new_session(context, timeout=limits, auto_decompress=False, read_bufsize=PORTION_BYTES) as session:
        yield session


class StoredObject:
    """One object, of which any parts may be read at the same time.

    `size_bytes` is 0 where nobody has told it; `etag` is empty where a replaced object is recognised by other means.
    `what` begins the sentences of errors. `renew` gives a fresh URL; it is asked whenever the URL is refused, but not
    twice without a byte between.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        size_bytes: int,
        etag: str = "",
        what: str,
        renew: Callable[[], Awaitable[str]],
    ) -> None:
        self.size_bytes = size_bytes
        self.what = what
        self._session = session
        self._url = url
        self._etag = etag.strip('"')
        self._renew = renew
        self._renewing = asyncio.Lock()
        self._may_renew = True

    def __repr__(self) -> str:
        return f"<StoredObject {self.what!r}, {self.size_bytes} bytes>"

    async def read(self, start: int, end: int = 0, *, only_ranges: bool = False) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to `end` (0 is the end of the object) in portions of about 1 MiB.

        What was lost on the way is asked for again from where it broke off. With `only_ranges` RangesIgnored is raised
        where the server gives more than what was asked for; otherwise that is passed over. Raises DownloadFailed, and
        Damaged where the object is not the one that was published.
        """
        at, end, fruitless, pauses = start, end or self.size_bytes, 0, new_pauses()
        while not 0 < end <= at:
            before = at
            url = self._url
            try:
                async with aclosing(self._portions(url, at, end, only_ranges=only_ranges)) as portions:
                    async for portion in portions:
                        at += len(portion)
                        self._may_renew = True
                        yield portion
            except _Refused as refused:
                await self._renew_url(url, refused)
            except (*_BROKEN, _Passing) as error:
                fruitless += 1
                if at > before:
                    fruitless = 0
                    pauses.reset()
                if fruitless == FRUITLESS_ATTEMPTS:
                    raise DownloadFailed(
                        f"{self.what} cannot be fetched: {_told(error)}.", hint="Try again later."
                    ) from None
                await pauses.pause()
            else:
                return

    async def _portions(self, url: str, at: int, end: int, *, only_ranges: bool) -> AsyncGenerator[bytes, None]:
        headers = self._headers(at, end)
        async with self._session.get(URL(url, encoded=True), headers=headers, allow_redirects=False) as response:
            if response.status not in {200, 206}:
                raise await self._refusal(response, url)
            is_range = "Range" in headers and _is_range(response, at)
            if is_range:
                self._check_range(response, at)
            elif only_ranges and "Range" in headers:
                raise RangesIgnored
            elif response.content_length is not None:
                self._check_size(response.content_length)
            skip = 0 if is_range else at
            # What comes beyond a range is of no interest; what comes beyond the object is the caller's to refuse.
            left = end - at if end and "Range" in headers else sys.maxsize
            async with aclosing(_joined(response.content, skip, left)) as portions:
                async for portion in portions:
                    at += len(portion)
                    yield portion
            if at < end:
                raise _Passing("the connection ended too early")

    def _headers(self, at: int, end: int) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        if self._etag:
            headers["If-Match"] = f'"{self._etag}"'
        if at or 0 < end < self.size_bytes:
            headers["Range"] = f"bytes={at}-{end - 1 if end else ''}"
        return headers

    def _check_range(self, response: aiohttp.ClientResponse, at: int) -> None:
        told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
        if told is None or int(told[1]) != at:
            raise DownloadFailed(f"{self.what} cannot be fetched: the object store answers with another range.")
        if told[2] is not None:
            self._check_size(int(told[2]))

    def _check_size(self, size_bytes: int) -> None:
        if self.size_bytes and size_bytes != self.size_bytes:
            raise Damaged(f"{self.what} has {size_bytes:,} bytes, not the {self.size_bytes:,} that were published.")

    async def _renew_url(self, refused_url: str, refused: "_Refused") -> None:
        async with self._renewing:
            if self._url != refused_url:
                return  # another reader of this object has done it
            if not self._may_renew:
                hint = _MAY_BE_GONE if refused.failure.code == "AccessDenied" else ""
                raise DownloadFailed(f"{self.what} cannot be fetched: {refused.failure}.", hint=hint) from None
            self._may_renew = False
            self._url = await self._renew()

    async def _refusal(self, response: aiohttp.ClientResponse, url: str) -> Exception:
        failure = parse_error(response.status, await response.content.read(MAX_ERROR_BYTES), response.headers, url=url)
        if response.status == 404 and failure.code in _ABSENT and not failure.expired:
            return DownloadFailed(
                f"{self.what} is no longer in the bucket.",
                hint="Somebody, or a life-cycle rule of the bucket, has removed it. Run the job again.",
            )
        if may_be_of_keys(failure):
            return _Refused(failure)
        if action_for(failure) in _PASSES:
            return _Passing(str(failure))
        if response.status == 412:
            return Damaged(
                f"{self.what} was replaced in the bucket after it had been published.",
                hint="Run the job again, and find out who else writes there.",
            )
        return DownloadFailed(f"{self.what} cannot be fetched: {failure}.")


def _is_range(response: aiohttp.ClientResponse, at: int) -> bool:
    """Whether the answer is a range, that from `at` on or another one. Some servers give one with the status 200."""
    told = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    return response.status == 206 or (told is not None and (at == 0 or int(told[1]) != 0))


async def _joined(content: aiohttp.StreamReader, skip: int, left: int) -> AsyncGenerator[bytes, None]:
    """Portions of `left` bytes in all behind the first `skip`. Of a connection that breaks all is given that came."""
    chunks: list[bytes] = []
    size_bytes = 0
    try:
        async for chunk in content.iter_any():
            taken = chunk[skip : skip + left] if skip or left < len(chunk) else chunk
            skip -= min(skip, len(chunk))
            left -= len(taken)
            chunks.append(taken)
            size_bytes += len(taken)
            if size_bytes >= PORTION_BYTES:
                yield b"".join(chunks)
                chunks, size_bytes = [], 0
            if not left:
                break
    except _BROKEN:
        if size_bytes:
            yield b"".join(chunks)  # the next attempt goes on behind it
        raise
    if size_bytes:
        yield b"".join(chunks)


class _Passing(Exception):
    """A failure that another attempt may not meet."""


class _Refused(Exception):
    """The URL is not accepted, most probably because it has expired."""

    def __init__(self, failure: S3Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


def _told(error: Exception) -> str:
    match error:
        case _Passing():
            return str(error)
        case aiohttp.ClientConnectorError():
            return f"no connection to {error.host}:{error.port}, because {why_unreachable(error)}"
        case TimeoutError():
            return "the object store does not answer in time"
        case _:
            return f"the connection broke ({type(error).__name__})"
