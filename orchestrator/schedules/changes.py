"""Changes of schedules by users: one is paused, goes on, or has a run at once. Any orchestrator takes them."""

import secrets
from collections.abc import Callable
from typing import assert_never

from orchestrator.jobs.idempotency import checked_token
from orchestrator.rules.records import JobRecord
from orchestrator.schedules.decisions import begun_by_hand, paused_record, resumed_record
from orchestrator.schedules.runs import ScheduledRuns
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import Conflict, JobBeingDeleted, JobNotFound
from shared.ids import JobId
from shared.protocol.jobs.rest_schedules import ScheduleRequest, ScheduleResponse


class NotASchedule(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(
            f"Job {name} has no Schedule.",
            hint="`tarpon job list --schedules` shows the jobs that have one.",
        )


class ScheduleStopped(Conflict):
    def __init__(self, name: str) -> None:
        super().__init__(f"The schedule {name} is stopped.", hint="Submit its job again to have it go on.")


class ScheduleChanges:
    def __init__(self, model: Model, store: Store, runs: ScheduledRuns) -> None:
        self._model = model
        self._store = store
        self._runs = runs

    async def act(self, entry: JobEntry, wanted: ScheduleRequest) -> ScheduleResponse:
        """What a user asks for. Raises as the methods for it do."""
        job = entry.id
        match wanted.action:
            case "pause":
                return ScheduleResponse(job_id=job, changed=await self.pause(entry, wanted.reason))
            case "resume":
                return ScheduleResponse(job_id=job, changed=await self.resume(entry, wanted.reason))
            case "run-now":
                return ScheduleResponse(job_id=job, run_id=await self.run_now(entry, token=wanted.idempotency_token))
            case _:
                assert_never(wanted.action)

    async def pause(self, entry: JobEntry, reason: str = "") -> bool:
        """Have no further run begin; False if it was paused already. Raises NotASchedule, ScheduleStopped."""
        return await self._change(
            entry, lambda job: job if job.schedule and job.schedule.paused else paused_record(job, reason, now=now_ns())
        )

    async def resume(self, entry: JobEntry, reason: str = "") -> bool:
        """Have it go on with what is due from now on, also where it was not paused. Raises as `pause`."""
        return await self._change(entry, lambda job: resumed_record(job, reason, now=now_ns()))

    async def run_now(self, entry: JobEntry, *, token: str = "") -> JobId:
        """Begin a run beside those that are due, also of a schedule that is paused; its job.

        The same token is the same run. Raises as `pause`, and as a submit of its job.
        """
        self._check(entry)
        request = checked_token(token) or secrets.token_hex(16)
        run = await self._runs.begin(entry, now_ns(), by_hand=f"by hand {request}")
        called = self._runs.called(run)

        def told(job: JobRecord) -> JobRecord:
            return job if _is_told(job, run) else begun_by_hand(job, run, called, now=now_ns())

        await self._change(entry, told)
        return run

    async def _change(self, entry: JobEntry, changed: Callable[[JobRecord], JobRecord]) -> bool:
        async def attempt() -> bool:
            self._check(entry)
            after = changed(entry.job)
            if after is not entry.job:
                await self._store.update(after.key, after)
                return True
            return False

        return await changes.insist(self._store, attempt)

    def _check(self, entry: JobEntry) -> None:
        if self._model.jobs.get(entry.id) is not entry:
            raise JobNotFound(entry.id)
        if entry.job.removal is not None:
            raise JobBeingDeleted(entry.id)
        if entry.job.schedule is None:
            raise NotASchedule(entry.name)
        if entry.progress.state.is_terminal:
            raise ScheduleStopped(entry.name)

    def __repr__(self) -> str:
        return f"<ScheduleChanges over {self._model!r}>"


def _is_told(job: JobRecord, run: JobId) -> bool:
    return any(event.details.get("RunID") == run for event in job.events)
