"""What the orchestrator knows: every stored record in memory, with the indexes that decisions and reads need.

The model is fed by the store, with what this process writes and with what others write, and applies each record's
newest revision once. Nothing here awaits, so that whoever reads sees one consistent state.
"""

import asyncio
import sys
from collections import Counter
from collections.abc import Callable, Container, Iterator
from collections.abc import Set as AbstractSet
from functools import partial

from orchestrator.rules.attempts import NO_BACKOFF, Backoff, waits_until
from orchestrator.rules.fleet import shape_of
from orchestrator.rules.near_names import near_names
from orchestrator.rules.records import (
    BindingRecord,
    ExecutionRecord,
    IncarnationRecord,
    JobRecord,
    NameRecord,
    NodeRecord,
    Record,
    SpecRecord,
)
from orchestrator.state.by_instant import Oldest
from orchestrator.state.ended_jobs import Endings
from orchestrator.state.event_numbers import numbered
from orchestrator.state.job_entry import JobEntry, Shelf, Watch
from orchestrator.state.job_lists import JobLists
from orchestrator.state.job_names import JobNames
from orchestrator.state.waiting_jobs import Pending
from shared.errors import JobAmbiguous, JobNotFound
from shared.ids import ExecutionId, JobId, NodeId, new_job_id
from shared.jobs.states import ExecutionState, JobState
from shared.protocol import subjects

__all__ = ["JobEntry", "Model"]

MOST_LOADING = 4096
"""How many jobs may wait for their executions while all is read: none of them is packed."""

FEW = 64
"""Of a job with more executions it is not found out with each of them what follows: that would cost their square."""

_KINDS_OF_JOBS = frozenset({"job", "spec", "execution"})


def _nobody(_: NodeId) -> None:
    """Who hears of nodes before anybody wants to."""


class Model:
    """`pending` and `surplus` are what the leader has to act on; `reasons` why a pending job has to wait.

    `waiting` are jobs by the nanosecond at which a part that failed may be tried again; what is due was `released`.
    `deadlines` are of jobs whose time can run out. `on_node` hears of each node of which a record has changed.
    `changed` are the jobs about which there is something new to tell, while somebody tells it. `job_states` and
    `execution_states` are how many there are in each state, a pending job with a reason to wait being queued, and
    `oldest` is the oldest job of which nothing has been placed. Up to the revision `followed` the model has been fed in
    order, so that a record from before it that is not known is one that has been removed. Up to the revision `settled`
    everything is known that was ever recorded: nothing can come before it any more in anybody's history. `on_end` hears
    of each job that ends while it is known.
    """

    def __init__(self, *, max_attempts: int, backoff: Backoff = NO_BACKOFF) -> None:
        self.jobs: dict[JobId, JobEntry] = {}
        self.nodes: dict[NodeId, NodeRecord] = {}
        self.bindings: dict[NodeId, str] = {}
        self.rejected: dict[NodeId, BindingRecord] = {}
        """Of the nodes that an operator has rejected."""
        self.pending = Pending()
        self.waiting: Oldest[JobId] = Oldest()
        self._put_off: dict[JobId, JobEntry] = {}
        self.released = 0
        self.lists = JobLists()
        self.surplus: dict[JobId, None] = {}
        self.live: dict[NodeId, dict[ExecutionId, ExecutionRecord]] = {}
        self.reasons: dict[JobId, str] = {}
        self.job_states: Counter[JobState] = Counter()
        self.execution_states: Counter[ExecutionState] = Counter()
        self.oldest: Oldest[JobId] = Oldest()
        self.deadlines: Oldest[JobId] = Oldest()
        self.on_node: Callable[[NodeId], None] = _nobody
        self.endings = Endings()
        self.incarnation = ""
        self.followed = 0
        self.settled = 0
        self.wake = asyncio.Event()
        self.changed: dict[JobId, None] | None = None
        self.any_change = asyncio.Event()
        self.on_end: Callable[[JobEntry], None] | None = None
        self.max_attempts = max_attempts
        self.backoff = backoff
        self._shelf = Shelf()
        self._revisions: dict[str, int] = {}
        """Of all records that belong to no job."""
        self._entries: dict[JobId, JobEntry] = {}
        self._keys: dict[ExecutionId, str] = {}
        """The job of each, which looks through its executions; of one with many the key, by which it is found."""
        self._names = JobNames()
        self._loading: dict[JobId, JobEntry] | None = None
        """Jobs whose record is there and whose executions may be on their way, while all that is stored is read."""
        self._watchers: dict[JobId, set[asyncio.Event]] = {}
        self._unsettled: dict[JobId, None] = {}
        """Jobs of which there may be news as soon as more is settled."""

    # ---- feeding ------------------------------------------------------------------------------------------------

    def apply(self, key: str, record: Record, revision: int) -> None:
        """Take in a record, unless this or a newer revision of it is known."""
        if self.is_news(key, revision):
            self.take_in(key, record, revision)

    def is_news(self, key: str, revision: int) -> bool:
        """Whether neither this nor a newer revision of the record is known, nor that it has been removed since."""
        return (self.revision_of(key) or self.followed) < revision

    def take_in(self, key: str, record: Record, revision: int) -> None:
        """As `apply`, of a revision that is news."""
        match record:
            case JobRecord():
                self._apply_job(numbered(record, revision), revision)
            case SpecRecord():
                _, name, version = key.split(".")
                entry = self._entry(JobId(name))
                entry.parts.specs[int(version)] = record.job
                if record.replaced is not None:
                    entry.parts.replaced[int(version)] = record.replaced
                    self._names.note_token(entry.id, record.job.namespace, record.replaced.token)
                if record.keeps:
                    entry.parts.keeps[int(version)] = record.keeps
                entry.parts.revisions[version] = revision
                self._note_stray(entry, revision)
                self._refresh(entry)
            case ExecutionRecord():
                self._apply_execution(key, numbered(record, revision), revision)
            case _:
                self._revisions[key] = revision
                self._apply_other(key, record)

    def _apply_other(self, key: str, record: Record) -> None:
        match record:
            case NodeRecord():
                self.nodes[record.info.node_id] = record
                self.on_node(record.info.node_id)
                self.wake.set()
            case BindingRecord():
                self._apply_binding(NodeId(key.partition(".")[2]), record)
            case IncarnationRecord():
                self.incarnation = record.incarnation
            case NameRecord():
                pass  # names are known by their job records
            case _:
                raise TypeError(f"{type(record).__name__} is not stored.")

    def _apply_binding(self, node: NodeId, record: BindingRecord) -> None:
        self.bindings[node] = record.public_key
        if record.rejected:
            self.rejected[node] = record
        else:
            self.rejected.pop(node, None)
        self.on_node(node)
        self.wake.set()

    def revision_of(self, key: str) -> int:
        """The revision that an update of this record must name; 0 if there is none."""
        kind, _, rest = key.partition(".")
        if kind not in _KINDS_OF_JOBS:
            return self._revisions.get(key, 0)
        job, _, part = rest.partition(".")
        entry = self._entries.get(JobId(job))
        if entry is None:
            return 0
        return entry.parts.revisions.get(part, 0) if part else entry.revision

    def _entry(self, job: JobId) -> JobEntry:
        known = self._entries.get(job)
        if known is None:
            known = self._entries[job] = JobEntry(job, self._shelf)
        return known

    def _apply_job(self, record: JobRecord, revision: int) -> None:
        entry = self._entry(record.id)
        if entry.record is not None and entry.record.version != record.version:
            self.reasons.pop(record.id, None)  # why an earlier version had to wait is not why this one does
            self.pending.renew(record.id)
        entry.parts.record, entry.revision = record, revision
        if record.first is not None:
            entry.parts.specs[1] = record.first
        self.endings.note_record(record)
        self._names.note(record)
        if self._loading is None:
            self._refresh(entry)
        else:
            self._loading[entry.id] = entry
            if len(self._loading) > MOST_LOADING:
                self.begin_loading()

    def _apply_execution(self, key: str, record: ExecutionRecord, revision: int) -> None:
        _, job, part = key.split(".", 2)
        entry = self._entry(JobId(job))
        key = f"{job}.{part}"
        known = entry.parts.executions.get(key)
        if known is not None:
            self.execution_states[known.state] -= 1
        self.execution_states[record.state] += 1
        entry.parts.executions[key] = record
        entry.parts.revisions[part] = revision
        self._keys[record.id] = entry.id if len(entry.parts.executions) <= FEW else key
        self.endings.note_execution(record)
        self._note_stray(entry, revision)
        self.on_node(record.node_id)
        live = self.live.setdefault(record.node_id, {})
        if record.state.is_terminal:
            live.pop(record.id, None)
        else:
            live[record.id] = record
        self._refresh_soon(entry, record.modify_time)

    def _refresh_soon(self, entry: JobEntry, modified: int) -> None:
        """At once, or for many changes of a large job together: when somebody asks, or before anything is decided."""
        if len(entry.executions) <= FEW or entry.id not in self.jobs:
            self._refresh(entry)
            return
        entry.modified = max(entry.modified, modified)
        if entry.put_off is None:
            entry.put_off = partial(self._refresh, entry)
            self._put_off[entry.id] = entry
            self.wake.set()

    def find_out(self) -> None:
        """What was put off, before what follows from all jobs is looked at."""
        while self._put_off:
            _, entry = self._put_off.popitem()
            if entry.put_off is not None:
                entry.put_off()

    def begin_loading(self) -> None:
        """From now on much is read at once, and nobody looks: what follows from a job is found out once, not twice."""
        self.end_loading()
        self._loading = {}

    def end_loading(self) -> None:
        left, self._loading = self._loading or {}, None
        for entry in left.values():
            self._refresh(entry)

    def _refresh(self, entry: JobEntry) -> None:
        entry.put_off = None
        if not entry.is_complete or self._entries.get(entry.id) is not entry:
            return
        if self._loading:
            self._loading.pop(entry.id, None)
        job = entry.id
        entry.refresh(max_attempts=self.max_attempts, backoff=self.backoff)
        is_new = job not in self.jobs
        if is_new:
            self.jobs[job] = entry
            self._names.put(job)
        self.lists.put(entry, is_new=is_new)
        if entry.progress.missing:
            self._queue(entry)
        else:
            self.pending.drop(job)
            self.waiting.drop(job)
            self.reasons.pop(job, None)
        if entry.progress.surplus:
            self.surplus[job] = None
        else:
            self.surplus.pop(job, None)
        self._count(entry)
        self._limit(entry)
        self.note_ending(entry)
        self.wake.set()

    def _queue(self, entry: JobEntry) -> None:
        """Have it placed as far as its parts wait neither after a failed attempt nor for others to end."""
        job, progress = entry.id, entry.progress
        if not progress.missing:  # found out just now, and done what follows from it
            return
        later = [at for at in progress.waits.values() if not self.is_due(entry, at)] if progress.waits else ()
        has_due = len(later) < len(progress.missing)
        if has_due and progress.room:
            self.pending.put(job, priority=entry.job.priority, shape=shape_of(entry.spec, entry.refusals))
        else:
            self.pending.drop(job)
            self.reasons[job] = _waits_for_others(entry) if has_due else waits_until(min(later))
        if later:
            self.waiting.put(job, min(later))
        else:
            self.waiting.drop(job)

    def release(self, now: int) -> None:
        """Have those parts placed that have waited for long enough after a failed attempt."""
        was_set_back, self.released = now < self.released or not self.released, now
        if was_set_back:  # what would wait for too long is not the first in the order of time
            for job in self.waiting.take(len(self.waiting), before=sys.maxsize):
                self._queue(self.jobs[job])
        for job in self.waiting.take(len(self.waiting), before=now):
            self._queue(self.jobs[job])

    def is_due(self, entry: JobEntry, at: int) -> bool:
        """Whether what of this job waits until then is placed now.

        Who led before may have had a clock that was ahead: nothing waits for longer than the longest wait.
        """
        if at <= self.released:
            return True
        longest = self.backoff.longest_seconds(entry.spec.task.retries)
        return 0 < self.released < at - longest * 1e9

    def note_ending(self, entry: JobEntry) -> None:
        """Put the job where it belongs in the order of ends, out of which it may have been taken."""
        if entry.progress.state.is_terminal:
            self.endings.note_progress(entry.job, entry.progress, entry.executions.values(), len(entry.specs))
        else:
            self.endings.drop(entry.id)

    def _note_stray(self, entry: JobEntry, revision: int) -> None:
        if entry.record is None:
            self.endings.strays[entry.id] = revision

    # ---- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, key: str, revision: int) -> None:
        """Take in that a record was removed; `revision` is that of the mark that it left."""
        if (self.revision_of(key) or revision) >= revision:
            return
        kind, _, rest = key.partition(".")
        match kind:
            case "job":
                self._forget_job(JobId(rest))
            case "spec":
                self._forget_spec(JobId(rest.partition(".")[0]), rest.partition(".")[2])
            case "execution":
                self._forget_execution(JobId(rest.partition(".")[0]), rest)
            case _:
                del self._revisions[key]
                self._forget_other(kind, rest)

    def _forget_other(self, kind: str, rest: str) -> None:
        """Names are known by their job records."""
        if kind == "node":
            self.nodes.pop(NodeId(rest), None)
            self.on_node(NodeId(rest))
        elif kind == "binding":
            self.bindings.pop(NodeId(rest), None)
            self.rejected.pop(NodeId(rest), None)

    def keep_only(self, keys: AbstractSet[str], up_to: int) -> None:
        """Take in that of all records up to this revision these alone are left: marks of the others may be gone too."""
        for key in [each for each, revision in self._all_revisions() if revision <= up_to and each not in keys]:
            self.forget(key, up_to + 1)

    def _all_revisions(self) -> Iterator[tuple[str, int]]:
        yield from self._revisions.items()
        for job, entry in self._entries.items():
            if entry.revision:
                yield subjects.job_record(job), entry.revision
            for part, revision in entry.parts.revisions.items():
                is_spec = part.isdecimal()
                yield subjects.spec_record(job, int(part)) if is_spec else f"execution.{job}.{part}", revision

    def _forget_job(self, job: JobId) -> None:
        self._withdraw(job)
        entry = self._entries[job]
        entry.revision = 0
        parts = entry.parts
        parts.record = None  # that of the first version has gone with the record
        parts.specs = {version: spec for version, spec in parts.specs.items() if str(version) in parts.revisions}
        self.endings.removals.pop(job, None)
        self._drop_if_empty(entry)

    def _forget_spec(self, job: JobId, version: str) -> None:
        known = self._entries[job]
        if known.record is None or known.job.version == int(version):
            self._withdraw(job)
        entry = self._entries[job]
        entry.parts.revisions.pop(version, None)
        entry.parts.specs.pop(int(version), None)
        entry.parts.keeps.pop(int(version), None)
        replaced = entry.parts.replaced.pop(int(version), None)
        if replaced is not None:
            self._names.forget_token(job, entry.namespace, replaced.token)
        self._refresh(entry)
        self._drop_if_empty(entry)

    def _forget_execution(self, job: JobId, key: str) -> None:
        entry = self._entries[job]
        record = entry.parts.executions.pop(key)
        entry.parts.revisions.pop(key.partition(".")[2], None)
        self.execution_states[record.state] -= 1
        self._keys.pop(record.id, None)
        self.endings.uploads.pop(record.id, None)
        self.on_node(record.node_id)
        live = self.live.get(record.node_id, {})
        live.pop(record.id, None)
        if not live:
            self.live.pop(record.node_id, None)
        self._refresh_soon(entry, 0)
        self._drop_if_empty(entry)

    def _withdraw(self, job: JobId) -> None:
        """It is not a job any more that anybody sees."""
        entry = self.jobs.pop(job, None)
        if entry is None:
            return
        self._names.drop(job, entry.namespace, entry.job.name, [token for _, token, _ in entry.uses()])
        if entry.counted is not None:
            self.job_states[entry.counted] -= 1
        self.lists.drop(entry)
        self._put_off.pop(job, None)
        self.pending.drop(job)
        self.waiting.drop(job)
        self.surplus.pop(job, None)
        self.reasons.pop(job, None)
        self.oldest.drop(job)
        self.deadlines.drop(job)
        self.endings.drop(job)
        self._entries[job] = entry.rest()
        self._notify(job)

    def _drop_if_empty(self, entry: JobEntry) -> None:
        if entry.record is not None:
            return
        if entry.specs or entry.executions:
            self.endings.strays[entry.id] = self.followed
        else:
            self.endings.strays.pop(entry.id, None)
            del self._entries[entry.id]

    def stored_parts(self, job: JobId) -> tuple[str, ...]:
        """The keys of all that is stored of a job but for its record: its executions, its name, its versions."""
        entry = self._entries.get(job)
        if entry is None:
            return ()
        keys = [subjects.execution_record(each) for each in entry.executions]
        if entry.record is not None and entry.record.name:
            keys.append(subjects.name_record(entry.record.namespace, entry.record.name))
        keys += [subjects.spec_record(job, version) for version in entry.specs]
        return tuple(key for key in keys if self.revision_of(key))

    def stored_job(self, job: JobId) -> JobEntry | None:
        """The job, also where a part of it is gone."""
        return self._entries.get(job)

    def _count(self, entry: JobEntry) -> None:
        job, state = entry.id, entry.progress.state
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

    def _limit(self, entry: JobEntry) -> None:
        deadline = None if entry.progress.state.is_terminal else entry.deadline
        if deadline is None:
            self.deadlines.drop(entry.id)
        else:
            self.deadlines.put(entry.id, deadline)

    def settle(self, revision: int) -> None:
        """Take in that everything is known that was ever recorded up to this revision, and tell who waits for it."""
        self.settled = max(self.settled, revision)
        if self._unsettled:
            for job in self._unsettled:
                self._notify(job)
            self._unsettled.clear()

    def hear(self, key: str, revision: int) -> None:
        """Take in that whoever follows all records has come to this one: its job has news once that is settled."""
        if revision > self.settled and self._loading is None:
            kind, _, rest = key.partition(".")
            if kind in _KINDS_OF_JOBS:
                self._unsettled[JobId(rest.partition(".")[0])] = None

    def explain(self, job: JobId, reason: str) -> None:
        """Remember why this pending job has to wait."""
        if self.reasons.get(job) != reason and job in self.jobs:
            self.reasons[job] = reason
            self._count(self.jobs[job])
            self._notify(job)

    def unexplain(self, job: JobId) -> None:
        """Forget why this job had to wait."""
        if self.reasons.pop(job, None) is not None:
            self._count(self.jobs[job])

    def _notify(self, job: JobId) -> None:
        if self.changed is not None:
            self.changed[job] = None
            self.any_change.set()
        for event in self._watchers.get(job, ()):
            event.set()

    # ---- reading ------------------------------------------------------------------------------------------------

    def execution(self, execution: ExecutionId) -> ExecutionRecord | None:
        known = self._keys.get(execution, "")
        job, _, is_key = known.partition(".")
        entry = self._entries.get(JobId(job))
        if entry is None:
            return None
        return entry.executions.get(known) if is_key else entry.execution(execution)

    def is_surplus(self, record: ExecutionRecord) -> bool:
        """Whether it is to be stopped, though its record may not say so yet."""
        entry = self._entries.get(record.job_id)
        return entry is not None and any(each.id == record.id for each in entry.progress.surplus)

    def pending_jobs(self, blocked: Container[object] = ()) -> Iterator[tuple[JobId, JobEntry]]:
        """Jobs with partitions that are not executed yet: the most urgent first, then the oldest.

        Those whose shape is `blocked` by the time that it is their turn are left out.
        """
        self.find_out()  # now, so that nothing changes its place while this is read
        for job in self.pending.walk(blocked):
            yield job, self.jobs[job]

    def named(self, namespace: str, name: str) -> JobId | None:
        known = self._names.named(namespace, name)
        if known is not None:
            return known
        entry = self.jobs.get(JobId(name))
        return entry.id if entry is not None and (entry.namespace, entry.job.name) == (namespace, name) else None

    def of_token(self, namespace: str, token: str) -> JobEntry | None:
        """The job that came of this idempotency token, or a version of it."""
        known = self.jobs.get(new_job_id(token, namespace))
        if known is not None:
            return known
        job = self._names.of_token(namespace, token)
        return self.jobs.get(job) if job is not None else None

    def find(self, text: str, namespace: str = "default") -> JobEntry:
        """A job by id, by name in the namespace, or by the beginning of an id, if only one job is called that.

        No name can take the place of an id. Raises JobNotFound or JobAmbiguous.
        """
        if JobId(text) in self.jobs:
            return self.jobs[JobId(text)]
        found, named = self._names.begun_with(text), self._names.named(namespace, text)
        if named is not None and named in self.jobs:
            found.add(named)
        if not found:
            raise JobNotFound(text, self._near(text, namespace))
        if len(found) > 1:
            raise JobAmbiguous(text, len(found))
        return self.jobs[found.pop()]

    def _near(self, text: str, namespace: str) -> tuple[str, ...]:
        """Names of jobs that may have been meant; of those that begin alike, the newest."""
        newest = (entry.name for entry in self.lists.find(namespace))
        return near_names(text, lambda name: self._names.named(namespace, name) in self.jobs, newest)

    def watch(self, job: JobId) -> "Watch":
        """A context in which `changed()` waits for the next change of this job."""
        return Watch(self._watchers, job)

    def __repr__(self) -> str:
        return f"<Model of {len(self.jobs)} jobs and {len(self.nodes)} nodes>"


def _waits_for_others(entry: JobEntry) -> str:
    return f"Waiting for one of its {entry.spec.max_parallel} parts to end that may run at once (MaxParallel)."
