"""The parts of an upload that are there, by a right that the least policy does not grant: without it none are told."""

import re
from typing import Final

import aiohttp

from orchestrator.s3.requests import Send
from shared.protocol.signed_url import SignedUrl

MOST_LISTED = 1000
"""What S3 tells at once (Amazon S3 API reference, "ListParts")."""
_LISTING_BYTES = 1 << 20
_PART: Final = re.compile(rb"<Part>(.{1,2000}?)</Part>", re.DOTALL)
_NUMBER: Final = re.compile(rb"<PartNumber>(\d{1,5})</PartNumber>")
_ETAG: Final = re.compile(rb"<ETag>(?:&quot;|&#34;|\")?([^<>&\"]{1,100})(?:&quot;|&#34;|\")?</ETag>")
_SIZE: Final = re.compile(rb"<Size>(\d{1,15})</Size>")

PartsThere = dict[int, tuple[str, int]]
"""ETag, without quotes, and size of each by its number."""


def part_query(upload_id: str) -> dict[str, str]:
    return {"uploadId": upload_id, "max-parts": str(MOST_LISTED)}


async def list_parts(send: Send, url: SignedUrl) -> PartsThere:
    try:
        answer = await send(url, most_bytes=_LISTING_BYTES)
    except (aiohttp.ClientError, OSError):
        return {}
    if answer.failure is not None:
        return {}
    found = PartsThere()
    for part in _PART.findall(answer.body):
        number, etag, size = _NUMBER.search(part), _ETAG.search(part), _SIZE.search(part)
        if number and etag and size:
            found[int(number[1])] = etag[1].decode("ascii", "replace"), int(size[1])
    return found
