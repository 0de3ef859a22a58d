"""The lines of a job's history: what its records have recorded, each line with its number, and what follows from that.

From an execution's beginning follows that the job runs, and from how its executions ended how the job did.
"""

from collections.abc import Iterable, Iterator
from operator import attrgetter, itemgetter
from typing import NamedTuple

from orchestrator.rules.records import Event, ExecutionRecord, versioned
from orchestrator.state.event_numbers import A_WRITE, beginning_number, end_number, late_number
from orchestrator.state.job_entry import JobEntry
from shared.jobs.states import JobState
from shared.protocol.execution_lines import RUNNING, RUNNING_ON, TASK_ENDED

_BEGINNINGS = (RUNNING_ON, TASK_ENDED)
_ENDS = {JobState.STOPPED: "Nothing of it runs any more"}
"""That it was stopped is an event of its own."""
_RUNS = {"NewState": str(JobState.RUNNING)}


class HistoryLine(NamedTuple):
    """It is about an execution, or about a version of the job."""

    number: int
    about: ExecutionRecord | int
    event: Event


def lines(entry: JobEntry, *, after: int = 0) -> list[HistoryLine]:
    """Those with a number above `after`, and perhaps others, in no order."""
    found = _numbered(entry, after)
    if found is None:
        found = list(_counted(entry, after))
    if begun := [line for line in found if _is_beginning(line.event)]:
        found += _beginnings(entry, begun, after)
    return found


def _numbered(entry: JobEntry, after: int) -> list[HistoryLine] | None:
    """Those with a number above `after`; None where an event has no number."""
    job, ended_by, ended_at = entry.job, entry.ended_by, entry.modified
    if _is_old(entry) or (entry.progress.state.is_terminal and not ended_by):
        return None
    found, since = list[HistoryLine](), after // A_WRITE
    if entry.revision >= since:
        for version, event in versioned(job):
            if event.number > after:
                found.append(HistoryLine(event.number, version, event))
            elif not event.number:
                return None
            if event.number == ended_by:
                ended_at = event.recorded or event.time
    executions = entry.executions
    for execution in entry.written_since(since) if since and len(executions) > 1 else executions.values():
        for event in execution.events:
            if event.number > after:
                found.append(HistoryLine(event.number, execution, event))
            elif not event.number:
                return None
            if event.number == ended_by:
                ended_at = event.recorded or event.time
    if entry.progress.state.is_terminal and (end := end_number(ended_by)) > after:
        found.append(HistoryLine(end, job.version, _end(entry, ended_at)))
    return found


def _counted(entry: JobEntry, after: int) -> Iterator[HistoryLine]:
    """As `lines`, where some events may have no numbers.

    What earlier versions of Tarpon recorded has no numbers, and is counted in the order of time, before all that has.
    Beside an orchestrator of an earlier version, an execution may have events without numbers in a job that was begun
    with them: they get numbers by the execution's last revision, so that they may come twice and are never left out.
    """
    old: list[tuple[int, ExecutionRecord | int, Event]] = []
    ended_by, ended_at = entry.ended_by, entry.modified
    is_old = _is_old(entry)
    for about, event, late in _recorded(entry, 0 if is_old else after):
        number = event.number
        if not number and late and not is_old:
            number = late
            ended_by = ended_by if entry.ended_by else max(ended_by, number)
        if not number:
            old.append((event.recorded or event.time, about, event))
        else:
            yield HistoryLine(number, about, event)
        if number and number == ended_by:
            ended_at = event.recorded or event.time
    old.sort(key=itemgetter(0))
    for number, (_, about, event) in enumerate(old, start=1):
        yield HistoryLine(number, about, event)
    if entry.progress.state.is_terminal:
        end = end_number(ended_by) if ended_by else len(old) + 1
        yield HistoryLine(end, entry.job.version, _end(entry, ended_at))


def _is_old(entry: JobEntry) -> bool:
    """Whether an earlier version of Tarpon took the job in."""
    events = entry.job.events
    return not events or not events[0].number


def _recorded(entry: JobEntry, after: int) -> Iterator[tuple[ExecutionRecord | int, Event, int]]:
    """The events of the job and of its executions that can have a number above `after`, and that by which it ended.

    The number comes last that an execution's event has if none was given to it.
    """
    since, ended_by = after // A_WRITE, entry.ended_by
    if entry.revision >= since:
        for version, event in versioned(entry.job):
            if event.number > after or event.number in {0, ended_by}:
                yield version, event, 0
    executions = entry.written_since(since) if since else list(entry.executions.values())
    executions.sort(key=attrgetter("create_time"))
    for execution in executions:
        for place, event in enumerate(execution.events):
            if event.number > after or event.number == ended_by != 0:
                yield execution, event, 0
            elif not event.number:
                yield execution, event, late_number(entry.revision_of(execution), place)


def _beginnings(entry: JobEntry, begun: Iterable[HistoryLine], after: int) -> Iterator[HistoryLine]:
    """That the job runs, in each version of which the first execution has begun after `after`."""
    if _is_old(entry):
        return
    first: dict[int, HistoryLine] = {}
    for line in begun:
        about = line.about
        version = about if isinstance(about, int) else about.job_version
        if version not in first or line.number < first[version].number:
            first[version] = line
    for version, line in first.items():
        number = beginning_number(line.number)
        if number > after and not _is_begun_before(entry, version, line, after):
            yield HistoryLine(number, version, _beginning(line.event))


def _is_begun_before(entry: JobEntry, version: int, line: HistoryLine, after: int) -> bool:
    """Whether the job ran, or had ended, before the execution of this line began."""
    if entry.progress.state.is_terminal and entry.ended_by < line.number and version == entry.job.version:
        return True
    return after > 0 and any(
        0 < event.number < line.number and _is_beginning(event)
        for execution in entry.of_version(version)
        for event in execution.events
    )


def _is_beginning(event: Event) -> bool:
    """It may not have been told when a task began: then it ended the next."""
    return event.topic == RUNNING and not event.details and event.message.startswith(_BEGINNINGS)


def _beginning(by: Event) -> Event:
    return Event(time=by.time, recorded=by.recorded, topic="State Update", message="Job running", details=_RUNS)


def _end(entry: JobEntry, at: int) -> Event:
    state, message = entry.progress.state, entry.progress.message
    details = {"NewState": str(state)} | ({"IsError": "true"} if state is JobState.FAILED else {})
    tells = state is JobState.FAILED and not entry.job.failure  # which is an event of its own
    text = f"Job {state.lower()}: {message}" if tells else _ENDS.get(state, f"Job {state.lower()}")
    return Event(time=at, topic="State Update", message=text, details=details)
