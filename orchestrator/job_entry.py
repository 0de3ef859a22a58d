"""One job as the model has it, and how its changes are waited for."""

import asyncio
from typing import Self

from orchestrator.job_progress import Progress
from orchestrator.records import ExecutionRecord, JobRecord
from shared.ids import JobId
from shared.jobspec import Job
from shared.states import JobState


class JobEntry:
    """One job with everything that belongs to it."""

    __slots__ = ("counted", "executions", "progress", "record", "revision", "specs")

    def __init__(self) -> None:
        self.record: JobRecord | None = None
        self.revision = 0
        self.specs: dict[int, Job] = {}
        self.executions: dict[str, ExecutionRecord] = {}
        self.progress = Progress(state=JobState.PENDING)
        self.counted: JobState | None = None
        """As which it is in `Model.job_states`."""

    @property
    def job(self) -> JobRecord:
        assert self.record is not None
        return self.record

    @property
    def spec(self) -> Job:
        """The newest version."""
        return self.specs[self.job.version]

    @property
    def is_complete(self) -> bool:
        """Whether record and specification have both arrived."""
        return self.record is not None and self.record.version in self.specs

    def rest(self) -> "JobEntry":
        """What of the job is stored still, once it is not to be seen any more: who holds this entry may read on."""
        left = JobEntry()
        left.record, left.revision = self.record, self.revision
        left.specs, left.executions = dict(self.specs), dict(self.executions)
        return left

    def __repr__(self) -> str:
        return f"<JobEntry {self.record.id if self.record else '?'}, {self.progress.state}>"


class Watch:
    """Wakes up at each change of one job; changes that come close together wake it once."""

    def __init__(self, watchers: dict[JobId, set[asyncio.Event]], job: JobId) -> None:
        self._watchers = watchers
        self._job = job
        self._event = asyncio.Event()

    def __enter__(self) -> Self:
        self._watchers.setdefault(self._job, set()).add(self._event)
        return self

    def __exit__(self, *_: object) -> None:
        watching = self._watchers[self._job]
        watching.discard(self._event)
        if not watching:
            del self._watchers[self._job]

    async def changed(self) -> None:
        await self._event.wait()
        self._event.clear()
