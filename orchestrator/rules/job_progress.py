"""The progress of a job: what follows from its record and its executions, and what is to be done about it.

A job's state is computed, never stored. What users and time do to it is written into its record.
"""

import sys
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import assert_never

import msgspec

from orchestrator.rules.attempts import (
    AttemptBackoff,
    Budget,
    cost_nothing,
    has_failed_by_exit_code,
    is_refused,
    is_waited_after,
    may_be_tried_again,
)
from orchestrator.rules.life_events import GivenUp, JobEvent, JobStep, Outcome, StopAsked, TargetsChosen
from orchestrator.rules.records import VERSION_DETAIL, Event, ExecutionRecord, JobRecord, with_event
from orchestrator.rules.replicas.agreement import PartStanding, ReplicaVerdict, Terms, ended_at, standing
from shared.ids import NodeId
from shared.jobs.states import DesiredState, ExecutionState, FailureReason, JobState

_IN_VAIN = frozenset({ExecutionState.FAILED, ExecutionState.REJECTED, ExecutionState.CANCELLED})
"""How an execution ends that gives no result."""
_BEGUN = frozenset(
    {ExecutionState.RUNNING, ExecutionState.PUBLISHING, ExecutionState.COMPLETED, ExecutionState.ACCEPTED}
)
NO_LIMIT = sys.maxsize
MOST_NAMED = 20
"""So many nodes are named in a message."""
_NO_WAITS: Mapping[int, int] = {}


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What follows from a job's record and its executions.

    `missing` are the (partition, attempt) that should be executed and are not; `waits` is when that may begin, by the
    partition, where a failed attempt keeps it waiting; `room` is how many of them may be placed beside what runs,
    the first of which it is time for, in the order of partitions. `surplus` are the live executions that should stop.
    `left_out_count` are the entries whose content the results lack. `ended_by` is the number of the event by which the
    job ended, 0 where none was given. `verdicts` are about replicas that have answered.
    """

    state: JobState
    message: str = ""
    missing: tuple[tuple[int, int], ...] = ()
    waits: Mapping[int, int] = _NO_WAITS
    room: int = NO_LIMIT
    surplus: tuple[ExecutionRecord, ...] = ()
    left_out_count: int = 0
    ended_by: int = 0
    verdicts: tuple[ReplicaVerdict, ...] = ()

    @property
    def has_loose_ends(self) -> bool:
        """Whether executions go on of which nothing depends: they are to stop, or to be judged."""
        return bool(self.surplus or self.verdicts)


def progress(
    job: JobRecord,
    count: int,
    executions: Iterable[ExecutionRecord],
    *,
    budget: Budget,
    backoff: AttemptBackoff,
    is_later: Callable[[ExecutionRecord], bool],
    most_parallel: int = NO_LIMIT,
    keeps: tuple[int, ...] = (),
    each_node: bool = False,
    terms: Terms | None = None,
) -> Progress:
    """Where the job stands and what should be done about it. Of its parts `most_parallel` may run at once.

    What has completed in the versions that it `keeps` is done. With `each_node` each part belongs to one node: no other
    can run it, and where it fails for good the others go on all the same. With `terms` each part has replicas that have
    to agree, and `most_parallel` is of parts with all of theirs.

    `is_later` tells which executions were written after the job's record. Whoever stopped it may not have known that it
    had ended already; an end is final.
    """
    known = tuple(executions)
    if job.removal is not None:  # by what is left of its executions its state cannot be told any more
        live = tuple(each for each in known if not each.state.is_terminal)
        gone = job.removal
        return Progress(state=gone.state, message=gone.message, surplus=live, ended_by=gone.ended_by)
    if job.desired is DesiredState.STOPPED or job.failure:
        going = msgspec.structs.replace(job, desired=DesiredState.RUNNING, failure="")
        earlier = tuple(each for each in known if not is_later(each))
        before = _by_executions(
            going, count, earlier, budget, backoff=backoff, keeps=keeps, each_node=each_node, terms=terms
        )
        judged = {each.record.id for each in before.verdicts}
        live = tuple(each for each in known if not each.state.is_terminal)
        if before.state.is_terminal:
            return msgspec.structs.replace(before, surplus=tuple(each for each in live if each.id not in judged))
        ended_by = _last_number(job)
        if job.desired is DesiredState.STOPPED:
            return Progress(state=JobState.STOPPED, message=_last_message(job), surplus=live, ended_by=ended_by)
        return Progress(state=JobState.FAILED, message=job.failure, surplus=live, ended_by=ended_by)
    found = _by_executions(job, count, known, budget, backoff=backoff, keeps=keeps, each_node=each_node, terms=terms)
    if most_parallel == NO_LIMIT or not found.missing:
        return found
    at_once = most_parallel * (terms.replicas if terms is not None else 1)
    return msgspec.structs.replace(found, room=max(0, at_once - _running(known)))


def _by_executions(
    job: JobRecord,
    count: int,
    known: tuple[ExecutionRecord, ...],
    budget: Budget,
    *,
    backoff: AttemptBackoff,
    keeps: tuple[int, ...],
    each_node: bool,
    terms: Terms | None,
) -> Progress:
    if job.schedule is not None:  # its runs are jobs of their own
        live = tuple([each for each in known if not each.state.is_terminal])
        return Progress(state=JobState.RUNNING, surplus=live)
    if terms is not None:
        return _by_replicas(job, count, known, terms, backoff=backoff, keeps=keeps)
    if count == len(known) == 1 and known[0].job_version == job.version and known[0].state not in _IN_VAIN:
        return _by_one(known[0])  # the rule
    live = tuple([each for each in known if not each.state.is_terminal])
    of_version = tuple([each for each in known if each.job_version == job.version])
    latest = _latest_attempts(of_version)
    if keeps:
        latest = {each.partition: each for each in kept_of(known, keeps)} | latest
    states = {each.state for each in latest.values()}
    lost = tuple(_hopeless(latest, of_version, budget, each_node=each_node)) if states & _IN_VAIN else ()
    if lost and not each_node:
        ended_by = min(map(_last_number, lost))
        return Progress(state=JobState.FAILED, message=_why(known, lost[0]), surplus=live, ended_by=ended_by)
    outdated = tuple([each for each in live if each.job_version != job.version])
    over = {each.partition for each in lost}
    missing = tuple(_missing(count, latest, over)) if len(latest) < count or states & _IN_VAIN else ()
    if lost and not missing and all(each.state.is_terminal for each in latest.values()):
        ended_by = max(map(_last_number, latest.values()))
        return Progress(state=JobState.FAILED, message=_where(known, lost, count), surplus=live, ended_by=ended_by)
    state = _running_state(count, latest, missing)
    return Progress(
        state=state,
        missing=missing,
        waits=_waits(latest, of_version, budget, backoff, over) if states & _IN_VAIN else _NO_WAITS,
        surplus=outdated,
        left_out_count=sum([each.result.left_out_count for each in latest.values() if each.result]),
        ended_by=max(map(_last_number, latest.values())) if state is JobState.COMPLETED else 0,
    )


def _by_replicas(
    job: JobRecord,
    count: int,
    known: tuple[ExecutionRecord, ...],
    terms: Terms,
    *,
    backoff: AttemptBackoff,
    keeps: tuple[int, ...],
) -> Progress:
    of_parts: dict[int, list[ExecutionRecord]] = {part: [] for part in range(count)}
    for each in known:
        if each.job_version == job.version:
            of_parts[each.partition].append(each)
    parts = {part: standing(mine, terms, backoff) for part, mine in of_parts.items()}
    kept = (each for each in kept_of(known, keeps) if not of_parts.get(each.partition, [each]))
    parts |= {each.partition: PartStanding(done=each) for each in kept}
    lost = {part: ended_at(of_parts[part], terms, backoff) for part, each in parts.items() if each.failed is not None}
    if lost:
        return _lost_replicas(known, of_parts, parts, lost)
    done = [each.done for each in parts.values() if each.done is not None]
    outdated = [each for each in known if not each.state.is_terminal and each.job_version != job.version]
    begun = bool(done) or any(each.state in _BEGUN for mine in of_parts.values() for each in mine)
    is_complete = len(done) == count
    ends = [ended_at(of_parts[each.partition] or [each], terms, backoff) for each in done] if is_complete else []
    return Progress(
        state=JobState.COMPLETED if is_complete else JobState.RUNNING if begun else JobState.PENDING,
        missing=tuple([(part, attempt) for part, each in parts.items() for attempt in each.missing]),
        waits={part: each.not_before for part, each in parts.items() if each.not_before} or _NO_WAITS,
        surplus=(*outdated, *[each for part in parts.values() for each in part.surplus]),
        left_out_count=sum([each.result.left_out_count for each in done if each.result]),
        ended_by=max(ends, default=0),
        verdicts=tuple([verdict for each in parts.values() for verdict in each.verdicts]),
    )


def _lost_replicas(
    known: tuple[ExecutionRecord, ...],
    of_parts: Mapping[int, Sequence[ExecutionRecord]],
    parts: Mapping[int, PartStanding],
    lost: Mapping[int, int],
) -> Progress:
    """Where a job stands of which parts are `lost`, each by the event of this number: the first of them says why."""
    first = min(lost, key=lambda part: (lost[part], part))
    verdicts = tuple([verdict for part in lost for verdict in parts[part].verdicts])
    judged = {each.record.id for each in verdicts}
    failed = parts[first].failed
    assert failed is not None
    return Progress(
        state=JobState.FAILED,
        message=_why_replicas(failed, of_parts[first]),
        surplus=tuple([each for each in known if not each.state.is_terminal and each.id not in judged]),
        ended_by=lost[first],
        verdicts=verdicts,
    )


def _why_replicas(failed: ExecutionRecord, of_part: Sequence[ExecutionRecord]) -> str:
    failure = failed.failure
    if failure is None:
        return "The execution was cancelled."
    told = failure.detail or failure.reason
    answered = sum([each.failure is not None and each.failure.reason == failure.reason for each in of_part])
    return told if answered < 2 or failure.reason == FailureReason.NO_AGREEMENT else f"{told} (of {answered} replicas)"


def _running(known: tuple[ExecutionRecord, ...]) -> int:
    """How many run, or are about to: also of an earlier version. What is being published does not run any more."""
    return sum([each.state.holds_capacity for each in known])


def kept_of(executions: Iterable[ExecutionRecord], keeps: tuple[int, ...]) -> Iterator[ExecutionRecord]:
    """Those by which parts have completed in these versions; several of a part are replicas that agreed."""
    return (each for each in executions if each.state is ExecutionState.COMPLETED and each.job_version in keeps)


def _by_one(only: ExecutionRecord) -> Progress:
    """Where a job stands that has one execution, which goes on or has completed."""
    if only.state is not ExecutionState.COMPLETED:
        return Progress(state=JobState.RUNNING if only.state in _BEGUN else JobState.PENDING)
    left_out = only.result.left_out_count if only.result else 0
    return Progress(state=JobState.COMPLETED, left_out_count=left_out, ended_by=_last_number(only))


def replaced_progress(count: int, executions: tuple[ExecutionRecord, ...], *, budget: Budget) -> Progress:
    """Where a version stands that had not ended when a later one took its place.

    Its executions were cancelled then, unless they ended before they could be.
    """
    latest = _latest_attempts(executions)
    lost = next(_hopeless(latest, executions, budget), None)
    if lost is not None and lost.state is not ExecutionState.CANCELLED:
        return Progress(state=JobState.FAILED, message=_why(executions, lost))
    if _running_state(count, latest, ()) is JobState.COMPLETED:
        return Progress(state=JobState.COMPLETED)
    return Progress(state=JobState.STOPPED, message="A later version took its place.")


def job_transition(job: JobRecord, state: JobState, event: JobEvent, *, now: int) -> JobStep:
    """What becomes of the record of a job that is in this state. An end is final."""
    if state.is_terminal:
        again = state is JobState.STOPPED and isinstance(event, StopAsked)
        return JobStep(job, Outcome.KNOWN if again else Outcome.LATE)
    about = {VERSION_DETAIL: str(job.version)}
    match event:
        case StopAsked(reason):
            message = f"Job stopped: {reason[:500]}" if reason else "Job stopped"
            told = Event(time=now, topic="State Update", message=message, details=about)
            after = msgspec.structs.replace(job, desired=DesiredState.STOPPED)
        case TargetsChosen() if job.targets:
            return JobStep(job, Outcome.KNOWN)
        case TargetsChosen(nodes):
            told = Event(time=now, topic="Scheduling", message=f"Runs on {_named(nodes)}", details=about)
            after = msgspec.structs.replace(job, targets=nodes)
        case GivenUp(why):
            told = Event(time=now, topic="Scheduling", message=why, details={"IsError": "true"} | about)
            after = msgspec.structs.replace(job, failure=why)
        case _:
            assert_never(event)
    events = with_event(job.events, told)
    return JobStep(msgspec.structs.replace(after, modify_time=now, events=events), Outcome.MOVED)


def _latest_attempts(executions: Iterable[ExecutionRecord]) -> dict[int, ExecutionRecord]:
    latest: dict[int, ExecutionRecord] = {}
    for each in executions:
        if each.partition not in latest or latest[each.partition].attempt < each.attempt:
            latest[each.partition] = each
    return latest


def _hopeless(
    latest: Mapping[int, ExecutionRecord],
    of_version: tuple[ExecutionRecord, ...],
    budget: Budget,
    *,
    each_node: bool = False,
) -> Iterator[ExecutionRecord]:
    """Executions after whose failure no further attempt is made: the first, and those that were cancelled last.

    When one has failed for good, the others are cancelled; that is not why the job failed. What its node refuses is
    not tried again where no other node may be asked.
    """
    free = Counter(each.partition for each in of_version if cost_nothing(each))
    exits = _exits(of_version)
    for each in sorted(latest.values(), key=lambda each: (each.state is ExecutionState.CANCELLED, each.modify_time)):
        is_final = each.state is ExecutionState.FAILED and not (each.failure and each.failure.retryable)
        part = each.partition
        is_last = may_be_tried_again(each) and budget.was_last(each, free=free[part], exits=exits[part])
        if each.state is ExecutionState.CANCELLED or is_final or is_last or (each_node and is_refused(each)):
            yield each


def _exits(of_version: tuple[ExecutionRecord, ...]) -> Counter[int]:
    """How often each part has failed by its exit code."""
    return Counter(each.partition for each in of_version if has_failed_by_exit_code(each))


def _why(known: tuple[ExecutionRecord, ...], last: ExecutionRecord) -> str:
    """The first real reason, which a later and less telling one must not hide. An exit code is telling."""
    which = (last.job_version, last.partition)
    attempts = [each for each in known if (each.job_version, each.partition) == which and not cost_nothing(each)]
    if has_failed_by_exit_code(last) and last.failure is not None:
        return (
            last.failure.detail
            if len(attempts) < 2
            else f"{last.failure.detail} (the last of {len(attempts)} attempts)"
        )
    first = min((each for each in attempts if each.failure), key=lambda each: each.attempt, default=last).failure
    if first is None:
        return "The execution was cancelled."
    text = first.detail or first.reason
    return text if len(attempts) < 2 else f"{text} (the first of {len(attempts)} attempts)"


def _where(known: tuple[ExecutionRecord, ...], lost: tuple[ExecutionRecord, ...], count: int) -> str:
    """On which nodes it has failed, and why on the first of them."""
    nodes = sorted(each.node_id for each in lost)
    return f"Failed on {_named(nodes, of=count)}. Node {lost[0].node_id}: {_why(known, lost[0])}"


def _named(nodes: Sequence[NodeId], *, of: int = 0) -> str:
    """Such as `3 nodes: a, b, c`, or `2 of 3 nodes: a, b`."""
    number = f"{len(nodes):,} of {of:,}" if of else f"{len(nodes):,}"
    more = f" and {len(nodes) - MOST_NAMED:,} more" if len(nodes) > MOST_NAMED else ""
    return f"{number} {'node' if (of or len(nodes)) == 1 else 'nodes'}: {', '.join(nodes[:MOST_NAMED])}{more}"


def _missing(count: int, latest: Mapping[int, ExecutionRecord], over: Container[int]) -> Iterable[tuple[int, int]]:
    for partition in range(count):
        known = latest.get(partition)
        if known is None:
            yield partition, 0
        elif may_be_tried_again(known) and partition not in over:
            yield partition, known.attempt + 1


def _waits(
    latest: Mapping[int, ExecutionRecord],
    of_version: tuple[ExecutionRecord, ...],
    budget: Budget,
    backoff: AttemptBackoff,
    over: Container[int],
) -> Mapping[int, int]:
    """By the exit code and otherwise is counted apart: the one kind of failure says nothing about the other."""
    failed = Counter(
        (each.partition, has_failed_by_exit_code(each))
        for each in of_version
        if may_be_tried_again(each) and is_waited_after(each)
    )
    last = (each for each in latest.values() if may_be_tried_again(each) and each.partition not in over)
    due = {
        each.partition: backoff.due(each, failed[each.partition, has_failed_by_exit_code(each)], budget.retries)
        for each in last
    }
    return {partition: at for partition, at in due.items() if at}


def _running_state(count: int, latest: Mapping[int, ExecutionRecord], missing: tuple[tuple[int, int], ...]) -> JobState:
    states = {each.state for each in latest.values()}
    if not missing and len(latest) == count and states == {ExecutionState.COMPLETED}:
        return JobState.COMPLETED
    return JobState.RUNNING if states & _BEGUN else JobState.PENDING


def _last_message(job: JobRecord) -> str:
    return job.events[-1].message if job.events else ""


def _last_number(record: JobRecord | ExecutionRecord) -> int:
    return record.events[-1].number if record.events else 0
