"""Lines about schedules: when the next runs are due, and which there were."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from time import time_ns

from shared.ids import short
from shared.jobs.rules import normalised
from shared.jobs.schedules import due_after, local_time, schedule_of
from shared.jobs.spec import Job, JobView, RunView, Schedule
from tarpon.cli.console.output import from_nanoseconds, moment, table

SHOWN_NEXT = 3


def next_times(job: Job) -> list[str]:
    """The next due times of a valid job, in the time zone of its schedule; none where it has no schedule."""
    schedule = schedule_of(normalised(job))
    if schedule is None:
        return []
    return [_shown(schedule, due) for due in islice(due_after(schedule, time_ns()), SHOWN_NEXT)]


def schedule_values(job: JobView, now: datetime) -> dict[str, str]:
    """What is told of a schedule, or of a run of one, among what is told of the job."""
    values: dict[str, str] = {}
    schedule, status = schedule_of(normalised(job)), job.schedule_status
    if schedule is not None:
        values["Schedule"] = _text(schedule)
    if schedule is not None and status:
        values["Next runs"] = ", ".join(_shown(schedule, due) for due in status.next)
        values["Paused"] = moment(from_nanoseconds(status.paused_since), now) if status.paused_since else ""
        counts = {
            "begun": status.begun,
            "missed": status.missed,
            "left out": status.left_out,
            "refused": status.refused,
            "going on": status.going,
        }
        values["Runs"] = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    if job.run_of:
        due = from_nanoseconds(job.run_of.due)
        asked = "asked for" if job.run_of.by_hand else "due"
        values["Run of"] = f"{job.run_of.name} ({short(job.run_of.job_id)}), {asked} {moment(due, now)}"
    return values


def runs_section(job: JobView, now: datetime) -> Iterator[str]:
    """The newest runs of a schedule."""
    if job.schedule_status and job.schedule_status.runs:
        rows = [_row(run, now) for run in job.schedule_status.runs]
        more = f"All of them: tarpon job list -l tarpon.schedule={job.name}"
        yield "\n".join(["Last runs", table(["DUE", "ID", "STATE", "NAME"], rows), more])


def _row(run: RunView, now: datetime) -> list[str]:
    due = moment(from_nanoseconds(run.due), now)
    return [f"{due} (asked for)" if run.by_hand else due, short(run.job_id), run.state, run.name]


def _text(schedule: Schedule) -> str:
    """Such as `0 3 * * * (Europe/Berlin), missed: skip`."""
    choices = {
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "within": schedule.starting_deadline,
        "keep": str(schedule.keep or ""),
    }
    told = "".join(f", {name}: {value}" for name, value in choices.items() if value)
    return f"{schedule.cron} ({schedule.time_zone or 'UTC'}){told}"


def _shown(schedule: Schedule, instant: int) -> str:
    return local_time(schedule, instant).isoformat(sep=" ", timespec="minutes")
