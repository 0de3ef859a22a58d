"""Ended jobs, in the order in which they ended, and what of them waits to be cleared away.

The model keeps this as records arrive, so that a look at what is due costs nothing that grows with the jobs.
"""

import asyncio
from collections.abc import Callable, Iterable

from orchestrator.rules.job_progress import Progress
from orchestrator.rules.records import ExecutionRecord, JobRecord
from orchestrator.state.by_instant import ByInstant
from orchestrator.state.filing.job_index import JobIndex
from shared.ids import ExecutionId, JobId

VERSIONS_KEPT = 100
"""How many versions of a job are known, besides the first; of older ones neither what was run nor how it ended."""


class EndedJobs:
    """What is public is changed here alone, and read by whoever clears away and whoever counts.

    Filed jobs are in the order of ends too; those that are taken out of it are taken back into memory (`recall`).
    """

    def __init__(self, filed: JobIndex, recall: Callable[[JobId], object]) -> None:
        self._filed = filed
        self._recall = recall
        #: Jobs in memory of which nothing runs any more, by the nanosecond of their end.
        self.ended: ByInstant[JobId] = ByInstant()
        #: Those of them that may have objects in the bucket, by the same.
        self.published: ByInstant[JobId] = ByInstant()
        #: Those that were taken out of either order, by who has not put them in again yet.
        self.taken: set[JobId] = set()
        #: Those of them with many versions.
        self.crowded: dict[JobId, None] = {}
        #: Jobs that are being removed.
        self.removals: dict[JobId, None] = {}
        #: Executions that have left an unfinished upload in parts.
        self.uploads: dict[ExecutionId, None] = {}
        #: Jobs of which parts are stored and no record, by the newest revision of these: their submit is under way, or
        #: was interrupted.
        self.strays: dict[JobId, int] = {}
        self._wanted = asyncio.Event()

    async def until_wanted(self) -> None:
        """Return once somebody has wanted a job to be removed since this returned last."""
        await self._wanted.wait()
        self._wanted.clear()

    def note_record(self, job: JobRecord) -> None:
        self.strays.pop(job.id, None)
        if job.removal is not None:
            self.removals[job.id] = None
            self._wanted.set()
        else:
            self.removals.pop(job.id, None)

    def note_progress(
        self, job: JobRecord, progress: Progress, executions: Iterable[ExecutionRecord], versions: int
    ) -> None:
        """Of a job that has ended."""
        if progress.has_loose_ends or job.removal is not None:
            self.drop(job.id)
            return
        self.taken.discard(job.id)
        end, has_objects = job.modify_time, False
        for each in executions:
            end, has_objects = max(end, each.modify_time), has_objects or each.may_have_objects
        self.ended.put(job.id, end)
        if versions > VERSIONS_KEPT + 1:
            self.crowded[job.id] = None
        else:
            self.crowded.pop(job.id, None)
        if has_objects:
            self.published.put(job.id, end)
        else:
            self.published.drop(job.id)

    def note_execution(self, record: ExecutionRecord) -> None:
        if record.unfinished_uploads:
            self.uploads[record.id] = None
        else:
            self.uploads.pop(record.id, None)

    def note_stray(self, job: JobId, revision: int) -> None:
        """There are parts of a job without a record."""
        self.strays[job] = revision

    def forget_stray(self, job: JobId) -> None:
        self.strays.pop(job, None)

    def forget_record(self, job: JobId) -> None:
        self.removals.pop(job, None)

    def forget_execution(self, execution: ExecutionId) -> None:
        self.uploads.pop(execution, None)

    def take_ended(self, most: int, before: int) -> list[JobId]:
        """Take out jobs that ended no later than `before`, the oldest first. The model puts in again what stays."""
        for job in self._filed.oldest(most, before):
            self._recall(job)
        return self._taken(self.ended.take(most, before))

    def take_published(self, most: int, before: int) -> list[JobId]:
        """As `take_ended`, of those with results."""
        for job in self._filed.oldest(most, before, published=True):
            self._recall(job)
        return self._taken(self.published.take(most, before))

    def _taken(self, jobs: list[JobId]) -> list[JobId]:
        self.taken.update(jobs)
        return jobs

    @property
    def count(self) -> int:
        """How many are in the order of their ends."""
        return len(self.ended) + self._filed.count

    def ended_at(self, job: JobId) -> int | None:
        """The nanosecond of its end; None where it is not in the order."""
        instant = self.ended.instant_of(job)
        return self._filed.ended_at(job) if instant is None else instant

    def clear(self, job: JobId) -> None:
        """Of its many versions none is left that could be removed."""
        self.crowded.pop(job, None)

    def drop(self, job: JobId) -> None:
        """It is not among the ended jobs, or not any more."""
        self.taken.discard(job)
        self.ended.drop(job)
        self.published.drop(job)
        self.crowded.pop(job, None)

    def __repr__(self) -> str:
        return f"<EndedJobs: {self.count} jobs, {len(self.removals)} being removed>"
