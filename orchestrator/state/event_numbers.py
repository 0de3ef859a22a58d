"""The numbers of a job's events: each is given once, by the write that stored the event, and never moves.

The server orders all writes of the state bucket, so that an event's number follows from the revision under which it was
stored, and is the same in every orchestrator. Who writes an event cannot know it: the event is stored as just recorded,
and with its number when its record is written the next time, on condition of just that revision.
"""

from typing import TypeVar

from msgspec.structs import replace

from orchestrator.rules.records import JUST_RECORDED, MAX_EVENTS, Event, ExecutionRecord, JobRecord

A_WRITE = 2 * MAX_EVENTS
"""How many numbers there are for what one write records; the last is for the end of a job, which follows from it."""
FIRST = 1
"""Of the event with which a job begins: the first write of its record comes before all others that are its."""

R = TypeVar("R", JobRecord, ExecutionRecord)


def numbered(record: R, revision: int) -> R:
    """The record as it is known once it is stored under this revision."""
    events: tuple[Event, ...] = record.events
    if not events or events[-1].number != JUST_RECORDED:
        return record
    number = revision * A_WRITE
    if len(events) > 1 and events[-2].number != JUST_RECORDED:  # the rule
        return replace(record, events=(*events[:-1], replace(events[-1], number=number)))
    told: list[Event] = []
    for event in events:
        if event.number != JUST_RECORDED:
            told.append(event)
        elif not told and isinstance(record, JobRecord):
            told.append(replace(event, number=FIRST))
        else:
            told.append(replace(event, number=number))
            number += 1
    return replace(record, events=tuple(told))


def late_number(revision: int, place: int) -> int:
    """Of an event without a number, by the revision of its record and its place there."""
    return revision * A_WRITE + place


def last_number(revision: int) -> int:
    """The largest number up to this revision."""
    return revision * A_WRITE + A_WRITE - 1


def beginning_number(begun_by: int) -> int:
    """The number of the beginning of a job's running, of which the event of this number is the cause.

    It comes before all that was recorded with that event. No other line has this number: that of an end could be it,
    and then an end came first.
    """
    return last_number(begun_by // A_WRITE - 1)


def end_number(ended_by: int) -> int:
    """The number of a job's end, of which the event of this number is the cause."""
    return last_number(ended_by // A_WRITE)
