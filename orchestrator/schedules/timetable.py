"""The timetable: the leader's loop over schedules, which decides what is due, and begins it.

What is decided is written down on condition of the revision that was read, before anything is begun: so it is decided
once, and whoever leads next begins what this one could not.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from itertools import islice

from orchestrator.jobs.removal.retention import marked
from orchestrator.jobs.submissions import Submissions
from orchestrator.rules.records import JobRecord, ScheduleState
from orchestrator.schedules.decisions import GoingOn, begun_record, decide, decided_record, refused_record
from orchestrator.schedules.runs import ScheduledRuns
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from orchestrator.telemetry.measures import Measures
from shared.errors import JobEnded, JobNotFound, MessagingUnavailable, TarponError, Unavailable
from shared.ids import JobId
from shared.jobs.schedules import REPLACE, SECOND_NS, deadline_ns, schedule_of
from shared.jobs.spec import Schedule
from shared.runtime.aio import pipelined
from shared.runtime.backoff import Backoff
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

TICK_SECONDS = 1.0
LEAST_SECONDS = 0.02
"""Between two looks, whatever is due."""
RETRY_SECONDS = 0.5
AT_ONCE = 32
BATCH = 256
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 1.0, 30.0
"""Before a run that could not begin is tried again."""
REMOVED_AT_ONCE = 64


class Timetable:
    """`now` gives nanoseconds since 1970; `with_results` is whether old runs take their results with them."""

    def __init__(
        self,
        model: Model,
        store: Store,
        submissions: Submissions,
        measures: Measures,
        *,
        with_results: bool,
        now: Callable[[], int] = now_ns,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._model = model
        self._store = store
        self._submissions = submissions
        self._runs = ScheduledRuns(model, store, submissions)
        self._measures = measures
        self._with_results = with_results
        self._now = now
        self._clock = clock
        #: When a run that could not begin is tried again, by its schedule.
        self._again: dict[JobId, tuple[float, Backoff]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._seconds_to_next_look()):
                    await self._model.schedules.changed.wait()
            self._model.schedules.changed.clear()
            try:
                await self.look()
            except Unavailable as error:  # also where others are quicker for ten seconds
                _log.info("Nothing is decided about schedules at present: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)

    def _seconds_to_next_look(self) -> float:
        due = self._model.schedules.next.instant
        return TICK_SECONDS if due is None else max(LEAST_SECONDS, min(TICK_SECONDS, (due - self._now()) / SECOND_NS))

    async def look(self) -> None:
        """Decide about what is due, and begin what is decided."""
        known = self._model.schedules
        await pipelined(known.next.until(self._now())[:BATCH], self._decide, at_once=AT_ONCE)
        self._again = {job: again for job, again in self._again.items() if job in known.open}
        now = self._clock()
        free = [job for job in known.open if job not in self._again or self._again[job][0] <= now]
        await pipelined(free, self._begin, at_once=AT_ONCE)

    # ---- deciding ---------------------------------------------------------------------------------------------------

    async def _decide(self, job: JobId) -> None:
        entry = self._model.jobs.get(job)
        schedule, state = self._of(entry)
        if entry is None or schedule is None or state is None:
            return
        now = self._now()
        going = next(self._model.schedules.going(job), None)
        others = GoingOn(self._model.schedules.going_count(job), going.name if going is not None else "")
        found = decide(schedule, state.decided, now=now, going=others.going + len(state.due))
        if found is None:
            return
        record = decided_record(entry.job, schedule, found, others, now=now)
        if await changes.update(self._store, record):
            self._measures.scheduled_runs["missed"] += found.missed
            self._measures.scheduled_runs["left_out"] += len(found.left_out)
            if found.missed:
                _log.warning("%d runs of the schedule %s were missed.", found.missed, job, extra=about(job=job))

    @staticmethod
    def _of(entry: JobEntry | None) -> tuple[Schedule | None, ScheduleState | None]:
        """What is to be decided about: nothing of a schedule that is stopped or paused."""
        if entry is None or entry.job.removal is not None or entry.progress.state.is_terminal:
            return None, None
        state = entry.job.schedule
        return (None, None) if state is None or state.paused else (schedule_of(entry.spec), state)

    # ---- beginning --------------------------------------------------------------------------------------------------

    async def _begin(self, job: JobId) -> None:
        entry = self._model.jobs.get(job)
        schedule, state = self._of(entry)
        if entry is None or schedule is None or state is None:
            return
        for due in state.due:
            try:
                if schedule.overlap == REPLACE:
                    await self._stop_others(entry, due)
                run = await self._runs.begin(entry, due)
            except MessagingUnavailable:
                raise
            except TarponError as error:
                if error.retryable and self._now() - due <= deadline_ns(schedule):
                    self._try_later(job, error)
                    return
                await self._refused(entry, schedule, due, error)
            else:
                await self._begun(entry, schedule, due, run)
        self._again.pop(job, None)
        await self._remove_old(entry, schedule)

    def _try_later(self, job: JobId, error: TarponError) -> None:
        _, pauses = self._again.get(job, (0.0, Backoff(FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS, spread=0.5)))
        self._again[job] = self._clock() + pauses.next_seconds(), pauses
        _log.info("A run of the schedule %s cannot begin yet: %s", job, error.message, extra=about(job=job))

    async def _stop_others(self, entry: JobEntry, due: int) -> None:
        for other in self._model.schedules.going(entry.id):
            if other.job.run_of is not None and other.job.run_of.due < due:
                with contextlib.suppress(JobEnded, JobNotFound):
                    await self._submissions.stop(other, "The next run of its schedule takes its place")

    async def _begun(self, entry: JobEntry, schedule: Schedule, due: int, run: JobId) -> None:
        called = self._runs.called(run)
        if await self._tell(entry, lambda job: begun_record(job, schedule, due, run, called, now=self._now())):
            self._measures.scheduled_runs["begun"] += 1

    async def _refused(self, entry: JobEntry, schedule: Schedule, due: int, error: TarponError) -> None:
        if await self._tell(
            entry, lambda job: refused_record(job, schedule, due, f"{error.message} {error.hint}", now=self._now())
        ):
            self._measures.scheduled_runs["refused"] += 1
            _log.warning("A run of the schedule %s was refused: %s", entry.id, error.message, extra=about(job=entry.id))

    async def _tell(self, entry: JobEntry, told: Callable[[JobRecord], JobRecord]) -> bool:
        """Write into the schedule's record what became of a due time; whether nobody had done so."""

        async def attempt() -> bool:
            known = self._model.jobs.get(entry.id)
            if known is None or known.job.schedule is None:
                return False
            after = told(known.job)
            if after is not known.job:
                await self._store.update(after.key, after)
            return after is not known.job

        return await changes.insist(self._store, attempt)

    async def _remove_old(self, entry: JobEntry, schedule: Schedule) -> None:
        """Of the runs that have ended those that came before the last `Keep`."""
        if not schedule.keep:
            return
        known, needed = self._model.schedules, self._model.backlog.chains.live_follower
        # Among the last of all are as many that have ended.
        older = known.oldest_runs(entry.id, but=schedule.keep + known.going_count(entry.id))
        old = islice((each for each in older if _may_go(each) and needed(each.id) is None), REMOVED_AT_ONCE)

        async def remove(run: JobEntry) -> None:
            await changes.update(self._store, marked(run, results=self._with_results))

        await pipelined(list(old), remove, at_once=AT_ONCE)

    def __repr__(self) -> str:
        return f"<Timetable of {self._model.schedules!r}>"


def _may_go(entry: JobEntry) -> bool:
    progress = entry.progress
    return progress.state.is_terminal and not progress.has_loose_ends and entry.job.removal is None
