"""Watching of a job to its end on the command line, and what its end means."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import NamedTuple

import click

from shared.data.plain_text import printable
from shared.errors import TarponError
from shared.jobs.spec import JobView
from shared.jobs.states import JobState
from shared.protocol.rest import ExecutionView, HistoryItem, UploadView
from tarpon.cli.console.outcomes import JobFailed, JobStopped
from tarpon.cli.console.output import size
from tarpon.cli.display.failed_parts import FailedParts, whose
from tarpon.cli.display.partitions import Answers, why_failed
from tarpon.client import Client


class Watched(NamedTuple):
    """A job that has ended, and the first thing that went wrong, if something did."""

    job: JobView
    first_error: HistoryItem | None


async def watched(
    client: Client, job_id: str, write: Callable[[HistoryItem | JobView], None], *, only_version: int = 0
) -> Watched:
    """Write what has happened and what happens to the newest version of the job, until that has ended.

    The job itself is written whenever its state, or what it waits for, is another one.

    Raises JobStopped where `only_version` is watched and a later one takes its place.
    """
    version = only_version or (await client.get(job_id)).version
    first_error: HistoryItem | None = None
    ended: JobView | None = None
    async with aclosing(client.watch(job_id)) as events:
        async for event in events:
            if isinstance(event, JobView):
                ended = event
                if 0 < only_version < event.version:
                    raise JobStopped(job_id, f"version {event.version} of it took the place of version {only_version}")
                write(event)
                continue
            if 0 < event.job_version < version:
                continue  # what became of an earlier version
            write(event)
            if event.event.is_error and first_error is None:
                first_error = event
    assert ended is not None, "a watch ends with the job's last state"
    return Watched(ended, first_error)


def asking(client: Client, job_id: str) -> Callable[[], Awaitable[Answers]]:
    """What tells how the nodes stand to those parts of the job that are on none, and how far its results are."""

    async def ask() -> Answers:
        try:
            found = await client.waits(job_id, limit=0)
        except TarponError:  # the orchestrator is away for a moment, or of an earlier version
            return Answers()
        return Answers(
            nodes=printable(found.summary) if found.parts.to_place else "",
            upload=_how_far(found.upload) if found.upload is not None else "",
        )

    return ask


def _how_far(upload: UploadView) -> str:
    of = f" of {size(upload.total_bytes)}" if upload.total_bytes else ""
    rate = f", {size(upload.bytes_per_second)}/s" if upload.bytes_per_second else ""
    return f"{size(upload.done_bytes)}{of}{rate}"


async def known_executions(client: Client, ended: JobView) -> tuple[ExecutionView, ...]:
    """Of a version that did not complete; that is told too where nobody can say more of it."""
    try:
        return await client.patiently(lambda: client.all_executions(ended.id, job_version=ended.version))
    except TarponError:
        return ()


def refuse_failure(end: Watched, executions: Sequence[ExecutionView]) -> None:
    """Raise JobStopped or JobFailed unless the job has completed."""
    failed = FailedParts(end.job, executions)
    match end.job.state.state_type:
        case JobState.COMPLETED:
            pass
        case JobState.STOPPED:
            raise JobStopped(end.job.id, printable(end.job.state.message), failed.hint(), failed.details())
        case _:
            reason, hint = failure(end.job, end.first_error, executions)
            told = " ".join(each for each in (hint, failed.hint()) if each)
            raise JobFailed(end.job.id, reason, told, failed.details())


def goes_on(job_id: str) -> None:
    """Say that the watching was interrupted, and the job was not."""
    click.echo(f"\nNo longer watching; job {job_id} goes on.", err=True)
    advise("stop it", "stop", job_id)
    advise("see how it is doing", "describe", job_id)


def advise(what: str, command: str, job_id: str) -> None:
    click.echo(f"To {what + ':':<22} tarpon job {command} {job_id}", err=True)


def failure(
    ended: JobView, first_error: HistoryItem | None, executions: Sequence[ExecutionView] = ()
) -> tuple[str, str]:
    """Why the job failed and what to do: the first thing that went wrong, since what follows is its consequence."""
    told = printable(ended.state.message)
    if first_error is None:
        return told or "no reason was given", ended.state.details.get("Hint", "")
    first = printable(why_failed(first_error.event))
    part = whose(executions, first_error.execution_id) if ended.part_count > 1 else ""
    reason = first if not told or told in first else told if first in told else f"{part}{first}\n  In the end: {told}"
    return reason, printable(first_error.event.hint or ended.state.details.get("Hint", ""))
