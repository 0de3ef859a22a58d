"""Answers of replicas: what each is compared by, out of the manifest that its node has sent, and where two differ.

What a node reports of the content is believed only where the manifest in the bucket says the same. Of one that told
otherwise the answer is one that no other replica gives.
"""

import asyncio
import hashlib
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice

from orchestrator.admission.bounds.node_slots import NodeSlots
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
from shared.protocol.results.content_manifest import (
    MAX_MANIFEST_BYTES,
    MOST_ENTRIES,
    ContentDigest,
    ManifestEntry,
    ManifestFile,
)

_log = logging.getLogger(__name__)

SMALL_BYTES, SMALL_ENTRIES = 256 << 10, 4096
SMALL_AT_ONCE, LARGE_AT_ONCE = 32, 2
"""How many answers are looked at at once, by the size of their manifests and what is in them, from the first byte that
is fetched to the last entry that is read: some 8 MB of small ones, and two of any size, or what differs in two such.
"""
MOST_PATHS = 5
MAX_PATH = 120
_STDOUT = b"stdout"
_OF_TARPON = frozenset({_STDOUT, b"stderr", b"exitCode"})


class ReplicaAnswers:
    """The leader's."""

    def __init__(self, locations: Locations) -> None:
        self._locations = locations
        busy = "Other results are compared."
        self._small, self._large = NodeSlots(SMALL_AT_ONCE, busy=busy), NodeSlots(LARGE_AT_ONCE, busy=busy)

    def __repr__(self) -> str:
        return f"<ReplicaAnswers, {self._small!r}>"

    async def of(self, record: ExecutionRecord, told: OutputPublished, what: str) -> str:
        """What this replica is compared by, of `what` verification.OF says. Raises StorageUnavailable."""
        async with self._slot(record.node_id, told):
            manifest = await self._manifest(record, told)
            if manifest is None:  # it was there a moment ago, so that this says nothing about its node
                raise StorageUnavailable(f"The manifest of execution {record.id} cannot be read.")
            found = await asyncio.to_thread(_answer_told, manifest, told, what)
        if found:
            return found
        text = "The manifest of execution %s is not what its node reported, so that its answer is like no other."
        _log.warning(text, record.id, extra=about_execution(record))
        return false_answer(record.id)

    async def differing(
        self, one: ExecutionRecord, other: ExecutionRecord, what: str, *, within: float
    ) -> Sequence[str]:
        """The first paths at which two results differ, to be shown; none where they cannot be compared.

        That takes so many seconds at most. Raises StorageUnavailable and TimeoutError.
        """
        if one.result is None or other.result is None or is_false(one.answer) or is_false(other.answer):
            return ()
        until, nobody = time.monotonic() + within, ""  # it is no node's, and takes its turn beside theirs
        async with asyncio.timeout(within), self._slot(nobody, one.result, other.result):
            first, second = await self._manifest(one, one.result), await self._manifest(other, other.result)
            if first is None or second is None:
                return ()
            return await asyncio.to_thread(_differing, first, second, what, until)

    async def _manifest(self, record: ExecutionRecord, told: PublishedFacts) -> bytes | None:
        """What is there of the result in place of the manifest of which its node has told."""
        if record.location is None or why_not_comparable(told):
            return None
        bucket = await self._locations.bucket_of(record.location)
        found = await bucket.read(content_manifest_key(record.location.key), most_bytes=told.manifest_bytes)
        return None if isinstance(found, Absent) else found

    def _slot(self, node: str, *told: PublishedFacts) -> AbstractAsyncContextManager[None]:
        is_small = all(each.manifest_bytes <= SMALL_BYTES and each.entries <= SMALL_ENTRIES for each in told)
        return (self._small if is_small else self._large).of(node)


def why_not_comparable(told: PublishedFacts) -> str:
    """Why a result of this size cannot be compared with others, in a sentence; empty where it can."""
    if told.entries > MOST_ENTRIES:
        has = f"{told.entries:,} files, folders and links, of which {MOST_ENTRIES:,} can be compared"
    elif not 0 < told.manifest_bytes <= MAX_MANIFEST_BYTES:
        has = f"a manifest of more than {MAX_MANIFEST_BYTES >> 20} MiB"
    else:
        return ""
    return f"Its result is too large to be compared with those of other replicas: it has {has}."


def _compared(what: str) -> Callable[[ManifestEntry], bool]:
    if what == PATHS:
        return lambda entry: entry.name.partition(b"/")[0] not in _OF_TARPON
    if what == STDOUT:
        return lambda entry: entry.name == _STDOUT
    return lambda _: True


def _answer_told(manifest: bytes, told: PublishedFacts, what: str) -> str:
    """Empty also where it is not the manifest of which was told."""
    return _answer(manifest, told, what) if hashlib.sha256(manifest).hexdigest() == told.manifest_sha256 else ""


def _answer(manifest: bytes, told: PublishedFacts, what: str) -> str:
    """Empty where the manifest is none, or not that of what was told: also by the numbers, to which readers hold it."""
    whole, part, is_compared = ContentDigest(), ContentDigest(), _compared(what)
    entries = content_bytes = 0
    most = min(told.entries, MOST_ENTRIES)
    try:
        for entry in manifest_entries(io.BytesIO(manifest)):
            entries += 1
            if entries > most:  # a few bytes can be as many as anybody likes once they are decompressed
                return ""
            content_bytes += entry.size if isinstance(entry, ManifestFile) else 0
            whole.add(entry)
            if is_compared(entry):
                part.add(entry)
    except Damaged:
        return ""
    found = (entries, content_bytes, whole.hexdigest())
    return part.hexdigest() if found == (told.entries, told.raw_bytes, told.content_digest) else ""


def _differing(one: bytes, other: bytes, what: str, until: float = math.inf) -> list[str]:
    """Nothing where that is not known by then, on the monotonic clock: nobody waits for the thread any more."""
    is_compared = _compared(what)
    left, right = (_entries(manifest, is_compared, until) for manifest in (one, other))
    try:
        return list(islice(_differences(left, right), MOST_PATHS))
    except (Damaged, TimeoutError):
        return []


def _entries(manifest: bytes, is_compared: Callable[[ManifestEntry], bool], until: float) -> Iterator[ManifestEntry]:
    """Raises Damaged and TimeoutError."""
    for entry in islice(manifest_entries(io.BytesIO(manifest)), MOST_ENTRIES):
        if time.monotonic() > until:
            raise TimeoutError
        if is_compared(entry):
            yield entry


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
