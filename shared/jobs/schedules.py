"""Schedules of jobs: what may be said of one, and at which instants it is due.

Expressions are read as Debian's cron reads them (cronsim), in a time zone of the IANA database. Instants are
nanoseconds since 1970.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError
from msgspec.structs import replace

from shared.data.decoding import advised
from shared.errors import InvalidDuration
from shared.jobs.durations import parse_duration
from shared.jobs.spec import Job, Schedule

ONCE, SKIP, ALL = "once", "skip", "all"
MISSED = (ONCE, SKIP, ALL)
"""What becomes of due times at which nobody decided: one run for all of them, none, or one for each."""
ALLOW, REPLACE = "allow", "replace"
OVERLAP = (SKIP, ALLOW, REPLACE)
"""What becomes of a run that is due while an earlier one goes on."""

DEFAULT_DEADLINE = "24h"
LEAST_DEADLINE_SECONDS = 60.0
MOST_DEADLINE_SECONDS = 7 * 86400.0
MAX_CRON = 128
MAX_KEEP = 10_000
SECOND_NS = 1_000_000_000
YEAR_NS = 366 * 86400 * SECOND_NS
LOOKED_THROUGH = 64
"""Of how many runs that follow each other the least interval is found."""

_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_FIELDS = 5
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}\Z")
_NO_ZONES = frozenset({"posix", "right", "localtime", "posixrules", "Factory"})
"""Names in folders of time zones that say nothing, or that something else than the time zone's owners decides."""
_HINT = "write five fields, as `0 3 * * *` for 3:00 each day, or @hourly, @daily, @weekly, @monthly or @yearly."
_HOUR = timedelta(hours=1)
_WINDOWS = (_HOUR, 24 * _HOUR, 24 * 8 * _HOUR)


def normalised_schedule(schedule: str | Schedule) -> Schedule:
    """In its long form, and in the spelling in which schedules are compared."""
    said = Schedule(cron=schedule) if isinstance(schedule, str) else schedule
    missed, overlap = said.missed.strip().lower(), said.overlap.strip().lower()
    return replace(
        said,
        cron=" ".join(said.cron.split()),
        time_zone=said.time_zone.strip(),
        missed="" if missed == ONCE else missed,
        overlap="" if overlap == SKIP else overlap,
        starting_deadline=said.starting_deadline.strip(),
    )


def schedule_of(job: Job) -> Schedule | None:
    """That of a job in its normal form."""
    return job.schedule if isinstance(job.schedule, Schedule) else None


def schedule_problems(job: Job) -> Iterator[str]:
    """Of a normalised job, each in a sentence that begins with the path of what is wrong."""
    schedule = schedule_of(job)
    if schedule is None:
        return
    if not job.name:
        yield "Name is missing: a job with a Schedule needs one, so that submitting it again changes this schedule."
    zone = _zone(schedule.time_zone)
    if zone is None:
        yield (
            f"Schedule.TimeZone {schedule.time_zone[:80]!r} is not a time zone; write a name of the IANA database, such"
            " as Europe/Berlin or UTC."
        )
    yield from _cron_problems(schedule, zone or UTC)
    yield from _choice_problems("Missed", schedule.missed, MISSED)
    yield from _choice_problems("Overlap", schedule.overlap, OVERLAP)
    yield from _deadline_problems(schedule.starting_deadline)
    if schedule.missed == ALL and schedule.overlap != ALLOW:
        yield "Schedule.Missed all begins several runs together; it needs `Overlap: allow` beside it."
    if not 0 <= schedule.keep <= MAX_KEEP:
        yield f"Schedule.Keep is {schedule.keep}; it must be between 1 and {MAX_KEEP:,}, or 0 for all."


def _cron_problems(schedule: Schedule, zone: tzinfo) -> Iterator[str]:
    shown = f"Schedule.Cron {schedule.cron[:80]!r}"
    if len(schedule.cron) > MAX_CRON:
        yield f"Schedule.Cron has {len(schedule.cron):,} characters; at most {MAX_CRON} are possible."
        return
    text = _expression(schedule.cron)
    if not text.isascii() or len(text.split()) != _FIELDS:
        yield f"{shown} is not an expression of cron; {_HINT}"
        return
    try:
        first = next(CronSim(text, datetime.now(zone)), None)
    except CronSimError as error:
        what = str(error).removeprefix("Bad ")
        yield f"{shown}: its {what} is not one of cron, or never comes; {_HINT}"
        return
    if first is None:
        yield f"{shown} is never due within 50 years."


def _choice_problems(key: str, value: str, known: tuple[str, ...]) -> Iterator[str]:
    if value and value not in known:
        advice = advised(value, known, f"there are {', '.join(known)}.")
        yield f"Schedule.{key} {value[:20]!r} is not known; {advice}"


def _deadline_problems(text: str) -> Iterator[str]:
    try:
        seconds = parse_duration(text or DEFAULT_DEADLINE)
    except InvalidDuration as error:
        yield f"Schedule.StartingDeadline: {error.message} {error.hint}"
    else:
        if not LEAST_DEADLINE_SECONDS <= seconds <= MOST_DEADLINE_SECONDS:
            yield f"Schedule.StartingDeadline is {text[:80]}; it must be between 1m and 168h."


def deadline_ns(schedule: Schedule) -> int:
    """For how long after it was due a run may begin."""
    return round(parse_duration(schedule.starting_deadline or DEFAULT_DEADLINE) * SECOND_NS)


def due_after(schedule: Schedule, after: int) -> Iterator[int]:
    """The instants at which a valid schedule is due after this one, each later than the one before.

    None where its time zone or expression is not known here, as after a downgrade.

    Where clocks are put forward, fixed times in the hour that is left out are due at its end; where they are put back,
    they are due once. Expressions whose minute or hour begins with * follow the clock on the wall instead.
    """
    zone = _zone(schedule.time_zone)
    if zone is None:  # it is not known here any more, and another one would be wrong
        return
    begin = datetime.fromtimestamp(after // SECOND_NS, UTC).astimezone(zone)
    try:
        found = CronSim(_expression(schedule.cron), begin)
    except CronSimError:  # another release of the library has taken it
        return
    last = after
    for each in found:
        instant = round(each.timestamp()) * SECOND_NS
        if instant > last:  # in the hour that comes twice the library goes back to the first one
            yield instant
            last = instant


def next_due(schedule: Schedule, after: int) -> int | None:
    """None where nothing is due within 50 years."""
    return next(due_after(schedule, after), None)


def newest_due(schedule: Schedule, after: int, up_to: int, most: int) -> list[int]:
    """The last `most` due times after one instant and up to another, in their order.

    It looks back from the end, further and further, so that an outage of a year costs no more than one of a week.
    """
    found: list[int] = []
    for window in _WINDOWS:
        begin = max(after, up_to - int(window.total_seconds()) * SECOND_NS)
        found = due_between(schedule, begin, up_to)
        if len(found) >= most or begin == after:
            break
    return found[-most:]


def due_between(schedule: Schedule, after: int, up_to: int, most: int | None = None) -> list[int]:
    """The first `most` due times after one instant and up to another."""
    found = list[int]()
    for instant in islice(due_after(schedule, after), most):
        if instant > up_to:
            break
        found.append(instant)
    return found


def least_interval_seconds(schedule: Schedule, after: int) -> float:
    """Between two of the next due times; without end where there is one at most in a year."""
    due = due_between(schedule, after, after + YEAR_NS, LOOKED_THROUGH)
    return min(((later - one) / SECOND_NS for one, later in pairwise(due)), default=float("inf"))


def local_time(schedule: Schedule, instant: int) -> datetime:
    """An instant in the time zone of the schedule."""
    return datetime.fromtimestamp(instant // SECOND_NS, UTC).astimezone(_zone(schedule.time_zone) or UTC)


def _expression(cron: str) -> str:
    return _NICKNAMES.get(cron.lower(), cron)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    """None for a name that is none. What was found is remembered, as each look reads a file."""
    if not name:
        return ZoneInfo("UTC")
    if not _ZONE.match(name) or name.partition("/")[0] in _NO_ZONES:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):  # a folder, no such file, or no time zone in it
        return None
