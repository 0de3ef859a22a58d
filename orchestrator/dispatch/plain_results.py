"""Plain results, when they are reported: their objects are compared with their manifest, some results at a time."""

import asyncio
import hashlib
import logging

from orchestrator.admission.bounds.node_slots import NodeSlots
from orchestrator.rules.records import ExecutionRecord, about_execution
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.plain_objects import what_differs
from orchestrator.s3.verification import Absent, Verdict
from shared.protocol.messages import OutputPublished
from shared.protocol.results.content_manifest import MAX_MANIFEST_BYTES

_log = logging.getLogger(__name__)

AT_ONCE = 4
"""What the manifests of so many take in memory, some 30 MB for 100,000 files each."""


class PlainResults:
    """The leader's."""

    def __init__(self) -> None:
        self._slots = NodeSlots(AT_ONCE, busy="Other plain results are compared with their manifests.")

    def __repr__(self) -> str:
        return f"<PlainResults {self._slots!r}>"

    async def verdict(
        self, record: ExecutionRecord, bucket: Bucket, fact: OutputPublished, *, has_digests: bool
    ) -> Verdict:
        """Whether a result is whole whose manifest is there as it was reported. Raises StorageUnavailable."""
        assert record.location is not None
        if fact.size_bytes > MAX_MANIFEST_BYTES:
            return Verdict.MISMATCH
        async with self._slots.of(record.node_id):
            why = await self._why_not(bucket, record.location.key, fact, has_digests=has_digests)
        if why:
            told = "The plain result of execution %s is not what its node reported: %s."
            _log.warning(told, record.id, why, extra=about_execution(record))
            return Verdict.MISMATCH
        return Verdict.VERIFIED

    async def _why_not(self, bucket: Bucket, key: str, fact: OutputPublished, *, has_digests: bool) -> str:
        manifest = await bucket.read(key, most_bytes=MAX_MANIFEST_BYTES)
        if isinstance(manifest, Absent) or await asyncio.to_thread(_sha256, manifest) != fact.sha256:
            return "its manifest is another one"
        return await what_differs(bucket, key, manifest, fact, has_digests=has_digests)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
