"""Schedules and their runs: which is due next, which runs there are of each, and which of them go on.

It follows from the jobs, as the backlog does, so that whoever leads finds the same.
"""

import asyncio
from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from orchestrator.rules.records import RunOf
from orchestrator.state.by_instant import ByInstant
from orchestrator.state.job_entry import JobEntry
from shared.ids import JobId
from shared.jobs.schedules import next_due, schedule_of
from shared.jobs.states import JobState


class Schedules:
    """`jobs` are those that there are, by their ids, which the model keeps."""

    def __init__(self, jobs: Mapping[JobId, JobEntry]) -> None:
        #: Those about which is to be decided next, by the nanosecond at which they are due.
        self.next: ByInstant[JobId] = ByInstant()
        #: Those of which a run is decided that is not known to have begun.
        self.open: dict[JobId, None] = {}
        #: Those that are not stopped, by their namespaces.
        self.live: dict[str, dict[JobId, None]] = {}
        #: How many of them are paused.
        self.paused: set[JobId] = set()
        #: How runs have ended while this process has followed them.
        self.ends: Counter[JobState] = Counter()
        #: Set by what there is to do at once; cleared by the leader, before it looks.
        self.changed = asyncio.Event()
        self._jobs = jobs
        self._namespaces: dict[JobId, str] = {}
        self._runs: dict[JobId, list[tuple[int, JobId]]] = {}
        """Of each schedule, in the order in which they were due; the jobs themselves are mostly filed."""
        self._going: dict[JobId, dict[JobId, None]] = {}
        self._run_of: dict[JobId, RunOf] = {}

    def note(self, entry: JobEntry) -> None:
        """Take in that what follows from a job's records was found out anew."""
        record = entry.job
        if record.run_of is not None:
            self._note_run(entry, record.run_of)
        elif entry.id in self._run_of:
            self._drop_run(entry.id)
        if record.schedule is not None and record.removal is None and not entry.progress.state.is_terminal:
            self._note_schedule(entry)
        elif entry.id in self._namespaces:
            self._drop_schedule(entry.id)

    def _note_schedule(self, entry: JobEntry) -> None:
        job, state, schedule = entry.id, entry.job.schedule, schedule_of(entry.spec)
        assert state is not None
        self._namespaces[job] = entry.namespace
        self.live.setdefault(entry.namespace, {})[job] = None
        due = next_due(schedule, state.decided) if schedule is not None and not state.paused else None
        if due is None:
            self.next.drop(job)
        else:
            self.next.put(job, due)
        if state.paused:
            self.paused.add(job)
        else:
            self.paused.discard(job)
        if state.due:
            self.open[job] = None
            self.changed.set()
        else:
            self.open.pop(job, None)

    def _note_run(self, entry: JobEntry, run: RunOf) -> None:
        if entry.id not in self._run_of:
            self._run_of[entry.id] = run
            insort(self._runs.setdefault(run.job, []), (run.due, entry.id))
        going = self._going.setdefault(run.job, {})
        state = entry.progress.state
        if not state.is_terminal:
            going[entry.id] = None
        elif entry.id in going:
            del going[entry.id]
            self.ends[state] += 1

    def drop(self, job: JobId) -> None:
        """Take in that this is no job any more that anybody sees."""
        if job in self._run_of:
            self._drop_run(job)
        if job in self._namespaces:
            self._drop_schedule(job)

    def _drop_run(self, job: JobId) -> None:
        run = self._run_of.pop(job)
        runs, going = self._runs[run.job], self._going.get(run.job, {})
        del runs[bisect_left(runs, (run.due, job))]
        going.pop(job, None)
        if not runs:
            del self._runs[run.job]
        if not going:
            self._going.pop(run.job, None)

    def _drop_schedule(self, job: JobId) -> None:
        namespace = self._namespaces.pop(job)
        del self.live[namespace][job]
        if not self.live[namespace]:
            del self.live[namespace]
        self.next.drop(job)
        self.open.pop(job, None)
        self.paused.discard(job)

    # ---- reading ----------------------------------------------------------------------------------------------------

    @property
    def count(self) -> int:
        """How many are not stopped."""
        return len(self._namespaces)

    def runs(self, schedule: JobId) -> Iterator[JobEntry]:
        """Those that there are still, as they were due, the newest first. Each is read when it is its turn."""
        return self._read(reversed(self._runs.get(schedule, ())))

    def oldest_runs(self, schedule: JobId, *, but: int) -> Iterator[JobEntry]:
        """As they were due, the oldest first, without the last few."""
        runs = self._runs.get(schedule, [])
        return self._read(islice(runs, max(0, len(runs) - but)))

    def _read(self, runs: Iterable[tuple[int, JobId]]) -> Iterator[JobEntry]:
        known = (self._jobs.get(job) for _, job in runs)
        return (entry for entry in known if entry is not None)

    def going(self, schedule: JobId) -> Iterator[JobEntry]:
        """Its runs that have not ended, the oldest first."""
        known = (self._jobs.get(job) for job in tuple(self._going.get(schedule, ())))
        return (entry for entry in known if entry is not None)

    def going_count(self, schedule: JobId) -> int:
        return len(self._going.get(schedule, ()))

    def __repr__(self) -> str:
        return f"<Schedules, {self.count} of them>"
