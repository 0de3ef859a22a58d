"""Looks at what may be an input: an object by HEAD, a list by pages, and what S3 says where it shows neither."""

import asyncio
import base64
import binascii
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import msgspec

from orchestrator.s3.listing import MAX_PAGE_BYTES, ListedPage, NotAListing, query, read_page
from orchestrator.s3.requests import Answer, Send, Sign
from shared.errors import StorageUnavailable
from shared.protocol.s3_errors import S3Failure

T = TypeVar("T")

TRIES = 3
PAUSE_SECONDS = 0.5
"""Before the second try, and twice as long before the third."""
_WITH_CHECKSUM = {"x-amz-checksum-mode": "ENABLED"}
_FOLDER = "application/x-directory"


class FoundObject(msgspec.Struct, frozen=True, kw_only=True):
    """`etag` has its quotes. `sha256`, in hex, is of all its bytes, where S3 tells one that is."""

    size: int
    etag: str
    version: str = ""
    sha256: str = ""
    is_folder: bool = False


class NotShown(Exception):
    """S3 does not show it, and the `failure` tells why. `skew` is how far its clock is ahead of ours, if known."""

    def __init__(self, failure: S3Failure, skew: float | None) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.skew = skew


async def look(send: Send, sign: Sign, key: str, *, version: str = "") -> FoundObject:
    """Raises NotShown, and StorageUnavailable."""
    asked = {"versionId": version} if version else {}

    async def once() -> FoundObject:
        answer = await send(await sign("HEAD", key, headers=_WITH_CHECKSUM, query=asked))
        if answer.failure is not None:
            # To a HEAD there is no word of why. A byte is asked for, to be told.
            told = await send(await sign("GET", key, query=asked), headers={"range": "bytes=0-0"})
            raise _not_shown(told if told.failure is not None and told.failure.code else answer)
        if not answer.headers.get("content-length", "").isdecimal():
            raise StorageUnavailable("S3 shows an object, and does not say how large it is.")
        return _found(answer)

    return await _tried(once)


async def list_page(send: Send, sign: Sign, prefix: str, token: str) -> ListedPage:
    """Raises NotShown, and StorageUnavailable."""

    async def once() -> ListedPage:
        answer = await send(await sign("GET", "", query=query(prefix, token)), most_bytes=MAX_PAGE_BYTES)
        if answer.failure is not None:
            raise _not_shown(answer)
        try:
            page = await read_page(answer)
        except NotAListing as error:
            raise StorageUnavailable(f"What should be a list of objects is none: {error}.") from None
        if not all(each.key.startswith(prefix) for each in page.objects):  # what was not asked for may not be allowed
            raise StorageUnavailable("S3 lists objects that were not asked for.")
        return page

    return await _tried(once)


async def _tried(once: Callable[[], Awaitable[T]]) -> T:
    """What fails for a moment is tried again."""
    for number in range(TRIES):
        is_last = number == TRIES - 1
        try:
            return await once()
        except NotShown as error:
            if is_last or error.failure.status < 500 or error.failure.status == 501:
                raise
        except (aiohttp.ClientError, OSError):
            if is_last:
                raise
        await asyncio.sleep(PAUSE_SECONDS * 2**number)
    raise AssertionError("the last try returns or raises")


def _not_shown(answer: Answer) -> NotShown:
    assert answer.failure is not None
    return NotShown(answer.failure, answer.clock_ahead_seconds(time.time()))


def _found(answer: Answer) -> FoundObject:
    headers = answer.headers
    etag = headers.get("etag", "").removeprefix("W/")
    return FoundObject(
        size=int(headers["content-length"]),
        etag=etag if not etag or etag.startswith('"') else f'"{etag}"',
        version="" if headers.get("x-amz-version-id", "null") == "null" else headers["x-amz-version-id"],
        sha256=_whole_digest(headers.get("x-amz-checksum-sha256", "")),
        is_folder=headers.get("content-type", "").startswith(_FOLDER),
    )


def _whole_digest(text: str) -> str:
    """That of an upload in parts is of the parts' digests, and ends with their number."""
    try:
        digest = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return ""
    return digest.hex() if len(digest) == 32 else ""
