"""How one result is fetched by its signed URL, checked, and handed on as it arrives.

What was lost on the way is asked for again from where it broke off, so a large result survives a bad connection. The
URL is a credential: no message names it, and errors of the HTTP library, which may, are not shown as causes.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import aiohttp
from yarl import URL

from shared.aio import finish
from shared.errors import CannotExtract, Damaged, DigestMismatch, DownloadFailed
from shared.rest import ResultParams
from shared.s3_errors import MAX_ERROR_BYTES, S3Failure, UploadAction, action_for, parse_error
from tarpon.calls import backoff_seconds

PORTION_BYTES = 1 << 20
PORTION_SECONDS = 300.0
"""Nothing holds a thread for so long but a disk that does not answer."""
FRUITLESS_ATTEMPTS = 6
CONNECT_SECONDS = 10
SILENCE_SECONDS = 60

_PASSES = frozenset({UploadAction.RETRY, UploadAction.RETRY_SLOWER, UploadAction.RESEND})
_BROKEN = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, TimeoutError)


class Sink(Protocol):
    """What takes the bytes. All methods block and are called in threads, one at a time."""

    def feed(self, data: bytes) -> None: ...

    def close(self) -> object:
        """After the last byte, when the digest was right."""

    def abort(self) -> None:
        """Give up, or do nothing after `close()`."""


class FileSink:
    """Writes the bytes into a new file, under a name that shows that it is not whole until it is."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.part")
        self._file = self._part.open("xb")

    def __repr__(self) -> str:
        return f"<FileSink {self._path}>"

    def feed(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise CannotExtract(f"{self._path} cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        self._file.close()
        self._part.rename(self._path)

    def abort(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


@asynccontextmanager
async def object_session() -> AsyncIterator[aiohttp.ClientSession]:
    """Connections to the object store, which give bytes as they are stored."""
    limits = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS)
    async with aiohttp.ClientSession(timeout=limits, auto_decompress=False, read_bufsize=PORTION_BYTES) as session:
        yield session


class Download:
    """One result on its way into a sink.

    `renew` gives the same result with a fresh URL; it is asked once, when the URL is refused. `on_progress` is told
    how many bytes have arrived.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        params: ResultParams,
        *,
        renew: Callable[[], Awaitable[ResultParams]],
        on_progress: Callable[[int], None],
    ) -> None:
        self._session = session
        self._params = params
        self._renew = renew
        self._on_progress = on_progress
        self._digest = hashlib.sha256()
        self._done_bytes = 0
        self._what = f"The result of execution {params.execution_id}"

    def __repr__(self) -> str:
        return f"<Download of {self._params!r}, {self._done_bytes} bytes done>"

    async def into(self, sink: Sink) -> None:
        """Fetch the whole result, check size and digest, close the sink; in any other case abort it.

        Raises DownloadFailed where it cannot be fetched, Damaged where it is not what was published, and what the
        sink raises.
        """
        try:
            await self._fetch(sink)
            self._check()
            await _in_thread(sink.close)
        finally:
            await _in_thread(sink.abort)

    async def _fetch(self, sink: Sink) -> None:
        renewed = False
        fruitless = 0
        while True:
            before = self._done_bytes
            try:
                await self._attempt(sink)
            except _Refused as refused:
                if renewed:
                    raise DownloadFailed(f"{self._what} cannot be fetched: {refused.failure}.") from None
                self._params, renewed = await self._renew(), True
                continue
            except (*_BROKEN, _Passing) as error:
                fruitless = 0 if self._done_bytes > before else fruitless + 1
                if fruitless == FRUITLESS_ATTEMPTS:
                    raise DownloadFailed(
                        f"{self._what} cannot be fetched: {_told(error)}.", hint="Try again later."
                    ) from None
                await asyncio.sleep(backoff_seconds(fruitless))
            else:
                return

    async def _attempt(self, sink: Sink) -> None:
        if 0 < self._params.size == self._done_bytes:
            return  # the connection broke after the last byte
        url = URL(self._params.pre_signed_url, encoded=True)
        async with self._session.get(url, headers=self._headers(), allow_redirects=False) as response:
            if response.status not in {200, 206}:
                raise await self._refusal(response)
            skip = self._done_bytes if response.status == 200 else 0
            portion = bytearray()
            try:
                async for chunk in response.content.iter_any():
                    portion += chunk[skip:]
                    skip -= min(skip, len(chunk))
                    if len(portion) >= PORTION_BYTES:
                        full, portion = portion, bytearray()
                        await self._take(sink, full)
            except _BROKEN:
                await self._take(sink, portion)  # the next attempt goes on behind it
                raise
            await self._take(sink, portion)
        if self._done_bytes < self._params.size:
            raise _Passing("the connection ended too early")

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": "identity"}
        etag = self._params.etag.strip('"')
        if etag:
            headers["If-Match"] = f'"{etag}"'
        if self._done_bytes:
            headers["Range"] = f"bytes={self._done_bytes}-"
        return headers

    async def _take(self, sink: Sink, portion: bytearray) -> None:
        data = bytes(portion)
        if not data:
            return
        if self._params.size and self._done_bytes + len(data) > self._params.size:
            raise Damaged(f"{self._what} has more than the {self._params.size:,} bytes that were published.")

        def digest_and_feed() -> None:
            self._digest.update(data)
            sink.feed(data)

        self._done_bytes += len(data)
        await _in_thread(digest_and_feed)
        self._on_progress(self._done_bytes)

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        failure = parse_error(response.status, await response.content.read(MAX_ERROR_BYTES), response.headers)
        action = action_for(failure)
        if response.status in {401, 403} or action in {UploadAction.RENEW_URL, UploadAction.RENEW_ONCE}:
            return _Refused(failure)
        if action in _PASSES:
            return _Passing(str(failure))
        if response.status == 412:
            return Damaged(
                f"{self._what} was replaced in the bucket after it had been published.",
                hint="Run the job again, and find out who else writes there.",
            )
        if response.status == 404:
            return DownloadFailed(
                f"{self._what} is no longer in the bucket.",
                hint="Somebody, or a life-cycle rule of the bucket, has removed it. Run the job again.",
            )
        return DownloadFailed(f"{self._what} cannot be fetched: {failure}.")

    def _check(self) -> None:
        expected, found = self._params.sha256, self._digest.hexdigest()
        if expected and expected != found:
            raise DigestMismatch(self._what, expected, found)


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
            return f"no connection to {error.host}:{error.port}"
        case TimeoutError():
            return "the object store does not answer in time"
        case _:
            return f"the connection broke ({type(error).__name__})"


async def _in_thread(act: Callable[[], object]) -> None:
    """Run `act` to its end even when cancelled, because two threads must not work on one sink."""
    await finish(asyncio.to_thread(act), within=PORTION_SECONDS)
