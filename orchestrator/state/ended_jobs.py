"""Which jobs have ended, in the order in which they did, and what of them waits to be cleared away.

The model keeps this as records arrive, so that a look at what is due costs nothing that grows with the jobs.
"""

import asyncio
from collections.abc import Iterable

from orchestrator.rules.job_progress import Progress
from orchestrator.rules.records import ExecutionRecord, JobRecord
from orchestrator.state.by_instant import Oldest
from shared.ids import ExecutionId, JobId

VERSIONS_KEPT = 100
"""How many versions of a job are known, besides the first; of older ones neither what was run nor how it ended."""


class Endings:
    """`ended` are jobs of which nothing runs any more, by the nanosecond of their end.

    `published` are those of them that may have objects in the bucket, `crowded` those with many versions. `removals`
    are jobs that are being removed, `uploads` executions that have left an unfinished upload in parts. `strays` are
    parts of jobs without a record, by the newest revision of them: of a submit that is under way, or was interrupted.
    """

    def __init__(self) -> None:
        self.ended: Oldest[JobId] = Oldest()
        self.published: Oldest[JobId] = Oldest()
        self.crowded: dict[JobId, None] = {}
        self.removals: dict[JobId, None] = {}
        self.uploads: dict[ExecutionId, None] = {}
        self.strays: dict[JobId, int] = {}
        self.wanted = asyncio.Event()
        """Somebody wants a job to be removed, or an upload has been left."""

    def note_record(self, job: JobRecord) -> None:
        self.strays.pop(job.id, None)
        if job.removal is not None:
            self.removals[job.id] = None
            self.wanted.set()
        else:
            self.removals.pop(job.id, None)

    def note_progress(
        self, job: JobRecord, progress: Progress, executions: Iterable[ExecutionRecord], versions: int
    ) -> None:
        """Of a job that has ended."""
        if progress.surplus or job.removal is not None:
            self.drop(job.id)
            return
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

    def drop(self, job: JobId) -> None:
        """It is not among the ended jobs, or not any more."""
        self.ended.drop(job)
        self.published.drop(job)
        self.crowded.pop(job, None)

    def __repr__(self) -> str:
        return f"<Endings of {len(self.ended)} jobs, {len(self.removals)} being removed>"
