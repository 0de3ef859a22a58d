"""The check: what is stored and what is in the bucket, and where they do not fit together. It changes nothing.

What is stored is read before the bucket is listed and once more after that, so that what goes on meanwhile is not taken
for a fault.
"""

from collections import Counter
from collections.abc import Iterator, Mapping

import msgspec

from orchestrator.backups.access import Progress, access
from orchestrator.backups.bucket_access import ListForbidden, listed
from orchestrator.backups.known_records import Known, known_records
from orchestrator.rules.location import Location
from orchestrator.s3.bucket import Bucket
from orchestrator.s3.locations import Locations
from orchestrator.s3.verification import ObjectFacts
from orchestrator.service import opened_locations
from shared.errors import StorageUnavailable
from shared.ids import JobId
from shared.protocol import subjects
from shared.protocol.objects import archive_of, is_of_results, manifests_above
from shared.runtime.aio import pipelined
from shared.settings.config import Config

AT_ONCE = 16
MOST_TOLD = 1000


_TOLD = {
    "RecordUnreadable": "What is stored there is no record; orchestrators leave it alone.",
    "RecordUnknown": "This version knows no such record; a later one may have written it.",
    "RecordNewer": "A later version of Tarpon has written it.",
    "StateUnfinished": "The state is being restored, or that was interrupted: run the command again.",
    "JobMissing": "It belongs to a job that has no record. The leader removes it within an hour.",
    "NameMissing": "The job's name is not claimed, so that another job can be called so.",
    "NameOfOther": "The job's name is claimed for another job.",
    "SpecificationMissing": "What this version of the job does is not stored.",
    "ResultMissing": "Its result is not in the bucket.",
    "ResultChanged": "What is in the bucket is not the result that was verified.",
    "DataMissing": "The list of the files of this data is not in the bucket: send it again.",
    "ObjectUnknown": "No record leads to this object.",
}


class Misfit(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """One thing that does not fit: its kind, the key of a record or of an object, and what that means."""

    kind: str
    key: str
    message: str


class Checked(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """`counts` are of all misfits, by kind; `misfits` are a thousand at most. `left_out` is what was not looked at."""

    records: int
    results: int
    objects: int
    counts: dict[str, int]
    misfits: tuple[Misfit, ...]
    left_out: tuple[str, ...]


async def check(config: Config, *, progress: Progress) -> Checked:
    """Raises StateAbsent, MessagingUnavailable, StorageUnavailable, and what `access` raises."""
    async with access(config) as (connection, _), opened_locations(config) as locations:
        before = await known_records(connection)
        comparison = _Comparison(locations, before, progress)
        await comparison.compare()
        now = await known_records(connection) if comparison.suspects else before
        comparison.judge(now)
    return comparison.outcome()


class _Comparison:
    def __init__(self, locations: Locations, records: Mapping[str, Known], progress: Progress) -> None:
        self.suspects: list[tuple[str, str]] = []
        """Kind and key of what may not fit."""
        self._locations = locations
        self._records = records
        self._progress = progress
        self._objects = 0
        self._misfits: list[tuple[str, str]] = []
        self._left_out: list[str] = []
        self._must = {key: each for key, each in records.items() if each.etag and each.place is not None}

    async def compare(self) -> None:
        self.suspects += among_records(self._records)
        seen = await self._list()
        unseen = [key for key, each in self._must.items() if each.place not in seen]
        await pipelined(unseen, self._look, at_once=AT_ONCE)

    async def _list(self) -> set[Location]:
        """Where something is that has been compared, all of which is in the bucket of the settings."""
        current, seen = self._locations.current, set[Location]()
        if current is None:
            self._left_out.append("The settings name no bucket, so no object was looked for that no record leads to.")
            return seen
        by_place = {each.place: key for key, each in self._must.items()}
        may_be = {each.place for each in self._records.values()}
        try:
            async for page in listed(current):
                self._objects += len(page)
                self._progress(self._objects, len(self._must))
                for each in page:
                    place = current.location.at(each.key)
                    if place in by_place:
                        seen.add(place)
                        self._compare(by_place[place], each.etag.strip('"'), each.size)
                    elif is_of_results(each.key) and not any(at in may_be for at in _may_belong_to(current, each.key)):
                        self.suspects.append(("ObjectUnknown", each.key))
        except ListForbidden as error:
            self._left_out.append(f"Objects that no record leads to: {error.message} {error.hint}")
        return seen

    def _compare(self, key: str, etag: str, size_bytes: int) -> None:
        known = self._records[key]
        if known.etag != "*" and (known.etag, known.size_bytes) != (etag, size_bytes):
            self.suspects.append(("ResultChanged", key))

    async def _look(self, key: str) -> None:
        """By a request of its own: the list did not have it, or there was none."""
        known = self._must[key]
        assert known.place is not None
        try:
            bucket: Bucket = await self._locations.bucket_of(known.place)
            facts = await bucket.head(known.place.key)
        except StorageUnavailable as error:
            self._left_out.append(f"{key}: {error.message}")
            return
        if isinstance(facts, ObjectFacts):
            self._compare(key, facts.etag, facts.size_bytes)
        else:
            self.suspects.append(("DataMissing" if key.startswith("data.") else "ResultMissing", key))

    def judge(self, now: Mapping[str, Known]) -> None:
        """Drop of what was suspect what has become of it meanwhile explains."""
        among = set(among_records(now))
        may_be = {each.place for each in now.values()}
        current = self._locations.current
        for kind, key in self.suspects:
            if kind == "ObjectUnknown":
                stays = current is None or not any(at in may_be for at in _may_belong_to(current, key))
            elif kind in _ABOUT_OBJECTS:
                stays = now.get(key) == self._records[key]
            else:
                stays = (kind, key) in among
            if stays:
                self._misfits.append((kind, key))

    def outcome(self) -> Checked:
        self._misfits.sort()
        return Checked(
            records=len(self._records),
            results=len(self._must),
            objects=self._objects,
            counts=dict(Counter(kind for kind, _ in self._misfits)),
            misfits=tuple(Misfit(kind=kind, key=key, message=_TOLD[kind]) for kind, key in self._misfits[:MOST_TOLD]),
            left_out=tuple(self._left_out[:MOST_TOLD]),
        )


_ABOUT_OBJECTS = frozenset({"ResultMissing", "ResultChanged", "DataMissing"})


def among_records(records: Mapping[str, Known]) -> Iterator[tuple[str, str]]:
    """What of the records does not fit together, by kind and key."""
    for key, each in records.items():
        if each.problem:
            yield each.problem, key
        elif each.version:
            yield from _of_job(key, each, records)
        elif each.job and subjects.job_record(JobId(each.job)) not in records:
            yield "JobMissing", key


def _of_job(key: str, job: Known, records: Mapping[str, Known]) -> Iterator[tuple[str, str]]:
    claimed = records.get(job.name_key)
    if job.name_key and claimed is None:
        yield "NameMissing", key
    elif claimed is not None and claimed.job != job.job:
        yield "NameOfOther", key
    if job.version > 1 and subjects.spec_record(JobId(job.job), job.version) not in records:
        yield "SpecificationMissing", key


def _may_belong_to(bucket: Bucket, key: str) -> Iterator[Location]:
    """Where the results are of which this object may be one, or lie beside one."""
    yield bucket.location.at(archive_of(key))
    yield from map(bucket.location.at, manifests_above(key))
