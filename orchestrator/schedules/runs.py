"""Runs of schedules: each is a job of its own, under the id that its schedule and its due time decide."""

import logging
from datetime import UTC, datetime

import msgspec
from msgspec.structs import replace

from orchestrator.jobs.idempotency import Use
from orchestrator.jobs.job_records import Wish, first_record
from orchestrator.jobs.name_claims import NameClaims
from orchestrator.jobs.result_inputs import with_results
from orchestrator.jobs.submissions import Submissions
from orchestrator.rules.records import RunOf
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage import changes
from orchestrator.storage.store import Store
from orchestrator.storage.wall_clock import now_ns
from shared.errors import RevisionConflict
from shared.ids import JobId, new_run_id
from shared.jobs.rules import MAX_NAME
from shared.jobs.schedules import SECOND_NS
from shared.jobs.spec import Job
from shared.runtime.log_lines import about

_log = logging.getLogger(__name__)

LABEL = "tarpon.schedule"
"""The label of a run that has the name of its schedule."""
DUE_VARIABLE = "TARPON_SCHEDULED_FOR"
"""The environment variable of a task that has the time at which its run was due, in UTC as RFC 3339 has it."""


class ScheduledRuns:
    """`store` is the leader's where it decides, so that one that leads no more begins nothing."""

    def __init__(self, model: Model, store: Store, submissions: Submissions) -> None:
        self._model = model
        self._store = store
        self._submissions = submissions
        self._names = NameClaims(model, store)

    async def begin(self, entry: JobEntry, due: int, *, by_hand: str = "") -> JobId:
        """The run of a schedule that is due then, or that somebody asks for under a token of this request.

        Where it was begun before it is the same. Raises what a submit of the same job does.
        """
        run = new_run_id(entry.id, by_hand or str(due))
        if run in self._model.jobs:
            return run
        wanted = run_job(entry.spec, due, by_hand=bool(by_hand))
        self._submissions.check_publisher_of(wanted)
        await self._submissions.check_secrets(wanted)
        origin = RunOf(job=entry.id, called=entry.job.name, due=due, by_hand=bool(by_hand))
        async with self._submissions.new_lists() as lists:
            inputs = await lists.freeze(wanted) if wanted.task.input_sources else ()
            needs = await self._submissions.pinned_needs(wanted)
            inputs = with_results(self._model, wanted, inputs, needs)
            if await self._names.claim(wanted, run) != run:  # another job is called so
                wanted = replace(wanted, name="")
            await self._create(run, Wish(wanted, Use(), needs=needs, inputs=inputs, run_of=origin))
            lists.stored = [(run, 1)]
        return run

    async def _create(self, run: JobId, wish: Wish) -> None:
        record = first_record(run, wish, now=now_ns())
        if not await changes.create(self._store, record):
            if run not in self._model.jobs and not await self._store.is_removed(record.key):
                raise RevisionConflict(record.key)
            return
        self._submissions.traces.on_submit(record)
        _log.info("Job %s is begun as a run of %s.", run, record.run_of and record.run_of.job, extra=about(job=run))

    def called(self, run: JobId) -> str:
        """What people call the run."""
        entry = self._model.jobs.get(run)
        return entry.name if entry is not None else run

    def __repr__(self) -> str:
        return f"<ScheduledRuns over {self._model!r}>"


def run_job(job: Job, due: int, *, by_hand: bool = False) -> Job:
    """The job of one run: as its schedule's, run once, with its due time for its task."""
    at = datetime.fromtimestamp(due // SECOND_NS, UTC)
    ending = f"{at:%Y%m%dT%H%M%SZ}" if by_hand else f"{at:%Y%m%dT%H%MZ}"
    task = replace(job.task, env={**job.task.env, DUE_VARIABLE: f"{at:%Y-%m-%dT%H:%M:%SZ}"})
    return replace(
        job,
        name=f"{job.name[: MAX_NAME - len(ending) - 1]}-{ending}",
        schedule=msgspec.UNSET,
        labels={**job.labels, LABEL: job.name},
        tasks=(task,),
    )
