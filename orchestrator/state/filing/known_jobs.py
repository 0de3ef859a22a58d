"""Known jobs: all that there are by their ids, whether they are in memory or filed.

Whoever asks for a filed job is given it, read from the index on disk (orchestrator/state/filing/job_index.py), and two
who look at one are given the same. Those that were filed or read last stay in memory as well.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from weakref import WeakValueDictionary

from orchestrator.state.event_numbers import A_WRITE
from orchestrator.state.filing.folded_job import unfolded
from orchestrator.state.filing.job_index import JobIndex
from orchestrator.state.job_entry import JobEntry
from shared.ids import JobId

LOOKED_AT_ONCE = 64
"""How many jobs are given at once to who looks at many, and may read each from the index: 10 ms or less."""
RECENT = 1024
"""How many filed jobs stay in memory as well."""


class KnownJobs(Mapping[JobId, JobEntry]):
    """`put_away` is told of each job that has ended and was unpacked."""

    def __init__(self, index: JobIndex, put_away: Callable[[JobEntry], None], *, recent: int = RECENT) -> None:
        #: Those in memory, among which are all that have not ended. Changed by the model and by filing alone.
        self.live: dict[JobId, JobEntry] = {}
        self._index = index
        self._put_away = put_away
        self._given: WeakValueDictionary[JobId, JobEntry] = WeakValueDictionary()
        """Filed jobs that are in memory as well."""
        self._recent: deque[JobEntry] = deque(maxlen=recent)
        """Those that are so though nobody has them."""

    # ---- filing -----------------------------------------------------------------------------------------------------

    def let_go(self, entry: JobEntry) -> None:
        """It is filed."""
        del self.live[entry.id]
        self._given[entry.id] = entry
        self._recent.append(entry)

    def take_back(self, entry: JobEntry) -> None:
        """Have a filed job in memory again."""
        self._given.pop(entry.id, None)
        self._index.take_out(entry.id, entry.namespace)
        self.live[entry.id] = entry

    # ---- reading ------------------------------------------------------------------------------------------------

    def filed(self, job: JobId) -> JobEntry | None:
        given = self._given.get(job)
        if given is not None:
            return given
        found = self._index.read(job)
        if found is None:
            return None
        entry = self._given[job] = unfolded(job, found, self._put_away)
        self._recent.append(entry)
        return entry

    def some(self, jobs: Sequence[JobId]) -> list[JobEntry]:
        """Those of them that are there, in this order; at less cost than each by itself, where many are filed."""
        found: list[JobEntry] = []
        read = self._index.read_some([job for job in jobs if job not in self.live and job not in self._given])
        for job in jobs:
            entry = self.live.get(job) or self._given.get(job)
            if entry is None and job in read:
                entry = self._given[job] = unfolded(job, read[job], self._put_away)
            if entry is not None:
                found.append(entry)
        return found

    def recent(self, job: JobId) -> JobEntry | None:
        """A filed job, where it need not be read."""
        return self._given.get(job)

    def __getitem__(self, job: JobId) -> JobEntry:
        entry = self.find(job)
        if entry is None:
            raise KeyError(job)
        return entry

    def find(self, job: JobId) -> JobEntry | None:
        """As `get`, at less cost where there is no such job."""
        return self.live.get(job) or self.filed(job)

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
