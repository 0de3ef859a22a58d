"""Jobs as tables for notebooks."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shared.data.markup import table

if TYPE_CHECKING:
    from shared.jobs.spec import JobView

MOST_JOBS = 100
_ENDED = frozenset({"Completed", "Failed", "Stopped"})


def job_rows(job: "JobView") -> list[tuple[str, str]]:
    rows = [("Job", job.id), ("Name", job.name if job.name != job.id else ""), ("Namespace", job.namespace)]
    rows += [("State", job.state.state_type), ("", job.state.message)]
    rows += [("Parts", str(job.part_count) if job.part_count > 1 else ""), ("Submitted", _moment(job.create_time))]
    if job.state.state_type in _ENDED:
        rows.append(("Ended after", str(timedelta(seconds=(job.modify_time - job.create_time) // 10**9))))
    codes = ", ".join(f"{code}" + (f" ({count} times)" if count > 1 else "") for code, count in job.exit_codes.items())
    return [row for row in [*rows, ("Exit codes", codes)] if row[1]]


def job_table(job: "JobView") -> str:
    return table(job_rows(job))


def jobs_table(jobs: Sequence["JobView"]) -> str:
    """The first MOST_JOBS of them."""
    more = f"the first {MOST_JOBS} of {len(jobs)}" if len(jobs) > MOST_JOBS else ""
    return table(_lines(jobs[:MOST_JOBS]), heading=("Job", "Name", "State", "Submitted"), title=more)


def _lines(jobs: Iterable["JobView"]) -> Iterable[tuple[str, ...]]:
    return ((job.id, job.name, job.state.state_type, _moment(job.create_time)) for job in jobs)


def _moment(nanoseconds: int) -> str:
    """Empty where a server has told no time that there is."""
    try:
        return datetime.fromtimestamp(nanoseconds / 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if nanoseconds else ""
    except (ValueError, OverflowError, OSError):
        return ""
