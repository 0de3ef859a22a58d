"""What the orchestrator knows: every stored record in memory, with the indexes that decisions and reads need.

The model is fed by the store, with what this process writes and with what others write, and applies each record's
newest revision once. Nothing here awaits, so that whoever reads sees one consistent state.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Self

import msgspec

from orchestrator.lifecycle import Progress, progress
from orchestrator.oldest import Oldest
from orchestrator.records import (
    BindingRecord,
    ExecutionRecord,
    JobRecord,
    NameRecord,
    NodeRecord,
    Record,
    SpecRecord,
)
from shared.errors import JobAmbiguous, JobNotFound
from shared.ids import ExecutionId, JobId, NodeId, execution_key
from shared.jobspec import Job
from shared.states import ExecutionState, JobState


class JobEntry:
    """One job with everything that belongs to it."""

    __slots__ = ("counted", "executions", "progress", "record", "revision", "specs")

    def __init__(self) -> None:
        self.record: JobRecord | None = None
        self.revision = 0
        self.specs: dict[int, Job] = {}
        self.executions: dict[str, ExecutionRecord] = {}
        self.progress = Progress(state=JobState.PENDING)
        self.counted: JobState | None = None
        """As which it is in `Model.job_states`."""

    @property
    def job(self) -> JobRecord:
        assert self.record is not None
        return self.record

    @property
    def spec(self) -> Job:
        """The newest version."""
        return self.specs[self.job.version]

    @property
    def is_complete(self) -> bool:
        """Whether record and specification have both arrived."""
        return self.record is not None and self.record.version in self.specs

    def __repr__(self) -> str:
        return f"<JobEntry {self.record.id if self.record else '?'}, {self.progress.state}>"


class Model:
    """`pending` and `surplus` are what the leader has to act on; `reasons` why a pending job has to wait.

    `changed` are the jobs about which there is something new to tell, while somebody tells it. `job_states` and
    `execution_states` are how many there are in each state, a pending job with a reason to wait being queued, and
    `oldest` is the oldest job of which nothing has been placed.
    """

    def __init__(self, *, max_attempts: int) -> None:
        self.jobs: dict[JobId, JobEntry] = {}
        self.nodes: dict[NodeId, NodeRecord] = {}
        self.bindings: dict[NodeId, str] = {}
        self.pending: dict[int, dict[JobId, None]] = {}
        self.surplus: dict[JobId, None] = {}
        self.live: dict[NodeId, dict[ExecutionId, ExecutionRecord]] = {}
        self.reasons: dict[JobId, str] = {}
        self.job_states: Counter[JobState] = Counter()
        self.execution_states: Counter[ExecutionState] = Counter()
        self.oldest: Oldest[JobId] = Oldest()
        self.wake = asyncio.Event()
        self.changed: dict[JobId, None] | None = None
        self.any_change = asyncio.Event()
        self._max_attempts = max_attempts
        self._revisions: dict[str, int] = {}
        self._entries: dict[JobId, JobEntry] = {}
        self._keys: dict[ExecutionId, tuple[JobId, str]] = {}
        self._names: dict[tuple[str, str], JobId] = {}
        self._watchers: dict[JobId, set[asyncio.Event]] = {}

    # ---- feeding ------------------------------------------------------------------------------------------------

    def apply(self, key: str, record: Record, revision: int) -> None:
        """Take in a record, unless this or a newer revision of it is known."""
        if self._revisions.get(key, 0) >= revision:
            return
        self._revisions[key] = revision
        match record:
            case JobRecord():
                entry = self._entry(record.id)
                if entry.record is not None and entry.record.priority != record.priority:
                    self.pending.get(entry.record.priority, {}).pop(record.id, None)
                entry.record, entry.revision = record, revision
                if record.first is not None:
                    entry.specs[1] = record.first
                self._names[record.namespace, record.name] = record.id
                self._refresh(record.id, entry)
            case SpecRecord():
                _, job, version = key.split(".")
                entry = self._entry(JobId(job))
                entry.specs[int(version)] = record.job
                self._refresh(JobId(job), entry)
            case ExecutionRecord():
                self._apply_execution(record)
            case NodeRecord():
                self.nodes[record.info.node_id] = record
                self.wake.set()
            case BindingRecord():
                self.bindings[NodeId(key.partition(".")[2])] = record.public_key
            case NameRecord():
                pass  # names are known by their job records
            case _:
                raise TypeError(f"{type(record).__name__} is not stored.")

    def revision_of(self, key: str) -> int:
        """The revision that an update of this record must name; 0 if there is none."""
        return self._revisions.get(key, 0)

    def _entry(self, job: JobId) -> JobEntry:
        return self._entries.setdefault(job, JobEntry())

    def _apply_execution(self, record: ExecutionRecord) -> None:
        key = execution_key(record.job_id, record.job_version, record.partition, record.attempt)
        entry = self._entry(record.job_id)
        known = entry.executions.get(key)
        if known is not None:
            self.execution_states[known.state] -= 1
        self.execution_states[record.state] += 1
        entry.executions[key] = record
        self._keys[record.id] = record.job_id, key
        live = self.live.setdefault(record.node_id, {})
        if record.state.is_terminal:
            live.pop(record.id, None)
        else:
            live[record.id] = record
        self._refresh(record.job_id, entry)

    def _refresh(self, job: JobId, entry: JobEntry) -> None:
        if not entry.is_complete:
            return
        self.jobs.setdefault(job, entry)
        count = entry.spec.count or 1
        entry.progress = progress(entry.job, count, entry.executions.values(), max_attempts=self._max_attempts)
        waiting = self.pending.setdefault(entry.job.priority, {})
        if entry.progress.missing:
            waiting[job] = None
        else:
            waiting.pop(job, None)
            self.reasons.pop(job, None)
        if entry.progress.surplus:
            self.surplus[job] = None
        else:
            self.surplus.pop(job, None)
        self._count(job, entry)
        self.wake.set()
        self._notify(job)

    def _count(self, job: JobId, entry: JobEntry) -> None:
        state = entry.progress.state
        if state is JobState.PENDING and entry.progress.missing:
            self.oldest.put(job, entry.job.submit_time)
        else:
            self.oldest.drop(job)
        if state is JobState.PENDING and self.reasons.get(job):
            state = JobState.QUEUED
        if state is not entry.counted:
            if entry.counted is not None:
                self.job_states[entry.counted] -= 1
            self.job_states[state] += 1
            entry.counted = state

    def explain(self, job: JobId, reason: str) -> None:
        """Remember why this pending job has to wait."""
        if self.reasons.get(job) != reason and job in self.jobs:
            self.reasons[job] = reason
            self._count(job, self.jobs[job])
            self._notify(job)

    def unexplain(self, job: JobId) -> None:
        """Forget why this job had to wait."""
        if self.reasons.pop(job, None) is not None:
            self._count(job, self.jobs[job])

    def _notify(self, job: JobId) -> None:
        if self.changed is not None:
            self.changed[job] = None
            self.any_change.set()
        for event in self._watchers.get(job, ()):
            event.set()

    # ---- reading ------------------------------------------------------------------------------------------------

    def execution(self, execution: ExecutionId) -> ExecutionRecord | None:
        found = self._keys.get(execution)
        return self._entries[found[0]].executions[found[1]] if found else None

    def is_surplus(self, record: ExecutionRecord) -> bool:
        """Whether it is to be stopped, though its record may not say so yet."""
        entry = self._entries[record.job_id]
        return any(each.id == record.id for each in entry.progress.surplus)

    def pending_jobs(self) -> Iterator[tuple[JobId, JobEntry]]:
        """Jobs with partitions that are not executed yet: the most urgent first, then the oldest."""
        for priority in sorted(self.pending, reverse=True):
            for job in list(self.pending[priority]):
                yield job, self.jobs[job]

    def named(self, namespace: str, name: str) -> JobId | None:
        return self._names.get((namespace, name))

    def find(self, text: str, namespace: str = "default") -> JobEntry:
        """A job by name in the namespace, by id, or by the unambiguous beginning of an id.

        Raises JobNotFound or JobAmbiguous.
        """
        named = self._names.get((namespace, text))
        if named is not None and named in self.jobs:
            return self.jobs[named]
        if JobId(text) in self.jobs:
            return self.jobs[JobId(text)]
        beginnings = [job for job in self.jobs if job.startswith(text)] if len(text) >= 4 else []
        if not beginnings:
            raise JobNotFound(text)
        if len(beginnings) > 1:
            raise JobAmbiguous(text, len(beginnings))
        return self.jobs[beginnings[0]]

    def watch(self, job: JobId) -> "Watch":
        """A context in which `changed()` waits for the next change of this job."""
        return Watch(self._watchers, job)

    def __repr__(self) -> str:
        return f"<Model of {len(self.jobs)} jobs and {len(self.nodes)} nodes>"


class Watch:
    """Wakes up at each change of one job; changes that come close together wake it once."""

    def __init__(self, watchers: dict[JobId, set[asyncio.Event]], job: JobId) -> None:
        self._watchers = watchers
        self._job = job
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._watchers.setdefault(self._job, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        watching = self._watchers[self._job]
        watching.discard(self._event)
        if not watching:
            del self._watchers[self._job]

    async def changed(self) -> None:
        await self._event.wait()
        self._event.clear()


_decoders: dict[str, msgspec.json.Decoder[Record]] = {
    "name": msgspec.json.Decoder(NameRecord),
    "job": msgspec.json.Decoder(JobRecord),
    "spec": msgspec.json.Decoder(SpecRecord),
    "execution": msgspec.json.Decoder(ExecutionRecord),
    "node": msgspec.json.Decoder(NodeRecord),
    "binding": msgspec.json.Decoder(BindingRecord),
}


def decode_record(key: str, payload: bytes) -> Record | None:
    """The record that is stored under `key`; None for a kind of key that this program does not know.

    Raises msgspec.DecodeError when the payload is not such a record.
    """
    decoder = _decoders.get(key.partition(".")[0])
    return decoder.decode(payload) if decoder else None


def newest_first(entries: Iterable[JobEntry]) -> list[JobEntry]:
    return sorted(entries, key=lambda entry: (entry.job.create_time, entry.job.id), reverse=True)
