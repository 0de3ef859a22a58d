"""Paths of the HTTP API and their queries, as clients write them."""

from collections.abc import Iterable
from urllib.parse import quote

from shared.errors import InvalidInput

JOBS = "/orchestrator/jobs"


def job_path(job: str, rest: str = "") -> str:
    if job in {".", ".."}:  # a step in a path, however it is written
        raise InvalidInput(f"No URL can name the job {job!r}.", hint="Give its id; `tarpon job list` shows it.")
    return f"{JOBS}/{quote(job, safe='')}{rest}"


def jobs_query(
    *,
    namespace: str = "",
    limit: int = 0,
    next_token: str = "",
    order_by: str = "",
    reverse: bool = False,
    labels: str = "",
    states: Iterable[str] = (),
    exit_codes: Iterable[int | str] = (),
    since: str = "",
    name: str = "",
    schedules: bool = False,
) -> dict[str, str]:
    """Of a list of jobs, the newest first unless `reverse`, as `tarpon.Client.list` has it."""
    return query_of(
        namespace=namespace,
        limit=str(limit or ""),
        next_token=next_token,
        order_by=order_by,
        reverse="" if reverse else "true",
        labels=labels,
        state=",".join(states),
        exit_code=",".join(map(str, exit_codes)),
        since=since,
        name=name,
        schedules="true" if schedules else "",
    )


def query_of(**values: str) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}
