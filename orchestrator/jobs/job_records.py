"""Records of submitted jobs: what is stored of a new job, and of a new version of one that there is."""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from orchestrator.jobs.idempotency import Use
from orchestrator.rules.frozen_inputs import FrozenInputs
from orchestrator.rules.job_progress import kept_of
from orchestrator.rules.pinned_needs import PinnedNeed
from orchestrator.rules.records import (
    OF_SCHEDULES,
    SCHEMA,
    VERSION_DETAIL,
    Event,
    JobRecord,
    RunOf,
    ScheduleState,
    SpecRecord,
    schema_of,
    with_event,
)
from orchestrator.state.job_entry import JobEntry
from shared.ids import JobId, NodeId
from shared.jobs.spec import Job
from shared.jobs.states import DesiredState
from shared.protocol.rest import KEPT_PARTS

FIRST_MESSAGE = ("Job submitted", "Job submitted; it is run by its schedule")
_NO_DETAILS: Mapping[str, str] = {}


class Wish(NamedTuple):
    """A job as it is to be stored, and what came with it. An ops job of which parts are kept has its `targets`."""

    job: Job
    use: Use
    keeps: tuple[int, ...] = ()
    force: bool = False
    traceparent: str = ""
    needs: tuple[PinnedNeed, ...] = ()
    inputs: FrozenInputs = ()
    run_of: RunOf | None = None
    targets: tuple[NodeId, ...] = ()


def first_record(job_id: JobId, wish: Wish, *, now: int) -> JobRecord:
    """Of a job that is new."""
    named = replace(wish.job, name=wish.job.name or job_id)
    return JobRecord(
        schema=max(OF_SCHEDULES if wish.run_of is not None else SCHEMA, schema_of(wish.job)),
        id=job_id,
        namespace=named.namespace,
        name=named.name,
        version=1,
        priority=named.priority,
        token=wish.use.token,
        digest=wish.use.digest,
        events=with_event((), _submission(now, FIRST_MESSAGE[bool(wish.job.schedule)], 1)),
        create_time=now,
        submit_time=now,
        modify_time=now,
        first=named,
        inputs=wish.inputs,
        needs=wish.needs,
        traceparent=wish.traceparent,
        schedule=ScheduleState(decided=now) if wish.job.schedule else None,
        run_of=wish.run_of,
    )


def spec_record(entry: JobEntry, wish: Wish) -> SpecRecord:
    """Of the version that follows the newest one."""
    return SpecRecord(
        schema=schema_of(wish.job),
        job=wish.job,
        replaced=entry.replaced(),
        keeps=wish.keeps,
        inputs=wish.inputs,
        needs=wish.needs,
    )


def renewed_record(entry: JobEntry, wish: Wish, version: int, message: str, *, now: int) -> JobRecord:
    """Of a job with a version that is stored already; `message` has {} for its number."""
    before = entry.job
    event = _submission(now, message.replace("{}", str(version), 1), version, _kept_details(entry, wish.keeps))
    return replace(
        before,
        schema=max(before.schema, schema_of(wish.job)),
        version=version,
        priority=wish.job.priority,
        token=wish.use.token,
        digest=wish.use.digest,
        desired=DesiredState.RUNNING,
        failure="",
        events=with_event(before.events, event),
        submit_time=now,
        modify_time=now,
        traceparent=wish.traceparent,
        schedule=_renewed_schedule(before.schedule, now) if wish.job.schedule else None,
        run_of=None if wish.job.schedule else before.run_of,
        targets=wish.targets,
    )


def _renewed_schedule(before: ScheduleState | None, now: int) -> ScheduleState:
    """What was due before is not made up for in another version, and one that is paused stays so."""
    return replace(before, decided=now, due=()) if before is not None else ScheduleState(decided=now)


def _kept_details(entry: JobEntry, keeps: tuple[int, ...]) -> dict[str, str]:
    kept = {each.partition for each in kept_of(entry.executions.values(), keeps)} if keeps else ()
    return {KEPT_PARTS: str(len(kept))} if kept else {}


def _submission(now: int, message: str, version: int, details: Mapping[str, str] = _NO_DETAILS) -> Event:
    told = {VERSION_DETAIL: str(version), **details}
    return Event(time=now, topic="Submission", message=message, details=told)
