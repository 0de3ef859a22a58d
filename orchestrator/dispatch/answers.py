"""Answers of replicas: what each is compared by, out of the manifest that its node has sent, and where two differ.

What a node reports of the content is believed only where the manifest in the bucket says the same. Of one that told
otherwise the answer is one that no other replica gives.
"""

import asyncio
import hashlib
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import islice

from orchestrator.rules.records import ExecutionRecord, about_execution
from orchestrator.rules.replicas.agreement import false_answer, is_false
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import Absent
from shared.data.plain_text import printable
from shared.errors import Damaged, StorageUnavailable
from shared.extraction.manifest_reading import manifest_entries
from shared.jobs.replicas.verification import PATHS, STDOUT
from shared.protocol.messages import OutputPublished
from shared.protocol.objects import content_manifest_key
from shared.protocol.published_facts import PublishedFacts
from shared.protocol.results.content_manifest import MAX_MANIFEST_BYTES, MOST_ENTRIES, ContentDigest, ManifestEntry

_log = logging.getLogger(__name__)

SMALL_BYTES = 256 << 10
SMALL_AT_ONCE, LARGE_AT_ONCE = 32, 2
"""How many manifests are looked at at once, by their size: some 8 MB of small ones, and two of any size."""
WAIT_SECONDS = 1.0
"""A report that waits here takes the place of another; after so long it comes again later."""
MOST_PATHS = 5
MAX_PATH = 120
_STDOUT = b"stdout"
_OF_TARPON = frozenset({_STDOUT, b"stderr", b"exitCode"})


class ReplicaAnswers:
    """The leader's."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        self._small = asyncio.Semaphore(SMALL_AT_ONCE)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    def __repr__(self) -> str:
        return f"<ReplicaAnswers, {self._small!r}>"

    async def of(self, record: ExecutionRecord, told: OutputPublished, what: str) -> str:
        """What this replica is compared by, of `what` verification.OF says; empty where it could send no manifest.

        Raises StorageUnavailable.
        """
        if not 0 < told.manifest_bytes <= MAX_MANIFEST_BYTES:
            return ""
        manifest = await self._manifest(record, told)
        found = "" if manifest is None else await asyncio.to_thread(_answer, manifest, told, what)
        if found:
            return found
        text = "The manifest of execution %s is not what its node reported, so that its answer is like no other."
        _log.warning(text, record.id, extra=about_execution(record))
        return false_answer(record.id)

    async def differing(self, one: ExecutionRecord, other: ExecutionRecord, what: str) -> Sequence[str]:
        """The first paths at which two results differ, to be shown; none where they cannot be compared.

        Raises StorageUnavailable.
        """
        if one.result is None or other.result is None or is_false(one.answer) or is_false(other.answer):
            return ()
        first, second = await self._manifest(one, one.result), await self._manifest(other, other.result)
        if first is None or second is None:
            return ()
        return await asyncio.to_thread(_differing, first, second, what)

    async def _manifest(self, record: ExecutionRecord, told: PublishedFacts) -> bytes | None:
        """That of the result, if there is the one of which its node has told."""
        if record.location is None or not 0 < told.manifest_bytes <= MAX_MANIFEST_BYTES:
            return None
        bucket = await self._locations.bucket_of(record.location)
        async with self._turn(told.manifest_bytes):
            found = await bucket.read(content_manifest_key(record.location.key), most_bytes=told.manifest_bytes)
        if isinstance(found, Absent) or hashlib.sha256(found).hexdigest() != told.manifest_sha256:
            return None
        return found

    @asynccontextmanager
    async def _turn(self, size_bytes: int) -> AsyncIterator[None]:
        turns = self._small if size_bytes <= SMALL_BYTES else self._large
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await turns.acquire()
        except TimeoutError:
            raise StorageUnavailable("Other results are compared.") from None
        try:
            yield
        finally:
            turns.release()


def _compared(what: str) -> Callable[[ManifestEntry], bool]:
    if what == PATHS:
        return lambda entry: entry.name.partition(b"/")[0] not in _OF_TARPON
    if what == STDOUT:
        return lambda entry: entry.name == _STDOUT
    return lambda _: True


def _answer(manifest: bytes, told: PublishedFacts, what: str) -> str:
    """Empty where the manifest is none, or not that of what was told."""
    whole, part, is_compared = ContentDigest(), ContentDigest(), _compared(what)
    try:
        for number, entry in enumerate(manifest_entries(io.BytesIO(manifest))):
            if number >= MOST_ENTRIES:  # a few bytes can be as many as anybody likes once they are decompressed
                return ""
            whole.add(entry)
            if is_compared(entry):
                part.add(entry)
    except Damaged:
        return ""
    return part.hexdigest() if whole.hexdigest() == told.content_digest else ""


def _differing(one: bytes, other: bytes, what: str) -> list[str]:
    is_compared = _compared(what)
    try:
        return list(islice(_differences(_entries(one, is_compared), _entries(other, is_compared)), MOST_PATHS))
    except Damaged:
        return []


def _entries(manifest: bytes, is_compared: Callable[[ManifestEntry], bool]) -> Iterator[ManifestEntry]:
    return filter(is_compared, islice(manifest_entries(io.BytesIO(manifest)), MOST_ENTRIES))


def _differences(one: Iterator[ManifestEntry], other: Iterator[ManifestEntry]) -> Iterator[str]:
    """Both are in the order of their names, folder by folder."""
    left, right = next(one, None), next(other, None)
    while left is not None or right is not None:
        if right is None or (left is not None and _order(left) < _order(right)):
            assert left is not None
            yield _shown(left)
            left = next(one, None)
        elif left is None or _order(right) < _order(left):
            yield _shown(right)
            right = next(other, None)
        else:
            if _content(left) != _content(right):
                yield _shown(left)
            left, right = next(one, None), next(other, None)


def _order(entry: ManifestEntry) -> list[bytes]:
    return entry.name.split(b"/")


def _content(entry: ManifestEntry) -> str:
    digest = ContentDigest()
    digest.add(entry)
    return digest.hexdigest()


def _shown(entry: ManifestEntry) -> str:
    return printable(entry.name.decode(errors="replace"))[:MAX_PATH]
