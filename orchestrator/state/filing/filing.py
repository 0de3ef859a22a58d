"""Filing: jobs that have ended leave the memory for the index on disk, and come back to be changed.

A job is filed as soon as some others are that have ended. Those that were filed or read last stay in memory as well
(orchestrator/state/filing/known_jobs.py). What changes a job takes it back first; so a filed job does not change.

The file has all other records too, as they were some seconds ago, and says up to which revision it has everything: so
whoever starts next reads from NATS what has changed since.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from orchestrator.rules.records import NameRecord, Record
from orchestrator.state.ended_jobs import EndedJobs
from orchestrator.state.execution_index import ExecutionIndex
from orchestrator.state.filing.folded_job import UNTIED, FoldedJob, Tie, folded, places_of, states_of
from orchestrator.state.filing.index_file import SavedPlace
from orchestrator.state.filing.job_index import JobIndex, Writing
from orchestrator.state.filing.known_jobs import KnownJobs
from orchestrator.state.filing.unsaved import KeptRecords, Unsaved
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.job_lists import JobLists
from orchestrator.state.job_names import JobNames
from shared.ids import JobId
from shared.jobs.states import ExecutionState
from shared.protocol import subjects

_log = logging.getLogger(__name__)

AT_ONCE = 128
"""So many jobs are filed together: half of what one costs by itself, and nobody has to wait for long."""
MOST_AT_ONCE = 1024
"""The same while all that is stored is read, and where more wait, as when the file could not be written."""

SAVE_SECONDS = 5.0
"""How often the file is brought up to date where nothing is filed."""

_NAMES = "name."


class Filing:
    """The model's, of whose parts it changes what follows; `entries` and `revisions` are its own of those in memory.

    `on_held` is told of each job that is in memory again.
    """

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
        on_held: Callable[[JobEntry], None],
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
        self._on_held = on_held
        self._at_once = at_once
        self._at_once_reading = MOST_AT_ONCE if at_once == AT_ONCE else at_once
        #: Jobs that have ended, to be filed together with others.
        self._due: dict[JobId, JobEntry] = {}
        self._may_try = True
        self._unsaved = Unsaved()
        #: Up to which revision of which stream everything is known, and when that was stored; the stream is not named
        #: before all was read once, and never where something could not be read.
        self._stream, self._followed, self._followed_at = "", 0, 0
        self._is_trusted = True
        self._is_resuming = False
        self._saved_at = 0.0
        self._saved = 0
        self._states: Counter[ExecutionState] = Counter()

    # ---- out of memory ----------------------------------------------------------------------------------------------

    def put_away(self, entry: JobEntry) -> None:
        """It has ended. That may be found in the middle of a change, so it is filed before the next one."""
        if self._jobs.live.get(entry.id) is entry:
            self._due[entry.id] = entry
        else:
            entry.leave_shelf()

    @property
    def is_due(self) -> bool:
        at_once = self._at_once if self._stream else self._at_once_reading
        return len(self._due) >= at_once and self._may_try and not self._is_resuming

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
        if self._write(jobs):
            for entry, job in zip(entries, jobs, strict=True):
                self._forget(entry, job)
        else:
            self._may_try = False
            for entry in entries:
                entry.pack()

    # ---- the file -------------------------------------------------------------------------------------------------

    def note(self, job: JobId, key: str) -> None:
        """A record of a job has changed, or was removed."""
        self._unsaved.note(job, key)

    def note_other(self, key: str, record: Record | None) -> None:
        """A record of no job has changed; None where it was removed."""
        self._unsaved.others[key] = record

    def follow(self, revision: int, at: int) -> None:
        """Everything is known up to this revision, which was stored at this nanosecond."""
        self._followed, self._followed_at = revision, at

    def keep_up(self, stream: str) -> None:
        """From now on the file says up to where it has everything of this stream."""
        self._stream = stream

    def distrust(self) -> None:
        """Something is stored that is not known here: whoever starts next has to read everything."""
        self._is_trusted = False
        self._index.distrust()

    def save_some(self) -> None:
        """Bring the file up to date, if that was not done for a while."""
        now = time.monotonic()
        is_behind = self._unsaved or self._index.left or self._followed > self._saved
        if self._stream and is_behind and now - self._saved_at >= SAVE_SECONDS:
            self._saved_at = now
            self._write(())

    def save(self) -> None:
        """Bring the file up to date, at the end."""
        while self._stream and self._write(()) and self._unsaved:
            continue

    def resume(self) -> Counter[ExecutionState]:
        """The states of the executions of jobs that an earlier process has filed."""
        assert self._index.saved is not None
        self._is_resuming = True  # nothing is filed before all of it is there
        self._states.update(self._index.saved.states)
        return self._states

    def resumed(self) -> None:
        """All that was kept is in memory, and in the file."""
        self._is_resuming = False
        self._unsaved.kept_jobs.update(self._unsaved.jobs)
        self._unsaved.clear()

    def _write(self, jobs: Iterable[FoldedJob]) -> bool:
        """File these jobs, and save what else has changed, as far as it is not too much at once."""
        filed, unsaved = list(jobs), self._unsaved
        own, names = {job.id for job in filed}, {job.tie.key for job in filed} - {""}
        # Before all is read, most of what has changed is of jobs that will be filed.
        changed = unsaved.some_jobs(own) if self._stream else []
        others = unsaved.some_others() if self._stream else []
        found = self._kept(changed, [key for key in others if key not in names])
        gone = own.union(changed)
        is_all = len(changed) + len(own.intersection(unsaved.jobs)) == len(unsaved.jobs)
        is_all = is_all and len(others) == len(unsaved.others)
        writing = Writing(
            jobs=filed,
            gone=[job for job in self._index.left if job in gone],
            kept=found.kept,
            lost=[*found.lost, *(("", key) for key in names)],
            unkept=[*found.unkept, *own.intersection(unsaved.kept_jobs)],
            place=self._place(filed) if is_all and self._stream and self._is_trusted else None,
        )
        if not self._index.write(writing):
            return False
        unsaved.saved(changed, others, self._entries)
        if is_all:
            self._saved = self._followed
        return True

    def _kept(self, jobs: list[JobId], others: list[str]) -> KeptRecords:
        try:
            found = self._unsaved.of_jobs(jobs, self._entries)
            self._unsaved.of_others(others, self._revisions, found)
        except (msgspec.MsgspecError, OverflowError, ValueError, RecursionError, TypeError) as error:
            _log.info("The index of ended jobs will be made anew at the next start: %r", error)
            self.distrust()
            return KeptRecords([], [], [])
        return found

    def _place(self, jobs: list[FoldedJob]) -> SavedPlace:
        states = self._states.copy()
        for job in jobs:
            states.update(job.states)
        return SavedPlace(
            stream=self._stream, followed=self._followed, followed_at=self._followed_at, states=dict(states)
        )

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
            and job not in endings.taken
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
        self._states.update(job.states)
        self._unsaved.forget(job.id)
        self._unsaved.others.pop(job.tie.key, None)

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
        self._states.subtract(states_of(entry.executions.values()))
        self._note_all(entry, key if named_by == job else "")
        self._on_held(entry)
        return entry

    def _note_all(self, entry: JobEntry, name_key: str) -> None:
        """Nothing of it is in the file any more, once it is written."""
        for key, _ in entry.revisions():
            self.note(entry.id, key)
        if name_key:
            self.note_other(name_key, NameRecord(job_id=entry.id))

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
