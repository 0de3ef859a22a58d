"""Views of stored records: the shapes of the HTTP API, made from the model."""

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from operator import itemgetter
from typing import Any

from msgspec import UNSET, UnsetType
from msgspec.structs import asdict

from orchestrator.jobs.history_lines import HistoryLine, lines
from orchestrator.nodes.presence import Nodes
from orchestrator.nodes.upload_progress import upload_text
from orchestrator.rules.job_progress import Progress
from orchestrator.rules.records import ExecutionRecord, JobRecord
from orchestrator.state.chains import standing_of
from orchestrator.state.event_numbers import last_number
from orchestrator.state.job_entry import JobEntry
from orchestrator.state.model import Model
from orchestrator.storage.wall_clock import instant
from shared.jobs.rules import MANAGED
from shared.jobs.schedules import due_after, local_time, next_due, schedule_of
from shared.jobs.spec import (
    LEFT_OUT_COUNT,
    WAITS_FOR,
    ChainLink,
    ChainView,
    JobView,
    RunOfView,
    RunView,
    ScheduleView,
    StateView,
)
from shared.jobs.states import DesiredState, JobState
from shared.protocol import rest, rest_nodes, subjects
from shared.protocol.execution_lines import PREPARING, WAITS_FOR_S3
from shared.protocol.messages import RunOutput
from shared.protocol.nats_api import Announced
from shared.protocol.published_facts import PublishedParams
from shared.protocol.rest import EventView, ExecutionView, HistoryItem

MOST_FOLLOWERS = 100
"""How many of the jobs that need one are told with it."""
SHOWN_NEXT = 3
"""How many due times of a schedule are told with it."""
SHOWN_RUNS = 5


def job_state(entry: JobEntry, reason: str) -> StateView:
    """`reason` is why parts of the job have to wait; one that waits with all of them is Queued."""
    progress = entry.progress
    if entry.job.schedule is not None and not progress.state.is_terminal:
        return StateView(state_type=progress.state, message=schedule_text(entry))
    if progress.state is JobState.PENDING and reason:
        return StateView(state_type=JobState.QUEUED, message=reason)
    removal = entry.job.removal
    if removal is None and progress.state is JobState.RUNNING and reason:
        return StateView(state_type=progress.state, message=progress.message, details={WAITS_FOR: reason})
    if removal is None:
        return StateView(state_type=progress.state, message=progress.message, details=_details(progress))
    told = f"The job is being deleted. {removal.problem}".rstrip()
    return StateView(state_type=progress.state, message=f"{progress.message} {told}".lstrip())


def _details(progress: Progress) -> dict[str, str]:
    return {LEFT_OUT_COUNT: str(progress.left_out_count)} if progress.left_out_count else {}


def job_view(model: Model, entry: JobEntry, state: StateView | None = None) -> JobView:
    """`state` is that of the job where it has been found out already."""
    record, spec = entry.job, entry.spec
    fields = asdict(spec)
    fields["name"] = record.name
    return JobView(
        **fields,
        id=record.id,
        state=state or job_state(entry, model.backlog.reasons.get(record.id, "")),
        version=record.version,
        revision=entry.revision,
        create_time=record.create_time,
        modify_time=modified(entry),
        submit_time=record.submit_time,
        targets=record.targets or UNSET,
        exit_codes=dict(entry.exit_codes),
        chain=chain_view(model, entry) if model.backlog.chains.has(entry.id) else UNSET,
        schedule_status=schedule_view(model, entry),
        run_of=run_of_view(record),
    )


def schedule_text(entry: JobEntry) -> str:
    """What a schedule waits for, in a sentence."""
    state, schedule = entry.job.schedule, schedule_of(entry.spec)
    if state is None or schedule is None:
        return ""
    if state.paused:
        return f"The schedule is paused since {local_time(schedule, state.paused).isoformat(timespec='minutes')}."
    due = next_due(schedule, state.decided)
    if due is None:
        return "The schedule is not due any more."
    return f"The next run is due at {local_time(schedule, due).isoformat(timespec='minutes')}."


def schedule_view(model: Model, entry: JobEntry) -> ScheduleView | UnsetType:
    state, schedule = entry.job.schedule, schedule_of(entry.spec)
    if state is None or schedule is None:
        return UNSET
    is_on = not state.paused and not entry.progress.state.is_terminal
    newest = islice(model.schedules.runs(entry.id), SHOWN_RUNS)
    return ScheduleView(
        next=tuple(islice(due_after(schedule, state.decided), SHOWN_NEXT)) if is_on else (),
        paused_since=state.paused,
        runs=tuple(run for each in newest if (run := _run_view(each)) is not None),
        going=model.schedules.going_count(entry.id),
        begun=state.begun,
        missed=state.missed,
        left_out=state.left_out,
        refused=state.refused,
    )


def _run_view(entry: JobEntry) -> RunView | None:
    origin = entry.job.run_of
    if origin is None:
        return None
    state = entry.progress.state
    return RunView(job_id=entry.id, name=entry.name, state=state, due=origin.due, by_hand=origin.by_hand)


def run_of_view(job: JobRecord) -> RunOfView | UnsetType:
    origin = job.run_of
    if origin is None:
        return UNSET
    return RunOfView(job_id=origin.job, name=origin.called, due=origin.due, by_hand=origin.by_hand)


def chain_view(model: Model, entry: JobEntry) -> ChainView:
    """The jobs on both sides of this one. What was needed and is gone has no state."""
    chains = model.backlog.chains
    followers = islice(chains.followers(entry.id), MOST_FOLLOWERS)
    needs = ((each, model.jobs.get(each.job)) for each in entry.needs)
    return ChainView(
        needs=tuple(
            ChainLink(
                job_id=need.job,
                name=need.called,
                state=_state_of(model, known, need.version),
                job_version=need.version,
                any_code=need.any_code,
            )
            for need, known in needs
        ),
        needed_by=tuple(
            ChainLink(job_id=each.id, name=each.job.name, state=_state_of(model, each, each.job.version))
            for each in followers
        ),
        needed_by_total=chains.follower_count(entry.id),
    )


def _state_of(model: Model, entry: JobEntry | None, version: int) -> str:
    """Empty where it is not known any more."""
    standing = standing_of(entry, version) if entry is not None else None
    if entry is None or standing is None:
        return ""
    if version == entry.job.version:
        return job_state(entry, model.backlog.reasons.get(entry.id, "")).state_type
    return standing.state


def modified(entry: JobEntry) -> int:
    """When anything about the job changed last, in nanoseconds since 1970."""
    return entry.modified


def execution_view(
    entry: JobEntry,
    record: ExecutionRecord,
    revision: int,
    of_job: JobView | UnsetType = UNSET,
    *,
    upload: rest.UploadView | None = None,
    inputs: rest.InputsView | None = None,
) -> ExecutionView:
    """`of_job` is the job in the version of the execution, where that is told with it."""
    job, task = entry.job, entry.specs[record.job_version].task
    live = not record.state.is_terminal
    failure = record.failure.detail or record.failure.reason if record.failure else ""
    message = failure or waits_for(record) or (f"Publishing: {upload_text(upload)}" if upload else "")
    return ExecutionView(
        id=record.id,
        namespace=job.namespace,
        name=f"{job.name}.{task.name}[{record.partition}]",
        node_id=record.node_id,
        job_id=record.job_id,
        job=of_job,
        job_version=record.job_version,
        allocated_resources=rest.AllocatedResources(tasks={task.name: record.resources}),
        desired_state=rest.NumberedState(
            state_type=rest.desired_state_number(DesiredState.RUNNING if live else DesiredState.STOPPED)
        ),
        compute_state=rest.NumberedState(state_type=rest.execution_state_number(record.state), message=message),
        upload=upload,
        inputs=inputs,
        published_result=published_view(record),
        run_output=run_output_view(record.output, failure) if record.output else None,
        partition_index=record.partition,
        fetch_seconds=record.fetch_seconds,
        pull_seconds=record.pull_seconds,
        gpus=record.gpus,
        run_seconds=record.run_seconds,
        peak_memory=record.peak_memory_bytes,
        revision=revision,
        create_time=record.create_time,
        modify_time=record.modify_time,
    )


def waits_for(record: ExecutionRecord) -> str:
    """What its node told last of an image or of S3; empty where it has gone on, or has ended."""
    if record.state.is_terminal:
        return ""
    for last in record.events[-1:]:
        if last.topic == PREPARING or last.message.startswith(WAITS_FOR_S3):
            return last.message
    return ""


def run_output_view(output: RunOutput, error: str) -> rest.RunOutputView:
    return rest.RunOutputView(
        stdout=output.stdout,
        stdout_truncated=output.stdout_truncated,
        stderr=output.stderr,
        stderr_truncated=output.stderr_truncated,
        exit_code=output.exit_code,
        error_msg=error,
    )


def published_view(record: ExecutionRecord) -> rest.PublishedResult | None:
    result, location = record.result, record.location
    if result is None or location is None or record.result_deleted or not record.has_counting_result:
        return None
    return rest.PublishedResult(
        type=MANAGED,
        params=PublishedParams.of(
            result,
            job_id=record.job_id,
            execution_id=record.id,
            bucket=location.bucket,
            key=location.key,
            region=location.region,
            endpoint=location.endpoint,
            etag=result.etag,
        ),
    )


def execution_views(model: Model, entry: JobEntry) -> tuple[ExecutionView, ...]:
    """Of all versions and attempts, the oldest first."""
    found = sorted(entry.executions.items(), key=lambda item: (item[1].create_time, item[0]))
    return tuple(
        execution_view(entry, record, model.revision_of(subjects.execution_record(key)))
        for key, record in found
        if record.job_version in entry.specs
    )


def unfinished_uploads(model: Model) -> Iterator[rest_nodes.UnfinishedUpload]:
    for execution in model.endings.uploads:
        record = model.execution(execution)
        if record is not None and record.location is not None:
            for upload_id in record.unfinished_uploads:
                yield rest_nodes.UnfinishedUpload(
                    job_id=record.job_id,
                    execution_id=record.id,
                    upload_id=upload_id,
                    **record.location.shown(),
                )


# ---- history ----------------------------------------------------------------------------------------------------


def history(entry: JobEntry, *, after: int = 0, up_to: int | None = None) -> tuple[HistoryItem, ...]:
    """What was recorded about the job and its executions after the item of this number, in the order of numbers.

    `up_to` is the revision up to which everything is known: what came later is told when that is so.
    """
    return tuple([_history_item(entry, line) for line in _recorded(entry, after, up_to)])


def announced(entry: JobEntry, *, after: int, up_to: int) -> list[Announced]:
    """As `history`, of what comes next to whoever has been told all up to the item of this number."""
    told: list[Announced] = []
    for line in _recorded(entry, after, up_to):
        told.append(_announced(entry, line, after))
        after = line.number
    return told


def _recorded(entry: JobEntry, after: int, up_to: int | None) -> list[HistoryLine]:
    last = sys.maxsize if up_to is None else last_number(up_to)
    found = [line for line in lines(entry, after=after) if after < line[0] <= last]
    if len(found) > 1:
        found.sort(key=itemgetter(0))
    return found


def is_told(entry: JobEntry, up_to: int) -> bool:
    """Whether the history up to this revision has the end of a job that has ended."""
    return entry.ended_by <= last_number(up_to)


def _history_item(entry: JobEntry, line: HistoryLine) -> HistoryItem:
    return HistoryItem(**_told(entry, line))


def _announced(entry: JobEntry, line: HistoryLine, after: int) -> Announced:
    return Announced(**_told(entry, line), previous_seq_num=after)


def _told(entry: JobEntry, line: HistoryLine) -> dict[str, Any]:
    number, about, event = line
    at, details = instant(event.time), event.details
    kind, version, execution = rest.JOB_LEVEL, about, ""
    partition: int | UnsetType = UNSET
    if not isinstance(about, int):
        details = {**details, "NodeID": about.node_id}
        kind, version, execution = rest.EXECUTION_LEVEL, about.job_version, about.id
        partition = about.partition
    return {
        "seq_num": number,
        "job_id": entry.id,
        "time": at,
        "type": kind,
        "job_version": version,
        "execution_id": execution,
        "partition_index": partition,
        "event": EventView(message=event.message, topic=event.topic, timestamp=at, details=details),
    }


def debug_view(model: Model, nodes: Nodes) -> rest_nodes.DebugResponse:
    """What the orchestrator is occupied with, in numbers."""
    model.find_out()
    jobs = {str(state): count for state, count in model.backlog.job_states.items() if count}
    live = Counter(each.state.value for held in model.executions.live.values() for each in held.values())
    states = Counter(
        rest_nodes.CONNECTED if nodes.is_connected(node) else rest_nodes.DISCONNECTED for node in model.nodes
    )
    return rest_nodes.DebugResponse(jobs=jobs, executions=dict(live), nodes=dict(states))
