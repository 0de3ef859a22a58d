"""What the orchestrator knows: every stored record in memory, with the indexes that decisions and reads need.

The model is fed by the store, with what this process writes and with what others write, and applies each record's
newest revision once. Nothing here awaits, so that whoever reads sees one consistent state.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet

from orchestrator.endings import Endings
from orchestrator.job_entry import JobEntry, Watch
from orchestrator.job_progress import progress
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
from shared import subjects
from shared.errors import JobAmbiguous, JobNotFound
from shared.ids import ExecutionId, JobId, NodeId, execution_key
from shared.states import ExecutionState, JobState

__all__ = ["JobEntry", "Model", "newest_first"]


class Model:
    """`pending` and `surplus` are what the leader has to act on; `reasons` why a pending job has to wait.

    `changed` are the jobs about which there is something new to tell, while somebody tells it. `job_states` and
    `execution_states` are how many there are in each state, a pending job with a reason to wait being queued, and
    `oldest` is the oldest job of which nothing has been placed. Up to the revision `followed` the model has been fed in
    order, so that a record from before it that is not known is one that has been removed. `on_end` hears of each job
    that ends while it is known.
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
        self.endings = Endings()
        self.followed = 0
        self.wake = asyncio.Event()
        self.changed: dict[JobId, None] | None = None
        self.any_change = asyncio.Event()
        self.on_end: Callable[[JobEntry], None] | None = None
        self._max_attempts = max_attempts
        self._revisions: dict[str, int] = {}
        self._entries: dict[JobId, JobEntry] = {}
        self._keys: dict[ExecutionId, tuple[JobId, str]] = {}
        self._names: dict[tuple[str, str], JobId] = {}
        self._watchers: dict[JobId, set[asyncio.Event]] = {}

    # ---- feeding ------------------------------------------------------------------------------------------------

    def apply(self, key: str, record: Record, revision: int) -> None:
        """Take in a record, unless this or a newer revision of it is known."""
        if self._revisions.get(key, self.followed) >= revision:
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
                self.endings.note_record(record)
                self._names[record.namespace, record.name] = record.id
                self._refresh(record.id, entry)
            case SpecRecord():
                _, job, version = key.split(".")
                entry = self._entry(JobId(job))
                entry.specs[int(version)] = record.job
                self._note_stray(JobId(job), entry, revision)
                self._refresh(JobId(job), entry)
            case ExecutionRecord():
                self._apply_execution(record)
                self._note_stray(record.job_id, self._entries[record.job_id], revision)
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
        self.endings.note_execution(record)
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

        def is_later(record: ExecutionRecord) -> bool:
            key = execution_key(record.job_id, record.job_version, record.partition, record.attempt)
            return self._revisions.get(subjects.execution_record(key), 0) > entry.revision

        entry.progress = progress(
            entry.job, count, entry.executions.values(), max_attempts=self._max_attempts, is_later=is_later
        )
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
        self.note_ending(entry)
        self.wake.set()
        self._notify(job)

    def note_ending(self, entry: JobEntry) -> None:
        """Put the job where it belongs in the order of ends, out of which it may have been taken."""
        self.endings.note_progress(entry.job, entry.progress, entry.executions.values(), len(entry.specs))

    def _note_stray(self, job: JobId, entry: JobEntry, revision: int) -> None:
        if entry.record is None:
            self.endings.strays[job] = revision

    # ---- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, key: str, revision: int) -> None:
        """Take in that a record was removed; `revision` is that of the mark that it left."""
        if self._revisions.get(key, revision) >= revision:
            return
        del self._revisions[key]
        kind, _, rest = key.partition(".")
        match kind:
            case "job":
                self._forget_job(JobId(rest))
            case "spec":
                self._forget_spec(JobId(rest.partition(".")[0]), int(rest.partition(".")[2]))
            case "execution":
                self._forget_execution(JobId(rest.partition(".")[0]), rest)
            case "node":
                self.nodes.pop(NodeId(rest), None)
            case "binding":
                self.bindings.pop(NodeId(rest), None)
            case _:
                pass  # names are known by their job records

    def keep_only(self, keys: AbstractSet[str], up_to: int) -> None:
        """Take in that of all records up to this revision these alone are left: marks of the others may be gone too."""
        for key in [each for each, revision in self._revisions.items() if revision <= up_to and each not in keys]:
            self.forget(key, up_to + 1)

    def _forget_job(self, job: JobId) -> None:
        self._withdraw(job)
        entry = self._entries[job]
        entry.record = None
        stored = {version: spec for version, spec in entry.specs.items() if self._stores_spec(job, version)}
        entry.specs = stored  # that of the first version has gone with the record
        self.endings.removals.pop(job, None)
        self._drop_if_empty(job, entry)

    def _forget_spec(self, job: JobId, version: int) -> None:
        if self._entries[job].record is None or self._entries[job].job.version == version:
            self._withdraw(job)
        entry = self._entries[job]
        entry.specs.pop(version, None)
        self._refresh(job, entry)
        self._drop_if_empty(job, entry)

    def _stores_spec(self, job: JobId, version: int) -> bool:
        return subjects.spec_record(job, version) in self._revisions

    def _forget_execution(self, job: JobId, key: str) -> None:
        entry = self._entries[job]
        record = entry.executions.pop(key)
        self.execution_states[record.state] -= 1
        self._keys.pop(record.id, None)
        self.endings.uploads.pop(record.id, None)
        live = self.live.get(record.node_id, {})
        live.pop(record.id, None)
        if not live:
            self.live.pop(record.node_id, None)
        self._refresh(job, entry)
        self._drop_if_empty(job, entry)

    def _withdraw(self, job: JobId) -> None:
        """It is not a job any more that anybody sees."""
        entry = self.jobs.pop(job, None)
        if entry is None:
            return
        name = entry.job.namespace, entry.job.name
        if self._names.get(name) == job:
            del self._names[name]
        if entry.counted is not None:
            self.job_states[entry.counted] -= 1
        self.pending.get(entry.job.priority, {}).pop(job, None)
        self.surplus.pop(job, None)
        self.reasons.pop(job, None)
        self.oldest.drop(job)
        self.endings.drop(job)
        self._entries[job] = entry.rest()
        self._notify(job)

    def _drop_if_empty(self, job: JobId, entry: JobEntry) -> None:
        if entry.record is not None:
            return
        if entry.specs or entry.executions:
            self.endings.strays[job] = self.followed
        else:
            self.endings.strays.pop(job, None)
            del self._entries[job]

    def stored_parts(self, job: JobId) -> tuple[str, ...]:
        """The keys of all that is stored of a job but for its record: its executions, its name, its versions."""
        entry = self._entries.get(job)
        if entry is None:
            return ()
        keys = [subjects.execution_record(each) for each in entry.executions]
        if entry.record is not None and entry.record.name:
            keys.append(subjects.name_record(entry.record.namespace, entry.record.name))
        keys += [subjects.spec_record(job, version) for version in entry.specs]
        return tuple(key for key in keys if key in self._revisions)

    def stored_job(self, job: JobId) -> JobEntry | None:
        """The job, also where a part of it is gone."""
        return self._entries.get(job)

    def _count(self, job: JobId, entry: JobEntry) -> None:
        state = entry.progress.state
        if state is JobState.PENDING and entry.progress.missing:
            self.oldest.put(job, entry.job.submit_time)
        else:
            self.oldest.drop(job)
        if state is JobState.PENDING and self.reasons.get(job):
            state = JobState.QUEUED
        if state is not entry.counted:
            before, entry.counted = entry.counted, state
            self.job_states[state] += 1
            if before is not None:
                self.job_states[before] -= 1
                if state.is_terminal and not before.is_terminal and self.on_end is not None:
                    self.on_end(entry)

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


def newest_first(entries: Iterable[JobEntry]) -> list[JobEntry]:
    return sorted(entries, key=lambda entry: (entry.job.create_time, entry.job.id), reverse=True)
