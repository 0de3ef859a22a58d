"""The model: what the orchestrator knows. All stored records in memory, with the indexes that decisions and reads need.

It is fed by the store, with what this process writes and with what others write, and applies each record's newest
revision once. Nothing here awaits, so that whoever reads sees one consistent state.
"""

import asyncio
from collections.abc import Container, Iterator
from functools import partial

from orchestrator.rules.attempts import NO_BACKOFF, AttemptBackoff
from orchestrator.rules.joining.key_lives import owned
from orchestrator.rules.records import (
    BackupRecord,
    BindingRecord,
    DataRecord,
    ExecutionRecord,
    IncarnationRecord,
    JobRecord,
    NameRecord,
    NamespaceRecord,
    NodeKeysRecord,
    NodeRecord,
    Record,
    ResultsRecorded,
    SecretRecord,
    SpecRecord,
    SpentRecord,
    SweepRecord,
    TokenRecord,
    UserRecord,
    WebhooksRecord,
)
from orchestrator.state.backlog import Backlog
from orchestrator.state.ended_jobs import EndedJobs
from orchestrator.state.event_numbers import numbered
from orchestrator.state.execution_index import ExecutionIndex
from orchestrator.state.filing.filing import AT_ONCE, Filing
from orchestrator.state.filing.folded_job import FEW
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.filing.known_jobs import RECENT, KnownJobs
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_lists import JobLists
from orchestrator.state.job_names import JobNames
from orchestrator.state.job_records import revisions_of
from orchestrator.state.namespaces import Namespaces
from orchestrator.state.news import News
from orchestrator.state.schedules import Schedules
from orchestrator.state.sent_data import SentData
from orchestrator.state.sessions.spent import Spent
from orchestrator.state.stored_secrets import StoredSecrets
from orchestrator.state.throughput import Throughput
from orchestrator.state.users import Users
from shared.ids import ExecutionId, JobId, NodeId
from shared.protocol import subjects

__all__ = ["FEW", "JobEntry", "Model"]

MOST_LOADING = 4096
"""How many jobs may wait for their executions while all is read: none of them is packed."""

_KINDS_OF_JOBS = frozenset({"job", "spec", "execution"})


class Model:
    """What is public here is changed here alone, but for what says otherwise, and read by all.

    Jobs that have ended are filed in `index`, so many at once, of which the `recent` ones stay in memory as well.
    """

    def __init__(
        self,
        *,
        max_attempts: int,
        backoff: AttemptBackoff = NO_BACKOFF,
        index: JobIndex | None = None,
        recent: int = RECENT,
        filed_at_once: int = AT_ONCE,
    ) -> None:
        filed = index or JobIndex()
        #: The index of filed jobs. Changed by filing alone.
        self.filed = filed
        #: Every job of which record and newest specification are there, also those that are filed.
        self.jobs = KnownJobs(filed, self._put_away, recent=recent)
        #: What each registered node said of itself last, and what users say about it.
        self.nodes: dict[NodeId, NodeRecord] = {}
        #: Which public key each node id belongs to, and what is allowed to it.
        self.bindings: dict[NodeId, BindingRecord] = {}
        #: Which keys each node id has had, and when, also of nodes that were deleted.
        self.keys: dict[NodeId, NodeKeysRecord] = {}
        #: Join tokens by their ids, also those that let nobody in any more.
        self.tokens: dict[str, TokenRecord] = {}
        #: The bindings of nodes that an operator has rejected.
        self.rejected: dict[NodeId, BindingRecord] = {}
        #: Who may use the APIs, and by which keys they are known.
        self.users = Users()
        #: Sessions and links that are good no more.
        self.spent = Spent()
        #: Executions by their ids, by the nodes on which they are placed, and by their states.
        self.executions = ExecutionIndex(filed)
        #: What the executions of each namespace hold, and what it has a right to.
        self.namespaces = Namespaces()
        #: Secrets of tasks, as they are stored.
        self.secrets = StoredSecrets()
        #: Data that people have sent for the inputs of jobs.
        self.data = SentData()
        #: When the last backup was taken; 0 where it is not known that there is one.
        self.backed_up = 0
        #: Which incarnation of the state this is; empty where it was never restored.
        self.incarnation = ""
        #: Whether the state is being restored: not all of it is there yet.
        self.unfinished = False
        #: The revision up to which all was fed in order: an older record that is not known has been removed.
        self.followed = 0
        #: Jobs in the orders in which they are listed.
        self.lists = JobLists(filed)
        #: Which job is meant by a name, the beginning of an id, or an idempotency token.
        self.names = JobNames(self.jobs, self.lists, filed)
        #: Who waits for changes of jobs.
        self.news = News()
        #: What has happened to jobs since the start, in numbers.
        self.throughput = Throughput()
        #: What the leader has to do about jobs.
        self.backlog = Backlog(self.jobs, self.news, self.throughput, backoff=backoff)
        #: Which jobs are schedules, and which are runs of them.
        self.schedules = Schedules(self.jobs)
        #: Which jobs have ended, and what of them waits to be cleared away.
        self.endings = EndedJobs(filed, self._hold)
        #: Set by whoever has changed what follows for jobs or nodes; cleared by the scheduler, before it looks.
        self.wake = asyncio.Event()
        #: How often a part is tried, where its failure is worth another try.
        self.max_attempts = max_attempts
        self._backoff = backoff
        #: Of all records that belong to no job.
        self._revisions: dict[str, int] = {}
        #: Every job in memory of which anything is stored, also where a part of it is missing.
        self._entries: dict[JobId, JobEntry] = {}
        self._filing = Filing(
            index=filed,
            jobs=self.jobs,
            names=self.names,
            lists=self.lists,
            endings=self.endings,
            executions=self.executions,
            entries=self._entries,
            revisions=self._revisions,
            on_held=self.note_ending,
            at_once=filed_at_once,
        )
        #: Jobs about which it is to be found out yet what follows from their records.
        self._put_off: dict[JobId, JobEntry] = {}
        #: Jobs whose record is there and whose executions may be on their way, while all that is stored is read.
        self._loading: dict[JobId, JobEntry] | None = None

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
        if self._filing.is_due:
            self._filing.file_due()
        match record:
            case JobRecord():
                self._filing.note(record.id, key)
                self._apply_job(numbered(record, revision), revision)
            case SpecRecord():
                _, name, version = key.split(".")
                self._filing.note(JobId(name), key)
                entry = self._entry(JobId(name))
                entry.records.specs[int(version)] = record.job
                if record.replaced is not None:
                    entry.records.replaced[int(version)] = record.replaced
                    self.names.note_token(entry.id, record.job.namespace, record.replaced.token)
                if record.keeps:
                    entry.records.keeps[int(version)] = record.keeps
                if record.inputs:
                    entry.records.inputs[int(version)] = record.inputs
                if record.needs:
                    entry.records.needs[int(version)] = record.needs
                entry.records.revisions[version] = revision
                self._note_stray(entry, revision)
                self._refresh(entry)
            case ExecutionRecord():
                self._apply_execution(key, numbered(record, revision), revision)
            case _:
                self._filing.hold_name(key)
                self._filing.note_other(key, record)
                self._revisions[key] = revision
                self._apply_other(key, record)

    def _apply_other(self, key: str, record: Record) -> None:
        match record:
            case NodeRecord():
                self.nodes[record.info.node_id] = record
                self.news.on_node(record.info.node_id)
                self.wake.set()
            case BindingRecord() | NodeKeysRecord():
                self._apply_keys(NodeId(key.partition(".")[2]), record)
            case UserRecord():
                self.users.put(record)
            case TokenRecord():
                self.tokens[record.id] = record
            case SpentRecord():
                self.spent.put(record.id, record.expires)
            case NamespaceRecord():
                self.namespaces.put(record)
            case SecretRecord():
                self.secrets.put(key, record)
            case DataRecord():
                self.data.put(record)
            case IncarnationRecord():
                self.incarnation, self.unfinished = record.incarnation, record.unfinished
            case BackupRecord():
                self.backed_up = record.taken
            case NameRecord() | SweepRecord() | ResultsRecorded() | WebhooksRecord():
                pass  # the latter three are read where they are stored; names are known by their job records
            case _:
                raise TypeError(f"{type(record).__name__} is not stored.")

    def _apply_keys(self, node: NodeId, record: BindingRecord | NodeKeysRecord) -> None:
        if isinstance(record, NodeKeysRecord):
            self.keys[node] = record
        bound = record if isinstance(record, BindingRecord) else self.bindings.get(node)
        if bound is None:
            return
        self.bindings[node] = binding = owned(bound, self.keys.get(node))
        if binding.rejected:
            self.rejected[node] = binding
        else:
            self.rejected.pop(node, None)
        self.news.on_node(node)
        self.wake.set()

    def revision_of(self, key: str) -> int:
        """The revision that an update of this record must name; 0 if there is none."""
        kind, _, rest = key.partition(".")
        if kind not in _KINDS_OF_JOBS:
            return self._revisions.get(key) or self._filing.named_by(key)[1]
        job, _, part = rest.partition(".")
        entry = self._entries.get(JobId(job))
        if entry is None:
            return self._filing.revision_of(JobId(job), part)
        return entry.records.revisions.get(part, 0) if part else entry.revision

    def _entry(self, job: JobId) -> JobEntry:
        known = self._hold(job)
        if known is None:
            known = self._entries[job] = JobEntry(job, self._put_away)
        return known

    def _apply_job(self, record: JobRecord, revision: int) -> None:
        entry = self._entry(record.id)
        if entry.record is not None and entry.record.version != record.version:
            self.backlog.renew(record.id)
        self.throughput.note_job(entry.record, record)
        entry.records.record, entry.revision = record, revision
        if record.first is not None:
            entry.records.specs[1] = record.first
        self.endings.note_record(record)
        self.names.note(record)
        if self._loading is None:
            self._refresh(entry)
        else:
            self._loading[entry.id] = entry
            if len(self._loading) > MOST_LOADING:
                self.begin_loading()

    def _apply_execution(self, key: str, record: ExecutionRecord, revision: int) -> None:
        _, job, part = key.split(".", 2)
        entry = self._entry(JobId(job))
        self._filing.note(entry.id, key)
        key, records = f"{job}.{part}", entry.records
        known = records.executions.get(key)
        self.throughput.note_execution(known, record)
        records.executions[key] = record
        records.revisions[part] = revision
        # A job looks through its executions; of many each is found by its key.
        self.executions.put(record, known, entry.id if len(records.executions) <= FEW else key)
        self.endings.note_execution(record)
        self._note_stray(entry, revision)
        self.news.on_node(record.node_id)
        self._refresh_soon(entry, record.modify_time)

    def _refresh_soon(self, entry: JobEntry, modified: int) -> None:
        """At once, or for many changes of a large job together: when somebody asks, or before anything is decided."""
        if len(entry.executions) <= FEW or entry.id not in self.jobs.live:
            self._refresh(entry)
            return
        entry.modified = max(entry.modified, modified)
        if entry.put_off is None:
            entry.put_off = partial(self._refresh, entry)
            self._put_off[entry.id] = entry
            self.wake.set()

    def find_out(self) -> None:
        """What was put off, before what follows from all jobs is looked at."""
        self._filing.file_due()
        self._filing.save_some()
        while self._put_off:
            _, entry = self._put_off.popitem()
            if entry.put_off is not None:
                entry.put_off()

    def follow(self, revision: int, at: int = 0) -> None:
        """Take in that all was fed up to this revision, which was stored at this nanosecond."""
        self.followed = revision
        self._filing.follow(revision, at)

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
        entry.refresh(max_attempts=self.max_attempts, backoff=self._backoff)
        is_new = job not in self.jobs.live
        if is_new:
            self.jobs.live[job] = entry
            self.names.put(job)
        self.lists.put(entry, is_new=is_new)
        self.namespaces.note(entry)
        self.backlog.note(entry)
        self.schedules.note(entry)
        self.note_ending(entry)
        self.wake.set()

    def note_ending(self, entry: JobEntry) -> None:
        """Put the job where it belongs in the order of ends, out of which it may have been taken."""
        if self._entries.get(entry.id) is not entry:  # it is filed, and in that order
            return
        if entry.progress.state.is_terminal:
            self.endings.note_progress(entry.job, entry.progress, entry.executions.values(), len(entry.specs))
            entry.shelve()
        else:
            self.endings.drop(entry.id)

    def _note_stray(self, entry: JobEntry, revision: int) -> None:
        if entry.record is None:
            self.endings.note_stray(entry.id, revision)

    # ---- forgetting -------------------------------------------------------------------------------------------------

    def forget(self, key: str, revision: int) -> None:
        """Take in that a record was removed; `revision` is that of the mark that it left."""
        if (self.revision_of(key) or revision) >= revision:
            return
        kind, _, rest = key.partition(".")
        if kind in _KINDS_OF_JOBS:
            self._hold(JobId(rest.partition(".")[0]))
            self._filing.note(JobId(rest.partition(".")[0]), key)
        match kind:
            case "job":
                self._forget_job(JobId(rest))
            case "spec":
                self._forget_spec(JobId(rest.partition(".")[0]), rest.partition(".")[2])
            case "execution":
                self._forget_execution(JobId(rest.partition(".")[0]), rest)
            case _:
                self._filing.hold_name(key)
                self._filing.note_other(key, None)
                del self._revisions[key]
                self._forget_other(kind, rest)

    def _forget_other(self, kind: str, rest: str) -> None:
        """Names are known by their job records."""
        if kind == "node":
            self.nodes.pop(NodeId(rest), None)
            self.news.on_node(NodeId(rest))
        elif kind == "binding":
            self.bindings.pop(NodeId(rest), None)
            self.rejected.pop(NodeId(rest), None)
            self.news.on_node(NodeId(rest))
        elif kind == "keys":
            self.keys.pop(NodeId(rest), None)
        elif kind == "user":
            self.users.drop(rest)
        elif kind == "token":
            self.tokens.pop(rest, None)
        elif kind == "spent":
            self.spent.drop(rest)
        elif kind == "namespace":
            self.namespaces.forget(subjects.namespace_of(rest))
        elif kind == "secret":
            self.secrets.drop(f"{kind}.{rest}")
        elif kind == "data":
            namespace, digest = rest.split(".")
            self.data.drop(subjects.namespace_of(namespace), digest)

    def keep_only(self, revisions: Container[int], up_to: int) -> None:
        """Take in that of all revisions up to this one these alone are left: marks of what is gone may be gone too."""
        for key in [key for key, each in self._all_revisions() if each <= up_to and each not in revisions]:
            self.forget(key, up_to + 1)

    def _all_revisions(self) -> Iterator[tuple[str, int]]:
        yield from self._revisions.items()
        for entry in self._entries.values():
            yield from entry.revisions()
        yield from self.filed.name_revisions()
        for job, revision, revisions in self.filed.all_revisions():
            yield from revisions_of(job, revision, revisions)

    def _forget_job(self, job: JobId) -> None:
        self._withdraw(job)
        entry = self._entries[job]
        entry.revision = 0
        records = entry.records
        records.record = None  # that of the first version has gone with the record
        records.specs = {version: spec for version, spec in records.specs.items() if str(version) in records.revisions}
        self.endings.forget_record(job)
        self._drop_if_empty(entry)

    def _forget_spec(self, job: JobId, version: str) -> None:
        known = self._entries[job]
        if known.record is None or known.job.version == int(version):
            self._withdraw(job)
        entry = self._entries[job]
        entry.records.revisions.pop(version, None)
        entry.records.specs.pop(int(version), None)
        entry.records.keeps.pop(int(version), None)
        entry.records.inputs.pop(int(version), None)
        entry.records.needs.pop(int(version), None)
        replaced = entry.records.replaced.pop(int(version), None)
        if replaced is not None:
            self.names.forget_token(job, entry.namespace, replaced.token)
        self._refresh(entry)
        self._drop_if_empty(entry)

    def _forget_execution(self, job: JobId, key: str) -> None:
        entry = self._entries[job]
        record = entry.records.executions.pop(key)
        entry.records.revisions.pop(key.partition(".")[2], None)
        self.executions.drop(record)
        self.endings.forget_execution(record.id)
        self.news.on_node(record.node_id)
        self._refresh_soon(entry, 0)
        self._drop_if_empty(entry)

    def _withdraw(self, job: JobId) -> None:
        """It is not a job any more that anybody sees."""
        entry = self.jobs.live.pop(job, None)
        if entry is None:
            return
        self.names.drop(job, entry.namespace, entry.job.name, [token for _, token, _ in entry.uses()])
        self.lists.drop(entry)
        self._put_off.pop(job, None)
        self.namespaces.drop(entry)
        self.backlog.drop(entry)
        self.schedules.drop(job)
        self.endings.drop(job)
        self._entries[job] = entry.rest()
        self.news.tell(job)
        self.wake.set()  # others may have waited for it

    def _drop_if_empty(self, entry: JobEntry) -> None:
        if entry.record is not None:
            return
        if entry.specs or entry.executions:
            self.endings.note_stray(entry.id, self.followed)
        else:
            self.endings.forget_stray(entry.id)
            del self._entries[entry.id]

    # ---- filing -----------------------------------------------------------------------------------------------------

    def _put_away(self, entry: JobEntry) -> None:
        self._filing.put_away(entry)

    def _hold(self, job: JobId) -> JobEntry | None:
        """A job in memory, to be changed; None where nothing of it is stored."""
        return self._filing.hold(job)

    def keep_up(self, stream: str) -> None:
        """Everything of this stream was read: from now on the index says up to where it has all, for the next start."""
        self._filing.keep_up(stream)

    def distrust(self) -> None:
        """Something is stored that is not known here: whoever starts next has to read everything."""
        self._filing.distrust()

    def save(self) -> None:
        """At the end: have all that is known in the index, for the next start."""
        self.find_out()
        self._filing.save()

    def resume(self) -> None:
        """Take in what an earlier process has left in the index, but for what is kept there (`JobIndex.kept`)."""
        for state, count in self.filed.adopt().items():
            self.backlog.job_states[state] += count
        self.executions.states.update(self._filing.resume())
        for job in self.filed.noted():
            entry = self.jobs[job]
            for execution in entry.executions.values():
                self.endings.note_execution(execution)
            if entry.needs:
                self.backlog.chains.note(entry)
            self.schedules.note(entry)

    def resumed(self) -> None:
        """Take in that what was kept in the index was fed: all is as it was when that was written."""
        saved = self.filed.saved
        assert saved is not None
        self._filing.resumed()
        self.follow(saved.followed, saved.followed_at)

    # ---- what is left ------------------------------------------------------------------------------------------------

    def stored_parts(self, job: JobId) -> tuple[str, ...]:
        """The keys of all that is stored of a job but for its record: its executions, its name, its versions."""
        entry = self.stored_job(job)
        if entry is None:
            return ()
        keys = [subjects.execution_record(each) for each in entry.executions]
        if entry.record is not None and entry.record.name:
            keys.append(subjects.name_record(entry.record.namespace, entry.record.name))
        keys += [subjects.spec_record(job, version) for version in entry.specs]
        return tuple(key for key in keys if self.revision_of(key))

    def stored_job(self, job: JobId) -> JobEntry | None:
        """The job, also where a part of it is gone."""
        return self._entries.get(job) or self.jobs.get(job)

    def hear(self, key: str, revision: int) -> None:
        """Take in that whoever follows all records has come to this one: its job has news once that is settled."""
        if revision > self.news.settled and self._loading is None:
            kind, _, rest = key.partition(".")
            if kind in _KINDS_OF_JOBS:
                self.news.hear(JobId(rest.partition(".")[0]), revision)

    # ---- reading ------------------------------------------------------------------------------------------------

    def execution(self, execution: ExecutionId) -> ExecutionRecord | None:
        known = self.executions.place_of(execution)
        job, _, is_key = known.partition(".")
        entry = self.stored_job(JobId(job)) if known else None
        if entry is None:
            return None
        return entry.executions.get(known) if is_key else entry.execution(execution)

    def serves(self, node: NodeId, namespace: str) -> bool:
        """Whether the node may be given jobs of this namespace, or be known to whoever sees that alone."""
        binding = self.bindings.get(node)
        return binding is None or binding.serves(namespace)

    def owner_of(self, node: NodeId) -> str:
        """Whose the node is; empty where nobody was named."""
        binding = self.bindings.get(node)
        return binding.owner if binding is not None else ""

    def may_hold(self, record: ExecutionRecord) -> bool:
        """Whether the node of this execution may know of it, by what is allowed to the node now."""
        binding = self.bindings.get(record.node_id)
        if binding is None or not (binding.namespaces or binding.unapproved):
            return True
        entry = self.stored_job(record.job_id)
        return not binding.unapproved and entry is not None and binding.serves(entry.namespace)

    def is_surplus(self, record: ExecutionRecord) -> bool:
        """Whether it is to be stopped, though its record may not say so yet."""
        entry = self._entries.get(record.job_id)  # of a filed job nothing runs
        return entry is not None and any(each.id == record.id for each in entry.progress.surplus)

    def pending_jobs(self, blocked: Container[object] = ()) -> dict[str, Iterator[JobEntry]]:
        """Of each namespace the jobs with partitions that are not executed yet: the most urgent first, then the oldest.

        Those whose shape is `blocked` by the time that it is their turn are left out.
        """
        self.find_out()  # now, so that nothing changes its place while this is read
        lines = self.backlog.pending.lines(blocked)
        return {namespace: map(self.jobs.__getitem__, line) for namespace, line in lines.items()}

    def __repr__(self) -> str:
        return f"<Model of {len(self.jobs)} jobs and {len(self.nodes)} nodes>"
