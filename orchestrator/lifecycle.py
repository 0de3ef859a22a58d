"""How executions and jobs move: pure decisions over records, without clocks, locks or messages.

A job's state follows from its record and its executions. A retry is a new execution, never a step back.
"""

from collections.abc import Iterable, Mapping
from typing import assert_never

import msgspec

from orchestrator.records import Event, ExecutionRecord, Failure, JobRecord, PublishedResult, with_event
from shared.messages import (
    MAX_RUN_OUTPUT_BYTES,
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    OutputPublished,
    RunOutput,
    TaskEnded,
)
from shared.states import DesiredState, ExecutionState, FailureReason, JobState, check_transition

MAX_DETAIL = 2000
MAX_PROGRESS_TEXT = 300
MAX_PROGRESS = 48
"""How many lines of progress one execution may have, so that all its other events stay in its history."""
MAX_WAITING = 8
"""The same for lines that tell what its result waits for."""
PROGRESS_TOPIC = "Preparing Execution"
PUBLISHING_TOPIC = "Publishing Results"


def story(record: ExecutionRecord) -> str:
    """One execution's life in a line."""
    return " -> ".join(event.message for event in record.events) or "(new)"


def moved(
    record: ExecutionRecord,
    state: ExecutionState,
    *,
    now: int,
    at: int | None = None,
    topic: str,
    message: str,
    details: dict[str, str] | None = None,
    output: RunOutput | None = None,
    run_seconds: float | None = None,
    result: PublishedResult | None = None,
    failure: Failure | None = None,
) -> ExecutionRecord:
    """The record after a step of its life, taken `at` a time that may be before `now`.

    Raises IllegalTransition for a step that the life cycle does not know.
    """
    check_transition(record.state, state, story(record))
    event = _event(topic, message, now=now, at=at, details=details)
    return msgspec.structs.replace(
        record,
        state=state,
        modify_time=now,
        events=with_event(record.events, event),
        output=output or record.output,
        run_seconds=record.run_seconds if run_seconds is None else run_seconds,
        result=result or record.result,
        failure=failure or record.failure,
    )


def _event(topic: str, message: str, *, now: int, at: int | None, details: dict[str, str] | None = None) -> Event:
    time, recorded = (now, 0) if at is None or at == now else (at, now)
    return Event(time=time, recorded=recorded, topic=topic, message=message, details=details or {})


def failed(record: ExecutionRecord, reason: FailureReason, detail: str, *, now: int) -> ExecutionRecord:
    return moved(
        record,
        ExecutionState.FAILED,
        now=now,
        topic="Execution",
        message=detail or reason,
        details=_failure_details(reason, retryable=reason.retryable),
        failure=Failure(reason=reason, detail=detail[:MAX_DETAIL], retryable=reason.retryable),
    )


def rejected(record: ExecutionRecord, reason: str, detail: str, *, retryable: bool, now: int) -> ExecutionRecord:
    """The node answered that it will not run this."""
    return moved(
        record,
        ExecutionState.REJECTED,
        now=now,
        topic="Scheduling",
        message=f"Node {record.node_id} refused: {(detail or reason)[:MAX_DETAIL]}",
        details=_failure_details(reason[:100], retryable=retryable),
        failure=Failure(reason=reason[:100], detail=detail[:MAX_DETAIL], retryable=retryable),
    )


def cancelled(record: ExecutionRecord, reason: str, *, now: int, at: int | None = None) -> ExecutionRecord:
    return moved(record, ExecutionState.CANCELLED, now=now, at=at, topic="Execution", message=reason[:MAX_DETAIL])


def is_behind(record: ExecutionRecord, fact: AnyFact) -> bool:
    """Whether the record is past this fact already: a repeated report, which changes nothing."""
    if record.state.is_terminal:
        return True
    if isinstance(fact, ExecutionStarted):
        return record.state in {ExecutionState.RUNNING, ExecutionState.PUBLISHING}
    if isinstance(fact, TaskEnded):
        return record.state is ExecutionState.PUBLISHING
    if isinstance(fact, ExecutionProgressed):
        told = [event for event in record.events if event.topic in {PROGRESS_TOPIC, PUBLISHING_TOPIC}]
        topic, limit = _progress_place(record)
        is_full = sum(event.topic == topic for event in told) >= limit
        return is_full or _progress_text(fact) in {event.message for event in told}
    return False


def after_fact(
    record: ExecutionRecord, fact: AnyFact, *, has_publisher: bool, result: PublishedResult | None, now: int
) -> ExecutionRecord:
    """The record after what its node told. `result` is the verified object that belongs to an OutputPublished."""
    if is_behind(record, fact):
        return record
    at = now - int(max(0.0, min(fact.age_seconds, 7 * 86400.0)) * 1e9)
    match fact:
        case ExecutionStarted():
            message = f"Running on node {record.node_id}"
            return moved(record, ExecutionState.RUNNING, now=now, at=at, topic="Running Execution", message=message)
        case TaskEnded():
            return _after_end(record, fact, has_publisher=has_publisher, now=now, at=at)
        case OutputPublished():
            message = f"Result published and verified, {fact.size_bytes:,} bytes, {fact.entries:,} entries"
            return moved(
                record,
                ExecutionState.COMPLETED,
                now=now,
                at=at,
                topic=PUBLISHING_TOPIC,
                message=message,
                result=result,
            )
        case ExecutionFailed():
            return _after_failure(record, fact, now=now, at=at)
        case ExecutionCancelled():
            reason = fact.reason[:MAX_DETAIL] or "Stopped by its node"
            return cancelled(record, reason, now=now, at=at)
        case ExecutionProgressed():
            return _progressed(record, fact, now=now, at=at)
        case _:
            assert_never(fact)


def _after_end(record: ExecutionRecord, fact: TaskEnded, *, has_publisher: bool, now: int, at: int) -> ExecutionRecord:
    state = ExecutionState.PUBLISHING if has_publisher else ExecutionState.COMPLETED
    ended = f"Task ended with exit code {fact.output.exit_code}"
    return moved(
        record,
        state,
        now=now,
        at=at,
        topic="Running Execution",
        message=f"{ended}; publishing its result" if has_publisher else ended,
        output=_bounded(fact.output),
        run_seconds=fact.run_seconds,
    )


def _after_failure(record: ExecutionRecord, fact: ExecutionFailed, *, now: int, at: int) -> ExecutionRecord:
    reason = FailureReason.parse(fact.reason)
    publishing = record.state is ExecutionState.PUBLISHING
    return moved(
        record,
        ExecutionState.FAILED,
        now=now,
        at=at,
        topic=PUBLISHING_TOPIC if publishing else "Running Execution",
        message=fact.detail[:MAX_DETAIL] or reason,
        details=_failure_details(reason, retryable=reason.retryable),
        output=_bounded(fact.output) if fact.output else None,
        failure=Failure(reason=reason, detail=fact.detail[:MAX_DETAIL], retryable=reason.retryable),
    )


def _progressed(record: ExecutionRecord, fact: ExecutionProgressed, *, now: int, at: int) -> ExecutionRecord:
    """In the same state; a line more in the history."""
    topic, _ = _progress_place(record)
    event = _event(topic, _progress_text(fact), now=now, at=at)
    return msgspec.structs.replace(record, modify_time=now, events=with_event(record.events, event))


def _progress_place(record: ExecutionRecord) -> tuple[str, int]:
    """Under which topic it is told, and how many such lines there may be."""
    if record.state is ExecutionState.PUBLISHING:
        return PUBLISHING_TOPIC, MAX_WAITING
    return PROGRESS_TOPIC, MAX_PROGRESS


def _progress_text(fact: ExecutionProgressed) -> str:
    return "".join(each if each.isprintable() else " " for each in fact.detail[:MAX_PROGRESS_TEXT]).strip()


def _bounded(output: RunOutput) -> RunOutput:
    """What is honest fits; a node that tells more must not make a record that is too large to be stored."""
    return msgspec.structs.replace(
        output, stdout=output.stdout[:MAX_RUN_OUTPUT_BYTES], stderr=output.stderr[:MAX_RUN_OUTPUT_BYTES]
    )


def _failure_details(reason: str, *, retryable: bool) -> dict[str, str]:
    return {"IsError": "true", "ErrorCode": reason, "Retryable": str(retryable).lower()}


def is_refused(record: ExecutionRecord) -> bool:
    """Whether the node will not run this, ever."""
    return record.state is ExecutionState.REJECTED and not (record.failure and record.failure.retryable)


# ---- jobs -------------------------------------------------------------------------------------------------------


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a job's record and its executions.

    `missing` are the (partition, attempt) that should be executed and are not; `surplus` the live executions that
    should stop.
    """

    state: JobState
    message: str = ""
    missing: tuple[tuple[int, int], ...] = ()
    surplus: tuple[ExecutionRecord, ...] = ()


def progress(job: JobRecord, count: int, executions: Iterable[ExecutionRecord], *, max_attempts: int) -> Progress:
    """Where the job stands and what should be done about it."""
    known = tuple(executions)
    live = tuple(each for each in known if not each.state.is_terminal)
    if job.removal is not None:  # by what is left of its executions its state cannot be told any more
        return Progress(state=job.removal.state, message=job.removal.message, surplus=live)
    if job.desired is DesiredState.STOPPED:
        return Progress(state=JobState.STOPPED, message=_last_message(job), surplus=live)
    if job.failure:
        return Progress(state=JobState.FAILED, message=job.failure, surplus=live)
    latest = _latest_attempts(each for each in known if each.job_version == job.version)
    lost = _hopeless(latest, max_attempts)
    if lost is not None:
        return Progress(state=JobState.FAILED, message=_why(known, lost), surplus=live)
    outdated = tuple(each for each in live if each.job_version != job.version)
    missing = tuple(_missing(count, latest))
    return Progress(state=_running_state(count, latest, missing), missing=missing, surplus=outdated)


def _latest_attempts(executions: Iterable[ExecutionRecord]) -> dict[int, ExecutionRecord]:
    latest: dict[int, ExecutionRecord] = {}
    for each in executions:
        if each.partition not in latest or latest[each.partition].attempt < each.attempt:
            latest[each.partition] = each
    return latest


def _hopeless(latest: Mapping[int, ExecutionRecord], max_attempts: int) -> ExecutionRecord | None:
    """An execution after whose failure no further attempt is made: the first, and one that was cancelled last.

    When one has failed for good, the others are cancelled; that is not why the job failed.
    """
    for each in sorted(latest.values(), key=lambda each: (each.state is ExecutionState.CANCELLED, each.modify_time)):
        if each.state is ExecutionState.CANCELLED:
            return each
        if each.state is ExecutionState.FAILED and not (each.failure and each.failure.retryable):
            return each
        if each.state in {ExecutionState.FAILED, ExecutionState.REJECTED} and each.attempt + 1 >= max_attempts:
            return each
    return None


def _why(known: tuple[ExecutionRecord, ...], last: ExecutionRecord) -> str:
    """The first real reason, which a later and less telling one must not hide."""
    which = (last.job_version, last.partition)
    attempts = sorted(
        (each for each in known if (each.job_version, each.partition) == which), key=lambda each: each.attempt
    )
    first = next((each.failure for each in attempts if each.failure is not None), None)
    text = (first.detail or first.reason) if first else "The execution was cancelled."
    return text if len(attempts) < 2 else f"{text} (the first of {len(attempts)} attempts)"


def _missing(count: int, latest: Mapping[int, ExecutionRecord]) -> Iterable[tuple[int, int]]:
    for partition in range(count):
        known = latest.get(partition)
        if known is None:
            yield partition, 0
        elif known.state in {ExecutionState.FAILED, ExecutionState.REJECTED}:
            yield partition, known.attempt + 1


def _running_state(count: int, latest: Mapping[int, ExecutionRecord], missing: tuple[tuple[int, int], ...]) -> JobState:
    states = {each.state for each in latest.values()}
    if not missing and len(latest) == count and states == {ExecutionState.COMPLETED}:
        return JobState.COMPLETED
    begun = {ExecutionState.RUNNING, ExecutionState.PUBLISHING, ExecutionState.COMPLETED, ExecutionState.ACCEPTED}
    return JobState.RUNNING if states & begun else JobState.PENDING


def _last_message(job: JobRecord) -> str:
    return job.events[-1].message if job.events else ""
