"""Known jobs: all that there are by their ids, whether they are in memory or filed.

A job in memory that has ended is filed once nobody has looked at it for a while: it goes to the index on disk
(orchestrator/state/filing/job_index.py). Whoever asks for it is given it all the same. What changes it takes it back
into memory first (orchestrator/state/model.py); so a filed job is one that has ended, and does not change.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from weakref import WeakValueDictionary

from orchestrator.state.event_numbers import A_WRITE
from orchestrator.state.filing.folded_job import FoldedJob, unfolded
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.job_entry import JobEntry, Shelf
from shared.ids import JobId

LOOKED_AT_ONCE = 64
"""How many jobs are given at once to who looks at many, and may read each from the index: 10 ms or less."""
LEAST_FILED = 64
"""So many jobs go to the index at once."""
MOST_FILED = 256
"""The same where more wait, as after a time in which the file could not be written."""


class KnownJobs(Mapping[JobId, JobEntry]):
    """`may_go` is asked before a job leaves the memory, and `on_filed` is told that it has."""

    def __init__(
        self,
        index: JobIndex,
        shelf: Shelf,
        *,
        at_once: int = LEAST_FILED,
        may_go: Callable[[JobEntry, FoldedJob], bool],
        on_filed: Callable[[JobEntry, FoldedJob], None],
    ) -> None:
        #: Those in memory, among which are all that have not ended. Changed by the model alone.
        self.live: dict[JobId, JobEntry] = {}
        self._index = index
        self._shelf = shelf
        self._at_once = at_once
        self._may_go = may_go
        self._on_filed = on_filed
        self._leaving: dict[JobId, tuple[JobEntry, FoldedJob]] = {}
        """Those that are to be filed together with others."""
        self._given: WeakValueDictionary[JobId, JobEntry] = WeakValueDictionary()
        """Filed jobs that somebody has: two who look at one job have the same."""

    # ---- filing -------------------------------------------------------------------------------------------------

    def file(self, entry: JobEntry, folded: FoldedJob) -> None:
        """Have a job filed, unless it changes or is looked at before enough others are to be filed with it."""
        self._leaving[entry.id] = entry, folded
        if len(self._leaving) >= self._at_once:
            self.file_some()

    def file_some(self) -> None:
        """File those that are to be filed; where the index cannot be written, they stay."""
        entries: list[tuple[JobEntry, FoldedJob]] = []
        for job, (entry, folded) in list(self._leaving.items())[:MOST_FILED]:
            if self._may_go(entry, folded):
                entries.append((entry, folded))
            else:
                del self._leaving[job]
        if not self._index.write([folded for _, folded in entries]):
            return
        for entry, folded in entries:
            del self._leaving[entry.id], self.live[entry.id]
            self._given[entry.id] = entry
            self._on_filed(entry, folded)

    def take_back(self, entry: JobEntry) -> None:
        """Have a filed job in memory again."""
        self._given.pop(entry.id, None)
        self._index.take_out(entry.id, entry.namespace)
        self.live[entry.id] = entry

    # ---- reading ------------------------------------------------------------------------------------------------

    def _filed(self, job: JobId) -> JobEntry | None:
        given = self._given.get(job)
        if given is not None:
            return given
        found = self._index.read(job)
        if found is None:
            return None
        entry = self._given[job] = unfolded(job, *found, self._shelf)
        return entry

    def __getitem__(self, job: JobId) -> JobEntry:
        entry = self.find(job)
        if entry is None:
            raise KeyError(job)
        return entry

    def find(self, job: JobId) -> JobEntry | None:
        """As `get`, at less cost where there is no such job."""
        return self.live.get(job) or self._filed(job)

    def __contains__(self, job: object) -> bool:
        return job in self.live or (isinstance(job, str) and self._index.has(JobId(job)))

    def __iter__(self) -> Iterator[JobId]:
        """Also while jobs come and go, of which some are left out then."""
        yield from tuple(self.live)
        yield from (job for job in self._index.ids() if job not in self.live)

    def changed_since(self, instant: int) -> Iterator[Sequence[JobId]]:
        """Some at a time, also while jobs change: among them all that have changed since this nanosecond."""
        return self._searched("modified >= ?", instant)

    def ended_after(self, number: int) -> Iterator[Sequence[JobId]]:
        """As `changed_since`, among them all whose ends have larger numbers than this one."""
        return self._searched("ended_by > ?", number - A_WRITE)  # of the cause of an end, which comes shortly before

    def _searched(self, condition: str, bound: int) -> Iterator[Sequence[JobId]]:
        live = dict.fromkeys(self.live)
        yield from _batched(live, LOOKED_AT_ONCE)
        for found in self._index.searched(condition, bound):
            yield from _batched(found, LOOKED_AT_ONCE)
            yield ()  # others have their turn, also where nothing is found
        yield from _batched([job for job in self.live if job not in live], LOOKED_AT_ONCE)  # taken back meanwhile

    def __len__(self) -> int:
        return len(self.live) + self._index.count

    def __repr__(self) -> str:
        return f"<KnownJobs: {len(self.live)} in memory, {self._index.count} filed>"


def _batched(jobs: Iterable[JobId], size: int) -> Iterator[Sequence[JobId]]:
    rest = iter(jobs)
    while some := tuple(islice(rest, size)):
        yield some
