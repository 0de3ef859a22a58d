"""Lists of objects: one page of ListObjectsV2 asked for by a signed URL, and what S3 says of one object.

Needs s3:ListBucket, which the least policy does not grant (Amazon S3 API reference, "ListObjectsV2").
"""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from urllib.parse import unquote_plus

import msgspec

from orchestrator.s3.requests import Answer

PAGE = 1000
"""The most that S3 gives at once."""
MAX_PAGE_BYTES = 8 << 20
"""A key has 1024 bytes at most, each of which may be written as three characters, and an owner beside it."""


class ListedObject(msgspec.Struct, frozen=True):
    """`etag` has its quotes."""

    key: str
    size: int
    etag: str


class ListedPage(msgspec.Struct, frozen=True):
    """`next_token` leads to the next one; it is empty on the last one."""

    objects: tuple[ListedObject, ...]
    next_token: str


class NotAListing(Exception):
    """What was answered is no page of a list."""


def query(prefix: str, token: str) -> dict[str, str]:
    """Keys come quoted, because XML cannot hold every character that a key can."""
    asked = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE), "prefix": prefix}
    return asked | ({"continuation-token": token} if token else {})


async def read_page(answer: Answer) -> ListedPage:
    """Raises NotAListing."""
    return await asyncio.to_thread(parsed, answer.body)


class _NoDoctype(ET.TreeBuilder):
    def doctype(self, name: str, public_id: str | None, system: str | None) -> None:  # noqa: ARG002  # expat's call
        raise ET.ParseError("a list has no DTD")


def parsed(body: bytes) -> ListedPage:
    """Raises NotAListing. Blocks for some 10 ms."""
    parser = ET.XMLParser(target=_NoDoctype())  # noqa: S314  # bounded in size, and a DTD is refused
    try:
        parser.feed(body)
        root = parser.close()
    except (ET.ParseError, ValueError, LookupError) as error:
        raise NotAListing("no XML") from error
    if _local(root.tag) != "ListBucketResult":
        raise NotAListing("another document")
    fields = {_local(each.tag): each.text or "" for each in root}
    is_quoted = fields.get("EncodingType", "").strip() == "url"
    is_more = fields.get("IsTruncated", "").strip() == "true"
    token = fields.get("NextContinuationToken", "")
    if is_more and not token:
        raise NotAListing("more is to come, and no token leads there")
    contents = (each for each in root if _local(each.tag) == "Contents")
    return ListedPage(tuple(_objects(contents, is_quoted=is_quoted)), token if is_more else "")


def _objects(contents: Iterator[ET.Element], *, is_quoted: bool) -> Iterator[ListedObject]:
    for each in contents:
        fields = {_local(child.tag): child.text or "" for child in each}
        key, size = fields.get("Key", ""), fields.get("Size", "").strip()
        if not key or not size.isdecimal():
            raise NotAListing("an object without a key or size")
        etag = fields.get("ETag", "").strip()
        quoted = etag if not etag or etag.startswith('"') else f'"{etag}"'
        yield ListedObject(unquote_plus(key) if is_quoted else key, int(size), quoted)


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]
