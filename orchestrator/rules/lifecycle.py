"""The life cycle of executions: a pure, total function from a record and an event to the next record.

It knows no clock, lock or message, and no sequence of events makes it raise: what a node tells, however often, late or
wrongly, has a named outcome in each state. A retry is a new execution, never a step back; whether there is one is the
job's affair (orchestrator/rules/job_progress.py).
"""

from typing import assert_never

import msgspec

from orchestrator.rules.life_events import (
    Agreed,
    Cancel,
    Command,
    ExecutionEvent,
    ExecutionLost,
    ExecutionStep,
    FactTold,
    ForgetExecution,
    NotAgreed,
    NotBegun,
    NotComparable,
    NotOffered,
    NotVerified,
    OfferExecution,
    OfferRefused,
    OfferTaken,
    Outcome,
    Outvoted,
    TimedOut,
    Unattended,
    Withdrawn,
)
from orchestrator.rules.location import Location
from orchestrator.rules.placement import Placement
from orchestrator.rules.records import (
    OF_AGREEMENT,
    OF_INCARNATIONS,
    SCHEMA,
    Event,
    ExecutionRecord,
    Failure,
    with_event,
)
from shared.ids import ExecutionId
from shared.jobs.states import ExecutionState, FailureReason, check_transition
from shared.protocol.execution_lines import (
    ANSWERED,
    ENDING,
    FAILED,
    PREPARING,
    PUBLISHED,
    PUBLISHING,
    RUNNING,
    RUNNING_ON,
    SCHEDULING,
    TASK_ENDED,
    THEN_PUBLISHES,
    YET_PUBLISHED,
)
from shared.protocol.messages import (
    MAX_RUN_OUTPUT_BYTES,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    ExecutionStarted,
    OutputPublished,
    RunOutput,
    TaskEnded,
)

EXIT_CODE_DETAIL = "ExitCode"
"""The detail of an event that tells by which exit code a task has failed."""
_FOR_THE_ORCHESTRATOR_TO_SAY = frozenset(
    {
        FailureReason.NON_ZERO_EXIT_CODE,
        FailureReason.RESULT_NOT_COMPARABLE,
        FailureReason.RESULT_DIFFERS,
        FailureReason.NO_AGREEMENT,
    }
)
MAX_DETAIL = 2000
MAX_PROGRESS_TEXT = 300
MAX_PROGRESS = 48
"""How many lines of progress one execution may have, so that all its other events stay in its history."""
MAX_WAITING = 8
"""The same for lines that tell what its result waits for."""
MOST_AGE_SECONDS = 7 * 86400.0


def placed(
    execution: ExecutionId, placement: Placement, location: Location | None, *, incarnation: str = "", now: int
) -> ExecutionStep:
    """How it begins: as a record that is to be stored, and then offered."""
    record = ExecutionRecord(
        schema=OF_AGREEMENT if placement.owner else OF_INCARNATIONS if incarnation else SCHEMA,
        incarnation=incarnation,
        owner=placement.owner,
        id=execution,
        job_id=placement.job_id,
        job_version=placement.version,
        partition=placement.partition,
        attempt=placement.attempt,
        node_id=placement.node_id,
        resources=placement.resources,
        location=location,
        events=with_event((), Event(time=now, topic=SCHEDULING, message=_placed_text(placement))),
        create_time=now,
        modify_time=now,
    )
    return ExecutionStep(record, Outcome.MOVED, (OfferExecution(record),))


def _placed_text(placement: Placement) -> str:
    which = f", attempt {placement.attempt + 1}" if placement.attempt and not placement.owner else ""
    return f"Placed on node {placement.node_id}{which}"


def transition(record: ExecutionRecord, event: ExecutionEvent, *, now: int) -> ExecutionStep:
    """What becomes of the execution by this event. `ExecutionStep.record` is `record` itself where nothing changes."""
    if record.state.is_terminal:
        return ExecutionStep(record, Outcome.LATE, _when_late(record, event))
    if record.awaits_agreement:
        return _after_answer(record, event, now)
    match event:
        case FactTold():
            return _after_fact(record, event, now)
        case NotVerified(in_the_way):
            reason = FailureReason.OBJECT_IN_THE_WAY if in_the_way else FailureReason.RESULT_NOT_VERIFIED
            return _failed(record, reason, _IN_THE_WAY if in_the_way else _not_verified(record), now, settle=True)
        case NotComparable(detail):
            return _ended_by_its_node(
                _answered_in_vain(record, FailureReason.RESULT_NOT_COMPARABLE, detail, now).record
            )
        case OfferRefused():
            return _refused(record, event, now)
        case ExecutionLost(reason, detail, excused):
            return _failed(record, reason, detail, now, excused=excused)
        case TimedOut(reason, detail):
            return _failed(record, reason, detail, now, cancel=detail)
        case NotBegun() | Unattended() | NotOffered():
            return _not_begun(record, event, now)
        case Withdrawn(why):
            after = _moved(record, ExecutionState.CANCELLED, now, topic=ENDING, message=why[:MAX_DETAIL])
            after = msgspec.structs.replace(after, failure=None)
            return ExecutionStep(after, Outcome.MOVED, (Cancel(record, why),))
        case OfferTaken() | Agreed() | Outvoted() | NotAgreed():  # these about an answer that it has not given
            return ExecutionStep(record, Outcome.KNOWN)
        case _:
            assert_never(event)


def _after_answer(record: ExecutionRecord, event: ExecutionEvent, now: int) -> ExecutionStep:
    """Its node is done with it: what counts is whether other replicas agree, and whether its job still wants it."""
    match event:
        case Agreed(why):
            return _agreed(record, why, now)
        case Outvoted(detail):
            return _answered_in_vain(record, FailureReason.RESULT_DIFFERS, detail, now)
        case NotAgreed(detail):
            return _answered_in_vain(record, FailureReason.NO_AGREEMENT, detail, now)
        case ExecutionLost(disowned=True):
            return _answered_in_vain(record, event.reason, event.detail, now)
        case Withdrawn(why):
            after = _moved(record, ExecutionState.CANCELLED, now, topic=ENDING, message=why[:MAX_DETAIL])
            return ExecutionStep(msgspec.structs.replace(after, failure=None), Outcome.MOVED)
        case FactTold() | NotVerified() | NotComparable():
            return ExecutionStep(record, Outcome.KNOWN, (_settle(record),))
        case OfferTaken() | OfferRefused() | NotOffered() | ExecutionLost() | TimedOut() | NotBegun() | Unattended():
            return ExecutionStep(record, Outcome.KNOWN)
        case _:
            assert_never(event)


def _agreed(record: ExecutionRecord, why: str, now: int) -> ExecutionStep:
    """A task that has failed by its exit code, as others have, fails for that."""
    if record.failure is None:
        after = _moved(record, ExecutionState.COMPLETED, now, topic=PUBLISHING, message=f"{PUBLISHED}: {why}")
    else:
        details = _exit_details(record.failure, _exit_code(record))
        message = f"{_failed_text(record.failure)}{YET_PUBLISHED}{why}"
        after = _moved(record, ExecutionState.FAILED, now, topic=PUBLISHING, message=message, details=details)
    return ExecutionStep(after, Outcome.MOVED)


def _answered_in_vain(record: ExecutionRecord, reason: FailureReason, detail: str, now: int) -> ExecutionStep:
    """Also where its task has failed by its exit code: nobody says so but its node."""
    after = _with_failure(msgspec.structs.replace(record, failure=None), reason, detail, now, topic=ENDING)
    return ExecutionStep(after, Outcome.MOVED)


def _not_begun(record: ExecutionRecord, event: NotBegun | Unattended | NotOffered, now: int) -> ExecutionStep:
    if record.state is not ExecutionState.NEW:
        return ExecutionStep(record, Outcome.KNOWN)
    reason = event.reason if isinstance(event, NotOffered) else FailureReason.HANDED_BACK
    cancel = "" if isinstance(event, NotBegun) else event.detail
    return _failed(record, reason, event.detail, now, cancel=cancel)


def _when_late(record: ExecutionRecord, event: ExecutionEvent) -> tuple[Command, ...]:
    """What its node still has to hear of an execution that has ended."""
    match event:
        case FactTold() | NotVerified() | NotComparable():
            return (_settle(record),)
        case OfferTaken():  # it was stopped while it was being offered
            return (Cancel(record, "Stopped while it was being offered"),)
        case OfferRefused() | NotOffered() | ExecutionLost() | TimedOut() | NotBegun() | Unattended() | Withdrawn():
            return ()
        case Agreed() | Outvoted() | NotAgreed():
            return ()
        case _:
            assert_never(event)


# ---- what its node says -----------------------------------------------------------------------------------------


def _after_fact(record: ExecutionRecord, told: FactTold, now: int) -> ExecutionStep:
    fact, state = told.fact, record.state
    at = now - int(_bounded_seconds(fact.age_seconds) * 1e9)
    match fact:
        case ExecutionStarted():
            if state in {ExecutionState.RUNNING, ExecutionState.PUBLISHING}:
                return ExecutionStep(record, Outcome.KNOWN)
            message = f"{RUNNING_ON}{record.node_id}"
            after = _moved(record, ExecutionState.RUNNING, now, at=at, topic=RUNNING, message=message)
            fetched, pulled = _bounded_seconds(fact.fetch_seconds), _bounded_seconds(fact.pull_seconds)
            return ExecutionStep(
                msgspec.structs.replace(after, fetch_seconds=fetched, pull_seconds=pulled, gpus=fact.gpus),
                Outcome.MOVED,
            )
        case TaskEnded():
            if state is ExecutionState.PUBLISHING:
                return ExecutionStep(record, Outcome.KNOWN)
            return _after_end(record, fact, told, now, at)
        case OutputPublished():
            return _after_publishing(record, fact, told, now, at)
        case ExecutionFailed():
            return _after_failure(record, fact, now, at, excused=told.excused)
        case ExecutionCancelled():  # nobody wanted that, or it had ended here before
            detail = f"Node {record.node_id} stopped it by itself: {fact.reason}"
            after = _with_failure(record, FailureReason.NODE_ERROR, detail, now, at=at, topic=ENDING)
            return _ended_by_its_node(after)
        case ExecutionProgressed():
            return _progressed(record, fact, now, at)
        case _:
            assert_never(fact)


def _bounded_seconds(told: float) -> float:
    return max(0.0, min(told, MOST_AGE_SECONDS))


def _after_end(record: ExecutionRecord, fact: TaskEnded, told: FactTold, now: int, at: int) -> ExecutionStep:
    """A task that has failed by its exit code has its result published like any other; then the execution fails."""
    ended, failure = f"{TASK_ENDED}{fact.output.exit_code}", told.failure
    if told.publishes:
        state, message, details = ExecutionState.PUBLISHING, f"{ended}{THEN_PUBLISHES}", None
    elif failure is not None:
        details = _exit_details(failure, fact.output.exit_code)
        state, message = ExecutionState.FAILED, _failed_text(failure)
    else:
        state, message, details = ExecutionState.COMPLETED, ended, None
    after = msgspec.structs.replace(
        _moved(record, state, now, at=at, topic=RUNNING, message=message, details=details),
        output=_bounded(fact.output),
        run_seconds=fact.run_seconds,
        peak_memory_bytes=fact.peak_memory_bytes,
        failure=failure,
    )
    return ExecutionStep(after, Outcome.MOVED) if told.publishes else _ended_by_its_node(after)


def _after_publishing(
    record: ExecutionRecord, fact: OutputPublished, told: FactTold, now: int, at: int
) -> ExecutionStep:
    if record.state is not ExecutionState.PUBLISHING:
        return ExecutionStep(record, Outcome.EARLY)
    if told.result is None:
        return ExecutionStep(record, Outcome.UNVERIFIED)
    what = f"{fact.size_bytes:,} bytes, {fact.entries:,} entries"
    if told.answer:
        events = with_event(record.events, _event(PUBLISHING, f"{ANSWERED}, {what}", now, at))
        after = msgspec.structs.replace(record, modify_time=now, events=events, result=told.result, answer=told.answer)
        return ExecutionStep(after, Outcome.MOVED, (_settle(after),))
    if record.failure is None:
        message = f"{PUBLISHED}, {what}"
        after = _moved(record, ExecutionState.COMPLETED, now, at=at, topic=PUBLISHING, message=message)
    else:
        message = f"{_failed_text(record.failure)}{YET_PUBLISHED}{what}"
        details = _exit_details(record.failure, _exit_code(record))
        after = _moved(record, ExecutionState.FAILED, now, at=at, topic=PUBLISHING, message=message, details=details)
    return _ended_by_its_node(msgspec.structs.replace(after, result=told.result))


def _after_failure(
    record: ExecutionRecord, fact: ExecutionFailed, now: int, at: int, *, excused: bool
) -> ExecutionStep:
    reason = FailureReason.parse(fact.reason)
    if reason in _FOR_THE_ORCHESTRATOR_TO_SAY:
        reason = FailureReason.UNKNOWN
    if fact.not_begun or reason is FailureReason.HANDED_BACK:
        new = record.state is ExecutionState.NEW
        reason = FailureReason.HANDED_BACK if new else FailureReason.NODE_RESTARTED
    topic = PUBLISHING if record.state is ExecutionState.PUBLISHING else RUNNING
    after = _with_failure(record, reason, fact.detail, now, at=at, topic=topic, excused=excused)
    return _ended_by_its_node(
        msgspec.structs.replace(
            after,
            output=_bounded(fact.output) if fact.output else record.output,
            run_seconds=fact.run_seconds or record.run_seconds,
            peak_memory_bytes=fact.peak_memory_bytes or record.peak_memory_bytes,
        )
    )


def _refused(record: ExecutionRecord, event: OfferRefused, now: int) -> ExecutionStep:
    if record.state is not ExecutionState.NEW:  # it was taken when it was offered before
        return ExecutionStep(record, Outcome.KNOWN)
    reason, detail = event.reason[:100], event.detail[:MAX_DETAIL]
    after = _moved(
        record,
        ExecutionState.REJECTED,
        now,
        topic=SCHEDULING,
        message=f"Node {record.node_id} refused: {detail or reason}",
        details=_failure_details(reason, retryable=event.retryable),
    )
    failure = Failure(reason=reason, detail=detail, retryable=event.retryable, excused=event.excused)
    return ExecutionStep(msgspec.structs.replace(after, failure=failure), Outcome.MOVED)


def _progressed(record: ExecutionRecord, fact: ExecutionProgressed, now: int, at: int) -> ExecutionStep:
    """In the same state; a line more in the history."""
    publishing = record.state is ExecutionState.PUBLISHING
    topic, most = (PUBLISHING, MAX_WAITING) if publishing else (PREPARING, MAX_PROGRESS)
    told = [event for event in record.events if event.topic in {PREPARING, PUBLISHING}]
    text = _progress_text(fact)
    if text.startswith((PUBLISHED, ANSWERED)):  # which is for the orchestrator to say
        return ExecutionStep(record, Outcome.KNOWN)
    if sum(event.topic == topic for event in told) >= most or any(event.message == text for event in told):
        return ExecutionStep(record, Outcome.KNOWN)
    events = with_event(record.events, _event(topic, text, now, at))
    return ExecutionStep(msgspec.structs.replace(record, modify_time=now, events=events), Outcome.NOTED)


# ---- the steps themselves ---------------------------------------------------------------------------------------


def _moved(
    record: ExecutionRecord,
    state: ExecutionState,
    now: int,
    *,
    at: int | None = None,
    topic: str,
    message: str,
    details: dict[str, str] | None = None,
) -> ExecutionRecord:
    """The record after a step of its life, taken `at` a time that may be before `now`."""
    check_transition(record.state, state, story(record))
    events = with_event(record.events, _event(topic, message, now, at, details))
    return msgspec.structs.replace(record, state=state, modify_time=now, events=events)


def _with_failure(
    record: ExecutionRecord,
    reason: FailureReason,
    detail: str,
    now: int,
    *,
    at: int | None = None,
    topic: str,
    excused: bool = False,
) -> ExecutionRecord:
    if record.failure is not None:  # its task had failed before, so that this is what has become of its result
        return _without_result(record, detail or reason.value, now, at=at, topic=topic)
    detail = detail[:MAX_DETAIL]
    retryable = reason.retryable or excused
    details = _failure_details(reason, retryable=retryable)
    after = _moved(
        record, ExecutionState.FAILED, now, at=at, topic=topic, message=detail or reason.value, details=details
    )
    failure = Failure(reason=reason, detail=detail, retryable=retryable, excused=excused)
    return msgspec.structs.replace(after, failure=failure)


def _without_result(record: ExecutionRecord, problem: str, now: int, *, at: int | None, topic: str) -> ExecutionRecord:
    """What a task has failed for stays the reason, and what its job wants to be done about it."""
    assert record.failure is not None
    detail = f"{record.failure.detail} Its result was not published: {problem}"[:MAX_DETAIL]
    failure = msgspec.structs.replace(record.failure, detail=detail)
    details = _exit_details(failure, _exit_code(record))
    message = _failed_text(failure)
    after = _moved(record, ExecutionState.FAILED, now, at=at, topic=topic, message=message, details=details)
    return msgspec.structs.replace(after, failure=failure)


def _failed(
    record: ExecutionRecord,
    reason: FailureReason,
    detail: str,
    now: int,
    *,
    excused: bool = False,
    settle: bool = False,
    cancel: str = "",
) -> ExecutionStep:
    after = _with_failure(record, reason, detail, now, topic=ENDING, excused=excused)
    told: tuple[Command, ...] = (_settle(after),) if settle else (Cancel(record, cancel),) if cancel else ()
    return ExecutionStep(after, Outcome.MOVED, told)


def _ended_by_its_node(after: ExecutionRecord) -> ExecutionStep:
    return ExecutionStep(after, Outcome.MOVED, (_settle(after),))


def _settle(record: ExecutionRecord) -> ForgetExecution:
    return ForgetExecution(record.node_id, record.id)


def story(record: ExecutionRecord) -> str:
    """One execution's life in a line."""
    return " -> ".join(event.message for event in record.events) or "(new)"


def _event(topic: str, message: str, now: int, at: int | None, details: dict[str, str] | None = None) -> Event:
    time, recorded = (now, 0) if at is None or at == now else (at, now)
    return Event(time=time, recorded=recorded, topic=topic, message=message, details=details or {})


def _progress_text(fact: ExecutionProgressed) -> str:
    return "".join(each if each.isprintable() else " " for each in fact.detail[:MAX_PROGRESS_TEXT]).strip()


def _bounded(output: RunOutput) -> RunOutput:
    """What is honest fits; a node that tells more must not make a record that is too large to be stored."""
    return msgspec.structs.replace(
        output, stdout=output.stdout[:MAX_RUN_OUTPUT_BYTES], stderr=output.stderr[:MAX_RUN_OUTPUT_BYTES]
    )


def _failure_details(reason: str, *, retryable: bool) -> dict[str, str]:
    return {"IsError": "true", "ErrorCode": reason, "Retryable": str(retryable).lower()}


def _failed_text(failure: Failure) -> str:
    """Of a task that has failed by its exit code."""
    return f"{FAILED}{failure.detail[:1].lower()}{failure.detail[1:].removesuffix('.')}"


def _exit_details(failure: Failure, exit_code: int) -> dict[str, str]:
    return _failure_details(failure.reason, retryable=failure.retryable) | {EXIT_CODE_DETAIL: str(exit_code)}


def _exit_code(record: ExecutionRecord) -> int:
    return record.output.exit_code if record.output is not None else 0


_IN_THE_WAY = (
    "Another object was in the bucket already, where the result of this execution goes, and was kept. It may be from a"
    " time before the orchestrator's state was restored from a backup"
)


def _not_verified(record: ExecutionRecord) -> str:
    return (
        f"The object in the bucket is not what node {record.node_id} says it published: it is absent, not readable with"
        " the orchestrator's credentials, or of another size or digest"
    )
