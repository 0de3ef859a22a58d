"""The command `tarpon job logs`: what the tasks of a job wrote, as far as it has been kept."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from functools import partial
from typing import TYPE_CHECKING

import click

from shared.errors import NoResults, NotFound, TarponError
from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.results.wanted_logs import WantedLogs, has_ended, latest, named, others, running

if TYPE_CHECKING:
    from shared.jobs.spec import JobView
    from shared.protocol.rest import ExecutionView
    from tarpon.cli.display.task_output import TaskOutput
    from tarpon.client import Client

LOOK_SECONDS = 1.0
"""Between looks at which parts the executions belong to, which fetch all of them."""
part_option = click.option(
    "--partition",
    type=click.IntRange(min=0),
    metavar="N",
    shell_complete=completed_names.partitions,
    help="Only the tasks of this part of the job.",
)


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
@part_option
@namespace_option
@with_client
async def logs(
    client: "Client",
    *,
    job: str,
    follow: bool,
    tail: int | None,
    execution_id: str,
    partition: int | None,
    namespace: str,
) -> None:
    """Print what the tasks of a job wrote: their stdout to stdout, their stderr to stderr.

    A pipe or file gets the bytes as they are; a terminal gets control characters in writing.
    """
    from tarpon.cli.display.outages import outages_told

    wanted = WantedLogs(execution_id, partition)
    tell = partial(click.echo, err=True)
    waiting: AbstractAsyncContextManager[None] = outages_told(client, tell) if follow else nullcontext()
    async with waiting:
        await show_logs(client, job, wanted, follow=follow, tail=tail, namespace=namespace)


async def show_logs(
    client: "Client",
    job: str,
    wanted: WantedLogs,
    *,
    follow: bool = False,
    tail: int | None = None,
    namespace: str = "",
) -> None:
    """Raises JobNotEnded, NoResults, NotFound and InvalidInput, beside what the client and a download raise."""
    from tarpon.http.watching import is_over
    from tarpon.results.offered import refuse_schedule

    ask_job = partial(client.get, job, namespace=namespace)
    ask = partial(client.all_executions, job, namespace=namespace, all_job_versions=bool(wanted.execution))
    view = await (client.patiently(ask_job) if follow else ask_job())
    refuse_schedule(job, view, "logs")
    known = await (client.patiently(ask) if follow else ask())
    executions = wanted.of_part(known)
    if wanted.partition is not None and not executions:
        _check_part(wanted.partition, known, job, view)
    is_at_its_end = is_over(view) or wanted.is_at_its_end(executions, job)
    live = None if is_over(view) else running(executions, wanted.execution, job)
    if live is not None:
        if view.part_count > 1 and not wanted.is_narrow:
            click.echo(f"These are the logs of {live.id}; --partition shows another part's.", err=True)
        await _write_live(client, view.id, live, follow=follow, tail=tail)
        return
    if follow and not is_at_its_end:
        click.echo(f"Job {job} is {view.state.state_type}; its logs follow when it runs.", err=True)
        await _wait_for_task(client, job, known, wanted, namespace)
        await show_logs(client, job, wanted, follow=True, tail=tail, namespace=namespace)
        return
    await _show_ended(client, job, view, executions, wanted, tail=tail, namespace=namespace)


async def _show_ended(
    client: "Client",
    job: str,
    view: "JobView",
    executions: "Sequence[ExecutionView]",
    wanted: WantedLogs,
    *,
    tail: int | None,
    namespace: str,
) -> None:
    from tarpon.cli.display.task_output import TaskOutput
    from tarpon.http.watching import is_over

    one = named(executions, wanted.execution, job) if wanted.execution else None
    chosen = [each for each in ([one] if one else latest(executions)) if each.run_output is not None]
    if not chosen:
        raise _nothing_of(one, job) if one else _nothing(job, view, wanted.partition)
    output = TaskOutput(tail)
    for each in chosen:
        if len(chosen) > 1:
            click.echo(f"==> {each.id} (part {each.partition_index}, {each.state_name}) <==", err=True)
        await _write(client, view, each, output, namespace)
        output.end()
    if missing := view.part_count - len(chosen) if not (wanted.is_narrow or is_over(view)) else 0:
        click.echo(f"{missing} of {view.part_count} tasks have not ended; their logs are not there yet.", err=True)


async def _wait_for_task(
    client: "Client", job: str, known: "Sequence[ExecutionView]", wanted: WantedLogs, namespace: str
) -> None:
    """Return when a task runs that may be meant, or has ended where just that one is meant, or the job is over."""
    from shared.jobs.spec import JobView
    from tarpon.http.watching import is_over

    known_others = others(known, wanted)
    looked_at = -LOOK_SECONDS
    async with aclosing(client.watch(job, namespace=namespace)) as events:
        async for event in events:
            if isinstance(event, JobView):
                if is_over(event):
                    return
                continue
            task = event.execution_id
            if not task or task in known_others or not task.startswith(wanted.execution):
                continue
            if wanted.partition is not None:  # other parts may begin by thousands
                await asyncio.sleep(looked_at + LOOK_SECONDS - time.monotonic())
                looked_at = time.monotonic()
            ask = partial(client.all_executions, job, namespace=namespace, all_job_versions=bool(wanted.execution))
            found = await client.patiently(ask)
            known_others = others(found, wanted)
            meant = wanted.of_part(found)
            if running(meant, wanted.execution, job) is not None or wanted.is_at_its_end(meant, job):
                return


def _check_part(partition: int, executions: "Sequence[ExecutionView]", job: str, view: "JobView") -> None:
    """Raise NotFound for a part that the job does not have."""
    if partition >= view.part_count:
        from tarpon.results.offered import parts_told

        told = parts_told([(each.partition_index, each.id) for each in latest(executions)])
        hint = f"There are: {told}." if told else f"It has {view.part_count:,}, and the first is 0."
        raise NotFound(f"Job {job} has no logs of partition {partition}.", hint=hint)


async def _write_live(
    client: "Client", job: str, execution: "ExecutionView", *, follow: bool, tail: int | None
) -> None:
    from tarpon.cli.display.task_output import TaskOutput
    from tarpon.results.logs import STDERR, STDOUT

    output = TaskOutput(None)
    lines = client.logs(job, execution_id=execution.id, follow=follow, tail=-1 if tail is None else tail)
    async with aclosing(lines) as pieces:
        async for piece in pieces:
            output.write(STDERR if piece.type == 2 else STDOUT, piece.line.encode())
            output.end()


def _nothing(job: str, view: "JobView", partition: int | None) -> TarponError:
    from tarpon.http.watching import JobNotEnded, is_over

    state = view.state.state_type
    whose = "it" if partition is None else f"its partition {partition}"
    if is_over(view):
        hint = f"`tarpon job describe {job}` shows what happened."
        return NoResults(f"Job {job} is {state}, and no task of {whose} has left any logs.", hint=hint)
    hint = f"`tarpon job logs --follow {job}` waits for a task to run, and shows what it writes."
    return JobNotEnded(f"Job {job} is {state}, and no task of {whose} runs yet.", job, hint=hint)


def _nothing_of(execution: "ExecutionView", job: str) -> TarponError:
    from tarpon.http.watching import JobNotEnded

    told = f"Execution {execution.id} is {execution.state_name}"
    if has_ended(execution):
        hint = f"`tarpon job history {job} --all-job-versions --execution-id {execution.id}` shows what happened."
        return NoResults(f"{told} and has left no logs.", hint=hint)
    hint = f"`tarpon job logs --follow {job} -e {execution.id}` waits for its task to run, and shows what it writes."
    return JobNotEnded(f"{told}, and its task does not run yet.", job, hint=hint)


async def _write(
    client: "Client", view: "JobView", execution: "ExecutionView", output: "TaskOutput", namespace: str
) -> None:
    from tarpon.results.logs import STDERR, STDOUT, stream_output

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
