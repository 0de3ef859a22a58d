"""The rebuild: a state made of the signed records beside the results, where it was lost and the bucket was not.

A record counts if this orchestrator has signed it, it lies beside the archive that it names, and that is the one that
was verified. What does not count is told, and changes nothing.
"""

from collections.abc import AsyncIterator, Sequence

import msgspec

from orchestrator.admission.result_signing import SignatureMissing, check_public_key, opened
from orchestrator.assembly import replicas
from orchestrator.backups.access import Progress, access
from orchestrator.backups.bucket_access import listed
from orchestrator.rules.records import NameRecord
from orchestrator.rules.result_record import ResultRecord, rebuilt
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import Absent, ObjectFacts
from orchestrator.service import opened_locations
from orchestrator.storage.record_dump import DumpedRecord
from orchestrator.storage.record_refill import Refill
from orchestrator.storage.wall_clock import now_ns
from shared.errors import InvalidInput
from shared.protocol.objects import is_record_key, record_key, root_of
from shared.protocol.results.result_record import FORMAT, MAX_RECORD_BYTES
from shared.runtime.aio import pipelined
from shared.settings.config import Config

AT_ONCE = 16
"""A record has a few KiB, most of them warnings about entries."""
MOST_TOLD = 1000


class BucketMissing(InvalidInput):
    def __init__(self) -> None:
        super().__init__(
            "These settings name no bucket.",
            hint="Give the settings of the orchestrator (-c Publishers.Types.S3Managed.Bucket=...).",
        )


class RefusedRecord(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The record under this key does not count, because of `why`."""

    key: str
    why: str


class Rebuilt(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`refused` are a thousand at most, of `refused_total`. Without any job nothing was stored."""

    jobs: int
    results: int
    incarnation: str
    refused: tuple[RefusedRecord, ...]
    refused_total: int


async def rebuild(config: Config, *, signed_by: Sequence[str] = (), progress: Progress) -> Rebuilt:
    """Put what the bucket tells into a state that is empty. `signed_by` are public keys whose signatures count too.

    Raises BucketMissing, ListForbidden, StorageUnavailable, StateNotEmpty, OrchestratorRuns, MessagingUnavailable,
    BadSignature for what is no key, and what `access` raises.
    """
    for key in signed_by:
        check_public_key(key)
    async with access(config, alone=True) as (connection, secrets), opened_locations(config) as locations:
        if locations.current is None:
            raise BucketMissing
        reading = _Reading(locations, {secrets.result_signer.public_key, *signed_by})
        refill = Refill(connection, replicas=replicas(config))
        jobs = results = 0
        names: dict[str, tuple[int, DumpedRecord]] = {}
        async for found in reading.jobs(locations.current):
            if not jobs:
                await refill.begin(above=0)
            await refill.put(_stored(found, names))
            jobs, results = jobs + 1, results + len(found)
            progress(results, reading.seen)
        if jobs:
            await refill.put([record for _, record in names.values()])
            await refill.end()
    return Rebuilt(
        jobs=jobs,
        results=results,
        incarnation=refill.incarnation if jobs else "",
        refused=tuple(reading.refused[:MOST_TOLD]),
        refused_total=reading.refused_total,
    )


def _stored(found: Sequence[ResultRecord], names: dict[str, tuple[int, DumpedRecord]]) -> list[DumpedRecord]:
    """Names come last: one that was free again belongs to the job that had it last."""
    records = []
    for key, record in rebuilt(found, now=now_ns()):
        stored = DumpedRecord(key, 0, msgspec.json.encode(record))
        if not isinstance(record, NameRecord):
            records.append(stored)
        elif names.get(key, (0, stored))[0] <= found[0].job_create_time:
            names[key] = found[0].job_create_time, stored
    return records


class _Reading:
    """Reads and judges the records of the bucket, job by job."""

    def __init__(self, locations: Locations, keys: set[str]) -> None:
        self.seen = self.refused_total = 0
        self.refused: list[RefusedRecord] = []
        self._locations = locations
        self._keys = keys

    async def jobs(self, bucket: Bucket) -> AsyncIterator[list[ResultRecord]]:
        """What counts, of one job at a time: S3 lists keys in their order, so that those of a job come together."""
        of_job, root = list[str](), root_of(bucket.location.key)
        async for page in listed(bucket):
            for key in (each.key for each in page if is_record_key(each.key, root)):
                if of_job and _folder(of_job[0]) != _folder(key):
                    if found := await self._read_all(bucket, of_job):
                        yield found
                    of_job = []
                of_job.append(key)
        if of_job and (found := await self._read_all(bucket, of_job)):
            yield found

    async def _read_all(self, bucket: Bucket, keys: list[str]) -> list[ResultRecord]:
        self.seen += len(keys)
        found: list[ResultRecord] = []

        async def read(key: str) -> None:
            judged = await self._judged(bucket, key)
            if isinstance(judged, ResultRecord):
                found.append(judged)
            else:
                self._refuse(key, judged)

        await pipelined(keys, read, at_once=AT_ONCE)
        return found

    async def _judged(self, bucket: Bucket, key: str) -> ResultRecord | str:
        """The record, or why it does not count. Raises StorageUnavailable."""
        body = await bucket.read(key, most_bytes=MAX_RECORD_BYTES)
        if isinstance(body, Absent):
            return "It is gone, or may not be read."
        try:
            record = _decoder.decode(opened(body, self._keys))
        except SignatureMissing as error:
            return error.message
        except msgspec.DecodeError:
            return "It is signed, and cannot be read: a later version of Tarpon may have written it."
        if record.format != FORMAT:
            return f"It has format {record.format}, which this version does not know."
        if record.location.bucket != bucket.location.bucket or record_key(record.location.key) != key:
            return f"It belongs beside {record.location.place}, and was moved."
        return await self._compared(bucket, record)

    async def _compared(self, bucket: Bucket, record: ResultRecord) -> ResultRecord | str:
        facts = await bucket.head(record.location.key)
        if not isinstance(facts, ObjectFacts):
            return "Its archive is gone."
        if (facts.etag, facts.size_bytes) != (record.result.etag, record.result.size_bytes):
            return "Its archive is not the one that was verified."
        return record

    def _refuse(self, key: str, why: str) -> None:
        self.refused_total += 1
        if len(self.refused) < MOST_TOLD:
            self.refused.append(RefusedRecord(key=key, why=why))


_decoder = msgspec.json.Decoder(ResultRecord)


def _folder(key: str) -> str:
    return key.rpartition("/")[0]
