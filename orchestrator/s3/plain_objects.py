"""Plain results in the bucket: whether their objects are those of the manifest, and how they are deleted.

Where the keys may list the bucket, a page tells of a thousand objects, and also of those that no manifest names. Else
each object is asked for by HEAD, as the least policy allows no more.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Iterable

from orchestrator.s3.bucket import Bucket
from orchestrator.s3.lookups import NotShown
from orchestrator.s3.multipart import S3_CODE
from orchestrator.s3.verification import Absent, ObjectFacts, Verdict, matches
from shared.errors import Damaged, StorageUnavailable
from shared.extraction.manifest_reading import manifest_entries
from shared.protocol.objects import content_manifest_key, index_key, is_plain, plain_folder, provenance_key, record_key
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.results.content_manifest import MAX_MANIFEST_BYTES, MOST_ENTRIES, MOST_EVER, ManifestFile
from shared.protocol.results.object_names import object_name
from shared.runtime.aio import pipelined

HEADS_AT_ONCE = 32
HEAD_TRIES, HEAD_PAUSE_SECONDS = 3, 0.5
DELETIONS_AT_ONCE = 16

_Expected = dict[str, tuple[int, str]]
"""Size and MD5 in hexadecimal by the key of an object."""


async def what_differs(bucket: Bucket, key: str, manifest: bytes, told: PublishedFacts, *, has_digests: bool) -> str:
    """How the objects of the plain result `key` are others than those of its `manifest`; empty where they are these.

    `has_digests` is whether ETags are MD5s here; where they are not, sizes are compared. Raises StorageUnavailable.
    """
    folder = plain_folder(key)
    try:
        missing, entries, content_bytes = await asyncio.to_thread(_expected, manifest, folder, told.content_digest)
    except (Damaged, ValueError) as error:
        return f"its manifest cannot be used ({error})"
    if (entries, content_bytes) != (told.entries, told.raw_bytes):
        return "its manifest has other entries than were reported"
    async for name, facts in _seen(bucket, folder, tuple(missing)):
        expected = missing.pop(name, None)
        if expected is None:
            return f"there is an object {name[:200]!r} that its manifest does not name"
        size, md5 = expected
        if facts.size_bytes != size or (has_digests and matches(facts, size, md5) is not Verdict.VERIFIED):
            return f"the object {name[:200]!r} has another content than its manifest says"
    if missing:
        return f"{len(missing)} objects are not there, such as {next(iter(missing))[:200]!r}"
    return ""


def _expected(manifest: bytes, folder: str, content_digest: str = "") -> tuple[_Expected, int, int]:
    """With the number of all entries, and the bytes of the files. Raises Damaged, and ValueError for a wrong name."""
    found: _Expected = {}
    entries = files = content_bytes = 0
    for entry in manifest_entries(io.BytesIO(manifest), content_digest):
        entries += 1
        if entries > MOST_ENTRIES:  # a few bytes can be as many as anybody likes once they are decompressed
            raise ValueError("it has too many entries")
        if isinstance(entry, ManifestFile):
            files, content_bytes = files + 1, content_bytes + entry.size
            found[folder + object_name(entry.name)] = entry.size, entry.md5
            if files > MOST_EVER or files != len(found):
                raise ValueError("it names too many files, or one twice")
    return found, entries, content_bytes


async def _seen(bucket: Bucket, folder: str, names: Iterable[str]) -> AsyncIterator[tuple[str, ObjectFacts]]:
    """What is in the folder; of what S3 does not list, those of these names that are there."""
    token = ""
    try:
        while True:
            page = await bucket.list_page(folder, token)
            for each in page.objects:
                yield each.key, ObjectFacts(size_bytes=each.size, etag=each.etag.strip('"'))
            token = page.next_token
            if not token:
                return
    except NotShown:
        if token:
            raise StorageUnavailable("S3 has stopped to list the objects of a result.") from None
    found: list[tuple[str, ObjectFacts]] = []

    async def look(name: str) -> None:
        facts = await _head(bucket, name)
        if not isinstance(facts, Absent):
            found.append((name, facts))

    await pipelined(names, look, at_once=HEADS_AT_ONCE)
    for name, facts in found:
        yield name, facts


async def _head(bucket: Bucket, name: str) -> ObjectFacts | Absent:
    """One of very many: what fails for a moment is asked again, so that not all of them are."""
    for _ in range(HEAD_TRIES - 1):
        try:
            return await bucket.head(name)
        except StorageUnavailable:
            await asyncio.sleep(HEAD_PAUSE_SECONDS)
    return await bucket.head(name)


async def delete_result(bucket: Bucket, key: str) -> None:
    """Delete a result and what lies beside it, if they are there. Raises as Bucket.delete does."""
    await bucket.delete(record_key(key))
    await bucket.delete(provenance_key(key))
    if is_plain(key):
        await delete_plain(bucket, key)
        return
    await bucket.delete(index_key(key))
    await bucket.delete(content_manifest_key(key))
    await bucket.delete(key)


async def delete_plain(bucket: Bucket, key: str) -> None:
    """Delete the objects of a plain result and its manifest after them. Raises as Bucket.delete does.

    Where the keys may not list the bucket, they are those that the manifest names.
    """
    folder = plain_folder(key)
    try:
        await _delete_listed(bucket, folder)
    except NotShown:
        manifest = await bucket.read(key, most_bytes=MAX_MANIFEST_BYTES)
        if isinstance(manifest, bytes):
            await pipelined(await asyncio.to_thread(_named, manifest, folder), bucket.delete, at_once=DELETIONS_AT_ONCE)
    await bucket.delete(key)


async def delete_unfinished(bucket: Bucket, key: str) -> None:
    """Delete what there is of a plain result that never became whole. Raises as Bucket.delete does.

    No manifest names it, so that the keys have to be allowed to list the bucket.
    """
    try:
        await _delete_listed(bucket, plain_folder(key))
    except NotShown as error:
        told = f"S3 does not list what is left of a result: {error.failure}."
        raise StorageUnavailable(told, details={S3_CODE: error.failure.code}) from None
    await bucket.delete(key)


async def _delete_listed(bucket: Bucket, folder: str) -> None:
    """Raises NotShown."""
    deleted = list[str]()
    while True:
        page = await bucket.list_page(folder)
        names = [each.key for each in page.objects]
        await pipelined(names, bucket.delete, at_once=DELETIONS_AT_ONCE)
        if not page.next_token or names == deleted:  # what comes again and again is not deleted
            return
        deleted = names


def _named(manifest: bytes, folder: str) -> list[str]:
    try:
        return [*_expected(manifest, folder)[0]]
    except (Damaged, ValueError):
        return []
