"""The command `tarpon job logs`: what the tasks of a job wrote, as far as it has been kept."""

from collections.abc import Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import click

from shared.errors import InvalidInput, NoResults, NotFound, TarponError
from tarpon.cli import completed_names
from tarpon.cli.commands import Command, with_client
from tarpon.cli.job import job_argument, namespace_option
from tarpon.cli.outcomes import EXIT_CODES_HELP

if TYPE_CHECKING:
    from shared.jobspec import JobView
    from shared.rest import ExecutionView
    from tarpon.cli.task_output import TaskOutput
    from tarpon.client import Client


_AT_WORK = frozenset({"Running", "BidAccepted", "Publishing"})
_ENDED = frozenset({"Completed", "Failed", "Cancelled", "BidRejected", "AskForBidRejected"})


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@job_argument
@click.option("-f", "--follow", is_flag=True, help="Go on until the task has ended.")
@click.option("--tail", type=click.IntRange(min=0), metavar="N", help="Only the last N lines of stdout and of stderr.")
@click.option(
    "-e",
    "--execution-id",
    default="",
    metavar="ID",
    shell_complete=completed_names.executions,
    help="Only this execution, or beginning of an id.",
)
@namespace_option
@with_client
async def logs(
    client: "Client", *, job: str, follow: bool, tail: int | None, execution_id: str, namespace: str
) -> None:
    """Print what the tasks of a job wrote: their stdout to stdout, their stderr to stderr.

    A pipe or file gets the bytes as they are; a terminal gets control characters in writing.
    """
    await show_logs(client, job, follow=follow, tail=tail, execution_id=execution_id, namespace=namespace)


async def show_logs(
    client: "Client",
    job: str,
    *,
    follow: bool = False,
    tail: int | None = None,
    execution_id: str = "",
    namespace: str = "",
) -> None:
    """Raises JobNotEnded, NoResults, NotFound and InvalidInput, beside what the client and a download raise."""
    from tarpon.cli.task_output import TaskOutput
    from tarpon.watching import is_over

    view = await client.get(job, namespace=namespace)
    executions = await client.all_executions(job, namespace=namespace, all_job_versions=bool(execution_id))
    one = named(executions, execution_id, job) if execution_id else None
    live = None if is_over(view) else running(executions, execution_id, job)
    if live is not None:
        if (view.count or 1) > 1 and not execution_id:
            click.echo(f"These are the logs of {live.id}; --execution-id shows another task's.", err=True)
        await _write_live(client, view.id, live, follow=follow, tail=tail)
        return
    if follow and not is_over(view) and not (one and _has_ended(one)):
        click.echo(f"Job {job} is {view.state.state_type}; its logs follow when it runs.", err=True)
        await _wait_for_task(client, job, executions, execution_id, namespace)
        await show_logs(client, job, follow=True, tail=tail, execution_id=execution_id, namespace=namespace)
        return
    chosen = [one] if one else latest(executions)
    chosen = [each for each in chosen if each.run_output is not None]
    if not chosen:
        raise _nothing_of(one, job) if one else _nothing(job, view)
    output = TaskOutput(tail)
    for each in chosen:
        if len(chosen) > 1:
            click.echo(f"==> {each.id} (part {each.partition_index}, {each.state_name}) <==", err=True)
        await _write(client, view, each, output, namespace)
        output.end()
    if missing := (view.count or 1) - len(chosen) if not (execution_id or is_over(view)) else 0:
        click.echo(f"{missing} of {view.count} tasks have not ended; their logs are not there yet.", err=True)


def running(executions: "Sequence[ExecutionView]", text: str, job: str) -> "ExecutionView | None":
    """The execution to watch: the one that is named, if it runs, or else the one that began to run last."""
    if text:
        found = named(executions, text, job)
        return found if found.state_name in _AT_WORK else None
    at_work = [each for each in executions if each.state_name in _AT_WORK]
    return max(at_work, key=lambda each: each.create_time, default=None)


async def _wait_for_task(
    client: "Client", job: str, known: "Sequence[ExecutionView]", text: str, namespace: str
) -> None:
    """Return when a task runs that may be meant, or has ended where just that one is meant, or the job is over."""
    from shared.jobspec import JobView
    from tarpon.watching import is_over

    ended = {each.id for each in known if _has_ended(each)}
    async with aclosing(client.watch(job, namespace=namespace)) as events:
        async for event in events:
            if isinstance(event, JobView):
                if is_over(event):
                    return
                continue
            task = event.execution_id
            if not task or task in ended or not task.startswith(text):
                continue
            found = await client.all_executions(job, namespace=namespace, all_job_versions=bool(text))
            if running(found, text, job) is not None or (text and _has_ended(named(found, text, job))):
                return


def _has_ended(execution: "ExecutionView") -> bool:
    return execution.state_name in _ENDED


async def _write_live(
    client: "Client", job: str, execution: "ExecutionView", *, follow: bool, tail: int | None
) -> None:
    from tarpon.cli.task_output import TaskOutput
    from tarpon.result_logs import STDERR, STDOUT

    output = TaskOutput(None)
    lines = client.logs(job, execution_id=execution.id, follow=follow, tail=-1 if tail is None else tail)
    async with aclosing(lines) as pieces:
        async for piece in pieces:
            output.write(STDERR if piece.type == 2 else STDOUT, piece.line.encode())
            output.end()


def latest(executions: "Sequence[ExecutionView]") -> "list[ExecutionView]":
    """Of each part, the last attempt that wrote anything; in the order of the parts.

    The executions of a version are also those of earlier ones whose results it keeps.
    """
    by_part: dict[int, ExecutionView] = {}
    for each in sorted(executions, key=lambda each: each.create_time):
        if each.run_output is not None:
            by_part[each.partition_index] = each
    return [by_part[part] for part in sorted(by_part)]


def named(executions: "Sequence[ExecutionView]", text: str, job: str) -> "ExecutionView":
    """The execution of this id, or of this beginning of an id."""
    found = [each for each in executions if each.id == text] or [
        each for each in executions if each.id.startswith(text)
    ]
    if not found:
        raise NotFound(f"Job {job} has no execution {text[:80]!r}.", hint=f"`tarpon job executions {job}` lists them.")
    if len(found) > 1:
        raise InvalidInput(f"{text[:80]!r} is the beginning of {len(found)} executions' ids.", hint="Give more of it.")
    return found[0]


def _nothing(job: str, view: "JobView") -> TarponError:
    from tarpon.watching import JobNotEnded, is_over

    state = view.state.state_type
    if is_over(view):
        hint = f"`tarpon job describe {job}` shows what happened."
        return NoResults(f"Job {job} is {state}, and no task of it has left any logs.", hint=hint)
    hint = f"`tarpon job logs --follow {job}` waits for a task to run, and shows what it writes."
    return JobNotEnded(f"Job {job} is {state}, and no task of it runs yet.", job, hint=hint)


def _nothing_of(execution: "ExecutionView", job: str) -> TarponError:
    from tarpon.watching import JobNotEnded

    told = f"Execution {execution.id} is {execution.state_name}"
    if _has_ended(execution):
        hint = f"`tarpon job history {job} --all-job-versions --execution-id {execution.id}` shows what happened."
        return NoResults(f"{told} and has left no logs.", hint=hint)
    hint = f"`tarpon job logs --follow {job} -e {execution.id}` waits for its task to run, and shows what it writes."
    return JobNotEnded(f"{told}, and its task does not run yet.", job, hint=hint)


async def _write(
    client: "Client", view: "JobView", execution: "ExecutionView", output: "TaskOutput", namespace: str
) -> None:
    from tarpon.result_logs import STDERR, STDOUT, stream_output

    told = execution.run_output
    assert told is not None, "only such executions were chosen"
    truncated = told.stdout_truncated or told.stderr_truncated
    if truncated and execution.published_result is not None and execution.published_result.params is not None:
        for result in await client.results(view.id, namespace=namespace, execution_id=execution.id):
            if result.params.execution_id == execution.id:
                await stream_output(client, view.id, result.params, output.write, namespace=namespace)
                return
    output.write(STDERR, told.stderr.encode())
    output.write(STDOUT, told.stdout.encode())
    if truncated:
        output.end()
        click.echo(f"Only the beginning was kept of what {execution.id} wrote.", err=True)
