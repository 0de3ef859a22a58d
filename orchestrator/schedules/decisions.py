"""Decisions about schedules: which due times have come, which of them get a run, and how the record tells it.

All of it is pure. What was decided up to is stored before anything is begun, and never goes back: a clock that is set
back, or another leader, finds the same due times decided.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from msgspec.structs import replace

from orchestrator.rules.records import VERSION_DETAIL, Event, JobRecord, ScheduleState, with_event
from shared.ids import JobId
from shared.jobs.schedules import (
    ALL,
    ALLOW,
    REPLACE,
    SECOND_NS,
    SKIP,
    deadline_ns,
    due_between,
    local_time,
    newest_due,
)
from shared.jobs.spec import Schedule

ON_TIME_NS = 60 * SECOND_NS
"""What begins no later than this after it was due is no missed run that is made up for."""
MOST_MADE_UP = 100
"""How many runs `Missed: all` begins together."""
MOST_GOING = 100
"""Of one schedule, beside which no other run is begun."""
COUNTED = 1000
"""How far missed runs are counted."""

TOPIC = "Schedule"
RUN_DETAIL, DUE_DETAIL = "RunID", "Due"


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    """About all due times up to `decided`: those that get a run, and what becomes of the others.

    `missed` counts those that get none as nobody decided in time, of which the `first` and the `last` that were counted
    are told; after an outage of COUNTED runs there may be more. `left_out` would run beside an earlier one.
    """

    decided: int
    begin: tuple[int, ...] = ()
    missed: int = 0
    first: int = 0
    last: int = 0
    left_out: tuple[int, ...] = ()


class GoingOn(NamedTuple):
    """How many runs of a schedule go on, and what one of them is called."""

    going: int = 0
    called: str = ""


def decide(schedule: Schedule, decided: int, *, now: int, going: int = 0) -> Decision | None:
    """None where nothing is due: also while the clock is behind what was decided."""
    if now <= decided:
        return None
    come = due_between(schedule, decided, now, COUNTED)
    if not come:
        return None
    begin = _in_time(schedule, decided, now)
    late = [each for each in come if each not in begin] or [0]
    found = Decision(
        decided=now,
        begin=tuple(begin),
        missed=max(0, len(come) - len(begin)),
        first=late[0],
        last=late[-1],
    )
    return _beside_others(found, schedule.overlap, going)


def _in_time(schedule: Schedule, decided: int, now: int) -> list[int]:
    """Those for which it is not too late, by the rule for missed runs."""
    on_time = due_between(schedule, max(decided, now - ON_TIME_NS), now)
    if schedule.missed == ALL:
        return newest_due(schedule, max(decided, now - deadline_ns(schedule)), now, MOST_MADE_UP)
    if on_time or schedule.missed == SKIP:
        return on_time
    return newest_due(schedule, max(decided, now - deadline_ns(schedule)), now, 1)


def _beside_others(found: Decision, overlap: str, going: int) -> Decision:
    if overlap == ALLOW:
        room = max(0, MOST_GOING - going)
        return _split(found, found.begin[:room], found.begin[room:])
    room = 1 if overlap == REPLACE or not going else 0
    return _split(found, found.begin[len(found.begin) - room :], found.begin[: len(found.begin) - room])


def _split(found: Decision, begin: Sequence[int], left_out: Sequence[int]) -> Decision:
    return replace(found, begin=tuple(begin), left_out=tuple(left_out)) if left_out else found


def decided_record(job: JobRecord, schedule: Schedule, found: Decision, others: GoingOn, *, now: int) -> JobRecord:
    """The schedule's record once this is decided, with what is told of it."""
    state = _state(job)
    after = replace(
        state,
        decided=found.decided,
        due=(*state.due, *found.begin),
        missed=state.missed + found.missed,
        left_out=state.left_out + len(found.left_out),
    )
    events = job.events
    if found.missed:
        events = with_event(events, _event(job, now, _missed_text(schedule, found)))
    for due in found.left_out:
        events = with_event(events, _event(job, now, _left_out_text(schedule, due, others), due=due))
    return replace(job, schedule=after, events=events, modify_time=now)


def begun_record(job: JobRecord, schedule: Schedule, due: int, run: JobId, called: str, *, now: int) -> JobRecord:
    """Once the run that was due then is there; the same where that is known already."""
    state = _state(job)
    if due not in state.due:
        return job
    after = replace(state, due=tuple(each for each in state.due if each != due), begun=state.begun + 1)
    late = now - due
    told = f", {late // SECOND_NS:,} s late" if late > ON_TIME_NS else ""
    event = _event(job, now, f"Run {called} of {_shown(schedule, due)} begun{told}", due=due, run=run)
    return replace(job, schedule=after, events=with_event(job.events, event), modify_time=now)


def begun_by_hand(job: JobRecord, run: JobId, called: str, *, now: int) -> JobRecord:
    state = _state(job)
    event = _event(job, now, f"Run {called} begun, as it was asked for", run=run)
    return replace(
        job, schedule=replace(state, begun=state.begun + 1), events=with_event(job.events, event), modify_time=now
    )


def refused_record(job: JobRecord, schedule: Schedule, due: int, why: str, *, now: int) -> JobRecord:
    """Once it is known that the run that was due then cannot begin."""
    state = _state(job)
    if due not in state.due:
        return job
    after = replace(state, due=tuple(each for each in state.due if each != due), refused=state.refused + 1)
    event = _event(job, now, f"The run of {_shown(schedule, due)} could not begin: {why[:500]}", due=due, is_error=True)
    return replace(job, schedule=after, events=with_event(job.events, event), modify_time=now)


def paused_record(job: JobRecord, reason: str, *, now: int) -> JobRecord:
    """What is not begun yet is not begun then."""
    event = _event(job, now, f"Schedule paused{_because(reason)}")
    after = replace(_state(job), paused=now, due=())
    return replace(job, schedule=after, events=with_event(job.events, event), modify_time=now)


def resumed_record(job: JobRecord, reason: str, *, now: int) -> JobRecord:
    """What was due meanwhile is not made up for. Also where a clock that was ahead has decided too much."""
    event = _event(job, now, f"Schedule resumed{_because(reason)}")
    after = replace(_state(job), paused=0, decided=now)
    return replace(job, schedule=after, events=with_event(job.events, event), modify_time=now)


def _state(job: JobRecord) -> ScheduleState:
    assert job.schedule is not None
    return job.schedule


def _event(
    job: JobRecord, now: int, message: str, *, due: int = 0, run: JobId | None = None, is_error: bool = False
) -> Event:
    details = {VERSION_DETAIL: str(job.version)}
    if due:
        details[DUE_DETAIL] = str(due)
    if run is not None:
        details[RUN_DETAIL] = run
    if is_error:
        details["IsError"] = "true"
    return Event(time=now, topic=TOPIC, message=message, details=details)


def _missed_text(schedule: Schedule, found: Decision) -> str:
    first, last = _shown(schedule, found.first), _shown(schedule, found.last)
    rest = "; the one that begins now makes up for that" if found.begin and schedule.missed != ALL else ""
    if found.missed == 1:
        return f"The run of {first} missed, as nobody decided then{rest}"
    more = " and perhaps more" if found.missed >= COUNTED - MOST_MADE_UP else ""
    return f"{found.missed:,} runs{more} missed, of {first} to {last}, as nobody decided then{rest}"


def _left_out_text(schedule: Schedule, due: int, others: GoingOn) -> str:
    if others.going >= MOST_GOING:
        return f"The run of {_shown(schedule, due)} left out: {others.going} runs go on"
    why = f"run {others.called} goes on" if others.called else "a later one is begun"
    return f"The run of {_shown(schedule, due)} left out: {why}"


def _shown(schedule: Schedule, instant: int) -> str:
    return local_time(schedule, instant).isoformat(timespec="minutes")


def _because(reason: str) -> str:
    return f": {reason[:500]}" if reason else ""
