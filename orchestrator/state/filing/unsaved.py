"""Unsaved changes: what has changed since the file of the index was written, and is not of a filed job.

The file has these records beside filed jobs, so that whoever starts next need not read them from NATS.
"""

from collections.abc import Container, Mapping
from itertools import islice
from typing import NamedTuple

import msgspec

from orchestrator.rules.records import Record, SpecRecord
from orchestrator.state.job_entry import JobEntry
from shared.ids import JobId

MOST_AT_ONCE = 2048
"""So many records are written together at most: 20 ms or so."""

_encoder = msgspec.json.Encoder()


class KeptRecords(NamedTuple):
    """What is to be written (Writing of orchestrator/state/filing/job_index.py)."""

    kept: list[tuple[str, str, int, bytes]]
    lost: list[tuple[str, str]]
    unkept: list[JobId]


class Unsaved:
    """`kept_jobs` are those of which the file has records."""

    def __init__(self) -> None:
        #: The keys that have changed, by the jobs of which they are.
        self.jobs: dict[JobId, set[str]] = {}
        #: Records of no job, by their keys; None where there is none any more.
        self.others: dict[str, Record | None] = {}
        self.kept_jobs: set[JobId] = set()

    def note(self, job: JobId, key: str) -> None:
        """A record of a job has changed."""
        keys = self.jobs.get(job)
        if keys is None:
            self.jobs[job] = {key}
        else:
            keys.add(key)

    def forget(self, job: JobId) -> bool:
        """It is filed; whether the file has records of it."""
        self.jobs.pop(job, None)
        if job in self.kept_jobs:
            self.kept_jobs.discard(job)
            return True
        return False

    def clear(self) -> None:
        """All is in the file."""
        self.jobs.clear()
        self.others.clear()

    def some_jobs(self, but: Container[JobId]) -> list[JobId]:
        """Jobs with not too many changes together."""
        found, room = list[JobId](), MOST_AT_ONCE
        for job, keys in self.jobs.items():
            if room <= 0:
                break
            if job not in but:
                found.append(job)
                room -= len(keys)
        return found

    def some_others(self) -> list[str]:
        return list(islice(self.others, MOST_AT_ONCE))

    def of_jobs(self, jobs: list[JobId], entries: Mapping[JobId, JobEntry]) -> KeptRecords:
        """What is to be written of these jobs. Raises what msgspec raises for what cannot be stored."""
        found = KeptRecords([], [], [])
        for job in jobs:
            entry = entries.get(job)
            if entry is None:
                found.unkept.append(job)
                continue
            for key in self.jobs[job]:
                known = part_of(entry, key)
                if known is None:
                    found.lost.append((job, key))
                else:
                    found.kept.append((job, key, known[1], _encoder.encode(known[0])))
        return found

    def of_others(self, keys: list[str], revisions: Mapping[str, int], found: KeptRecords) -> None:
        """The same of records of no job."""
        for key in keys:
            record, revision = self.others[key], revisions.get(key, 0)
            if record is None or not revision:
                found.lost.append(("", key))
            else:
                found.kept.append(("", key, revision, _encoder.encode(record)))

    def saved(self, jobs: list[JobId], others: list[str], entries: Mapping[JobId, JobEntry]) -> None:
        """These were written."""
        for job in jobs:
            del self.jobs[job]
            if job in entries:
                self.kept_jobs.add(job)
            else:
                self.kept_jobs.discard(job)
        for key in others:
            del self.others[key]

    def __len__(self) -> int:
        return len(self.jobs) + len(self.others)

    def __repr__(self) -> str:
        return f"<Unsaved: of {len(self.jobs)} jobs, and {len(self.others)} others>"


def part_of(entry: JobEntry, key: str) -> tuple[Record, int] | None:
    """The record of a job under this key, and its revision; None where there is none."""
    kind, _, rest = key.partition(".")
    records, part = entry.records_at_hand, rest.partition(".")[2]
    if kind == "job":
        return (records.record, entry.revision) if records.record is not None and entry.revision else None
    revision = records.revisions.get(part, 0)
    if not revision:
        return None
    if kind == "execution":
        return records.executions[rest], revision
    number = int(part)
    record = SpecRecord(
        job=records.specs[number],
        replaced=records.replaced.get(number),
        keeps=records.keeps.get(number, ()),
        inputs=records.inputs.get(number, ()),
        needs=records.needs.get(number, ()),
    )
    return record, revision
