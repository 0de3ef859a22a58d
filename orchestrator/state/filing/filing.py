"""Filing: jobs that have ended leave the memory for the index on disk, and come back to be changed.

A job is filed as soon as some others are that have ended. Those that were filed or read last stay in memory as well
(orchestrator/state/filing/known_jobs.py). What changes a job takes it back first; so a filed job does not change.
"""

from orchestrator.state.ended_jobs import EndedJobs
from orchestrator.state.execution_index import ExecutionIndex
from orchestrator.state.filing.folded_job import UNTIED, FoldedJob, Tie, folded, places_of
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.filing.known_jobs import KnownJobs
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_lists import JobLists
from orchestrator.state.job_names import JobNames
from shared.ids import JobId
from shared.protocol import subjects

AT_ONCE = 128
"""So many jobs are filed together: half of what one costs by itself, and nobody has to wait for long."""
MOST_AT_ONCE = 256
"""The same where more wait, as after a time in which the file could not be written."""

_NAMES = "name."


class Filing:
    """The model's, of whose parts it changes what follows; `entries` and `revisions` are its own of those in memory."""

    def __init__(
        self,
        *,
        index: JobIndex,
        jobs: KnownJobs,
        names: JobNames,
        lists: JobLists,
        endings: EndedJobs,
        executions: ExecutionIndex,
        entries: dict[JobId, JobEntry],
        revisions: dict[str, int],
        at_once: int = AT_ONCE,
    ) -> None:
        self._index = index
        self._jobs = jobs
        self._names = names
        self._lists = lists
        self._endings = endings
        self._executions = executions
        self._entries = entries
        self._revisions = revisions
        self._at_once = at_once
        #: Jobs that have ended, to be filed together with others.
        self._due: dict[JobId, JobEntry] = {}
        self._may_try = True

    # ---- out of memory ----------------------------------------------------------------------------------------------

    def put_away(self, entry: JobEntry) -> None:
        """It has ended. That may be found in the middle of a change, so it is filed before the next one."""
        if self._jobs.live.get(entry.id) is entry:
            self._due[entry.id] = entry
        else:
            entry.leave_shelf()

    @property
    def is_due(self) -> bool:
        return len(self._due) >= self._at_once and self._may_try

    def file_due(self) -> None:
        """File some, if there are enough; where the index cannot be written, they stay."""
        self._may_try = True
        while self.is_due:
            self._file_some()

    def _file_some(self) -> None:
        entries, jobs = [], []
        for entry in list(self._due.values())[:MOST_AT_ONCE]:
            job = self._folded(entry)
            if job is None:
                self._leave_be(entry)
            else:
                entries.append(entry)
                jobs.append(job)
        if not jobs:
            return
        if self._index.write(jobs):
            for entry, job in zip(entries, jobs, strict=True):
                self._forget(entry, job)
        else:
            self._may_try = False
            for entry in entries:
                entry.pack()

    def _leave_be(self, entry: JobEntry) -> None:
        """It is filed once it has changed, or somebody has looked at it."""
        del self._due[entry.id]
        entry.leave_shelf()
        if self._jobs.live.get(entry.id) is entry:
            entry.pack()

    def _folded(self, entry: JobEntry) -> FoldedJob | None:
        """None where something is to be done about the job, now or soon."""
        job, endings = entry.id, self._endings
        may_go = (
            self._jobs.live.get(job) is entry
            and endings.ended.instant_of(job) == entry.modified
            and job not in endings.crowded
            and (entry.is_packed or entry.is_quiet)
        )
        if not may_go:
            return None
        return folded(entry, published=endings.published.instant_of(job) is not None, tie=self._tie(entry))

    def _tie(self, entry: JobEntry) -> Tie:
        if entry.name == entry.id:
            return UNTIED
        key = subjects.name_record(entry.namespace, entry.name)
        is_named = self._names.leads_to(entry.id, entry.namespace, entry.name)
        return Tie(key, self._revisions.get(key, 0), is_named)

    def _forget(self, entry: JobEntry, job: FoldedJob) -> None:
        del self._due[job.id], self._entries[job.id]
        entry.leave_shelf()
        self._jobs.let_go(entry)
        if job.tie.key:
            self._revisions.pop(job.tie.key, None)
        self._names.drop(job.id, job.namespace, job.name, job.tokens)
        self._lists.drop(entry)
        self._endings.drop(job.id)
        for execution, _ in job.executions:
            self._executions.file(execution)

    # ---- into memory ------------------------------------------------------------------------------------------------

    def hold(self, job: JobId) -> JobEntry | None:
        """A job in memory, to be changed; None where nothing of it is stored."""
        known = self._entries.get(job)
        if known is not None:
            return known
        entry = self._jobs.filed(job)
        if entry is None:
            return None
        key = subjects.name_record(entry.namespace, entry.name) if entry.name != job else ""
        is_named = self._names.named(entry.namespace, entry.name) == job != entry.name
        named_by, revision = self.named_by(key)
        self._jobs.take_back(entry)
        self._entries[job] = entry
        if named_by == job:
            self._revisions[key] = revision
        self._names.take_back(entry, is_named=is_named)
        self._lists.put(entry, is_new=True)
        for execution, place in places_of(job, entry.records):
            self._executions.take_back(execution, place)
        return entry

    def named_by(self, key: str) -> tuple[JobId | None, int]:
        """Which filed job is called so, and the revision of the record by which it is; 0 where there is none."""
        if not key.startswith(_NAMES) or not self._index.count:
            return None, 0
        try:
            name = subjects.name_of(key)
        except ValueError:  # it was not written by Tarpon
            return None, 0
        return self._index.with_name_record(*name) or (None, 0)

    def hold_name(self, key: str) -> None:
        """Have the job in memory with which the record of a name is kept."""
        if key not in self._revisions:
            job, _ = self.named_by(key)
            if job is not None:
                self.hold(job)

    def revision_of(self, job: JobId, part: str) -> int:
        """Of a record of a filed job, or of what follows its id in a key; 0 where it is not filed."""
        recent = self._jobs.recent(job)
        if recent is None:
            return self._index.revision_of(job, part)
        return recent.records_at_hand.revisions.get(part, 0) if part else recent.revision

    def __repr__(self) -> str:
        return f"<Filing of {len(self._due)} jobs, {self._index!r}>"
