"""One PUT by a signed URL, repeated where that may help. No error from here shows the URL's query, the signature."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import msgspec
from aiohttp.payload import AsyncIterablePayload
from yarl import URL

from shared.protocol.namespaces.rest_data import SignedPut
from shared.protocol.s3_errors import MAX_ERROR_BYTES, S3Failure, UploadAction, action_for, parse_error
from shared.runtime.network_problems import why_unreachable
from tarpon.http.calls import new_pauses
from tarpon.http.sessions import new_session
from tarpon.http.trust import ClientTrust
from tarpon.sending.bodies import SentBody
from tarpon.sending.problems import UploadFailed

CONNECT_SECONDS = 10.0
IDLE_SECONDS = 60.0
"""Without a byte sent or an answer begun. There is no limit on the whole, since networks may be slow."""
ATTEMPTS = 6
_AGAIN = frozenset({UploadAction.RETRY, UploadAction.RETRY_SLOWER, UploadAction.RESEND})


class PutDone(msgspec.Struct, frozen=True):
    """S3 has the bytes, or had them before; then there is no `etag`."""

    etag: str = ""


class Expired(msgspec.Struct, frozen=True):
    """Another URL is needed, or nothing of its upload is there any more."""

    why: str
    is_gone: bool = False


@asynccontextmanager
async def sending_session(trust: ClientTrust, connections: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Takes no proxy and no credentials from the environment. Raises AuthorityUnreadable."""
    context = await asyncio.to_thread(trust.store_context)
    connector = aiohttp.TCPConnector(ssl=True if context is None else context, limit=connections)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS)
    async with new_session(
        context, connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        yield session


async def put(session: aiohttp.ClientSession, where: SignedPut, body: SentBody, *, what: str) -> PutDone | Expired:
    """Raises UploadFailed, and what keeps the body from being read."""
    pauses, why = new_pauses(), ""
    for attempt in range(1, ATTEMPTS + 1):
        try:
            answer = await _once(session, where, body)
        except (aiohttp.ClientError, OSError) as error:
            if body.problem is not None:
                raise body.problem from None
            why = _why(error)
        else:
            if (outcome := _outcome(answer, what)) is not None:
                return outcome
            why = f"S3 answers {answer}"
        if attempt < ATTEMPTS:
            await pauses.pause()
    raise UploadFailed(what, why)


def _outcome(answer: PutDone | S3Failure, what: str) -> PutDone | Expired | None:
    """None where another attempt may help. Raises UploadFailed where none does."""
    if isinstance(answer, PutDone):
        return answer
    action = action_for(answer)
    if action is UploadAction.SETTLE:
        return PutDone()
    if answer.code == "NoSuchUpload" or action in {UploadAction.RENEW_URL, UploadAction.ASK}:
        return Expired(f"S3 answers {answer}", is_gone=answer.code == "NoSuchUpload")
    if action not in _AGAIN:
        raise UploadFailed(what, f"S3 answers {answer}")
    return None


async def _once(session: aiohttp.ClientSession, where: SignedPut, body: SentBody) -> PutDone | S3Failure:
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(IDLE_SECONDS) as deadline:

        async def slices() -> AsyncIterator[bytes]:
            async for piece in body:
                deadline.reschedule(loop.time() + IDLE_SECONDS)
                yield piece

        # With the length that is signed aiohttp never sends a chunked body, which AWS refuses.
        data = AsyncIterablePayload(slices()) if body.size else b""
        async with session.put(
            URL(where.url, encoded=True), data=data, headers=where.headers, allow_redirects=False
        ) as response:
            deadline.reschedule(loop.time() + IDLE_SECONDS)
            answer = await response.content.read(MAX_ERROR_BYTES)
            if 200 <= response.status < 300:
                return PutDone(response.headers.get("ETag", "").removeprefix("W/").strip('"'))
            return parse_error(response.status, answer, response.headers, url=where.url)


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError) and getattr(error, "errno", None) is None:
        return f"no progress for {IDLE_SECONDS:.0f} s, or no connection within {CONNECT_SECONDS:.0f} s"
    return why_unreachable(error)
