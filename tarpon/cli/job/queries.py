"""The commands that show jobs: `tarpon job list`, `describe`, `executions`, `history` and `versions`."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client, with_quick_client
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.output import output_option, show
from tarpon.cli.job.list_conditions import ExitCodes, Since, States

if TYPE_CHECKING:
    from shared.jobs.spec import JobView
    from shared.protocol.rest import JobResponse
    from tarpon.client import Client
    from tarpon.http.quick_client import QuickClient


def versions_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Which versions of the job are meant, as `job_version` and `all_job_versions`."""
    every = click.option("--all-job-versions", is_flag=True, help="All versions of the job.")
    one = click.option(
        "--job-version", default=0, type=click.IntRange(0), metavar="N", help="This version, not the newest."
    )
    return one(every(function))


next_token_option = click.option("--next-token", default="", help="Go on where the last listing ended.")


@click.command("list", cls=Command)
@click.option("--namespace", default="", help='One namespace; "*" is all.')
@click.option("-A", "--all-namespaces", is_flag=True, help="The same as --namespace '*'.")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(1, 1000), help="How many jobs at most.")
@next_token_option
@click.option("--order-by", type=click.Choice(["created_at", "modified_at"]), default="created_at", show_default=True)
@click.option("--reverse", "--order-reversed", is_flag=True, help="The other way round.")
@click.option("--state", type=States(), multiple=True, metavar="STATE", help="Such as Failed, or Queued,Running.")
@click.option(
    "--exit-code",
    type=ExitCodes(),
    multiple=True,
    metavar="CODE",
    help="Of any part, such as 1; nonzero is all but 0.",
)
@click.option(
    "--since",
    type=Since(),
    default="",
    metavar="TIME",
    help="Created since then: 12h, 7d, 2026-01-31, 2026-01-31T12:00; local time, unless it ends with a time zone or Z.",
)
@click.option("--name", default="", metavar="PATTERN", help="Jobs of this name; * and ? stand for anything.")
@click.option(
    "-l", "--label", "--labels", "labels", multiple=True, metavar="SELECTOR", help="Such as team=a,env in (x,y)."
)
@click.option("--schedules", is_flag=True, help="Jobs that have a Schedule alone.")
@output_option
@with_quick_client
async def list_jobs(
    client: "Client | QuickClient",
    *,
    namespace: str,
    all_namespaces: bool,
    limit: int,
    next_token: str,
    order_by: str,
    reverse: bool,
    labels: tuple[str, ...],
    state: tuple[str, ...],
    exit_code: tuple[str, ...],
    since: str,
    name: str,
    schedules: bool,
    output: str,
) -> None:
    """List jobs, the newest first. Of several conditions all have to hold."""
    from tarpon.cli.display.job_text import jobs_table

    if all_namespaces and namespace not in {"", "*"}:
        raise click.UsageError("--all-namespaces and --namespace exclude each other.")
    everywhere = all_namespaces or namespace == "*"
    asked: dict[str, Any] = {
        "namespace": "*" if everywhere else namespace,
        "limit": limit,
        "order_by": order_by,
        "reverse": reverse,
        "labels": ",".join(labels),
        "states": state,
        "exit_codes": exit_code,
        "since": since,
        "name": name,
        "schedules": schedules,
    }
    page = await client.list(**asked, next_token=next_token)
    found = page.items
    while page.next_token and len(found) < limit:  # the orchestrator looks at so many for one answer
        page = await client.list(**asked, next_token=page.next_token)
        found += page.items
    show(found, output, lambda: jobs_table(found, datetime.now(UTC), with_namespace=everywhere))
    if page.next_token:
        click.echo(f"There are more: --next-token {page.next_token}", err=True)


@click.command(cls=Command)
@job_argument
@namespace_option
@click.option(
    "--job-version", "--version", default=0, type=click.IntRange(0), metavar="N", help="This version, not the newest."
)
@output_option
@with_client
async def describe(client: "Client", *, job: str, namespace: str, job_version: int, output: str) -> None:
    """Show all about one job: its state, executions, history and the beginning of what it wrote.

    As a table, of more than 20 executions those that have failed and the first few others. --output json has all.
    """
    from tarpon.cli.display.job_text import description

    described = await client.describe(job, namespace=namespace, job_version=job_version)
    if output == "table":
        described = await _whole(client, described)
    waiting = await _waiting(client, described.job) if output == "table" else ""
    show(described, output, lambda: description(described, datetime.now(UTC), waiting))


async def _whole(client: "Client", described: "JobResponse") -> "JobResponse":
    """With all executions, where they are too many for one answer, so that they can be counted."""
    from msgspec.structs import replace

    from shared.protocol.rest import Page

    if described.executions is None or not described.executions.next_token:
        return described
    job = described.job
    every = await client.all_executions(job.id, job_version=job.version)
    return replace(described, executions=Page(items=every))


async def _waiting(client: "Client", job: "JobView") -> str:
    """What the job waits for, in one line; nothing where that cannot be told."""
    from shared.errors import TarponError
    from tarpon.cli.job.why import waiting
    from tarpon.http.watching import is_over

    if is_over(job):
        return ""
    try:
        found = await client.waits(job.id, limit=0)
    except TarponError:  # the orchestrator went away, or is of an earlier version
        return ""
    return waiting(found) if found.job_version == job.version else ""


@click.command(cls=Command)
@job_argument
@namespace_option
@versions_options
@output_option
@with_client
async def executions(
    client: "Client", *, job: str, namespace: str, job_version: int, all_job_versions: bool, output: str
) -> None:
    """List the executions of a job, the oldest first."""
    from tarpon.cli.display.job_text import executions_table

    found = await client.all_executions(
        job, namespace=namespace, job_version=job_version, all_job_versions=all_job_versions
    )
    show(found, output, lambda: executions_table(found, datetime.now(UTC)))


@click.command(cls=Command)
@job_argument
@namespace_option
@versions_options
@click.option("--event-type", type=click.Choice(["all", "job", "execution"]), default="all", show_default=True)
@click.option(
    "--execution-id",
    default="",
    metavar="ID",
    shell_complete=completed_names.executions,
    help="Only this execution, or beginning of an id.",
)
@click.option("--limit", default=100, show_default=True, type=click.IntRange(1, 1000), help="How many at most.")
@next_token_option
@output_option
@with_client
async def history(client: "Client", *, job: str, output: str, **asked: Any) -> None:
    """Show what happened to a job, the oldest first."""
    from tarpon.cli.display.job_text import history_lines

    page = await client.history(job, **asked)
    show(page.items, output, lambda: history_lines(page.items, datetime.now(UTC)))
    if output == "table" and not page.next_token and any(each.event.is_error for each in page.items):
        await _tell_what_is_next(client, job, asked["namespace"], asked["job_version"])
    if page.next_token:
        click.echo(f"There may be more: --next-token {page.next_token}", err=True)


async def _tell_what_is_next(client: "Client", job: str, namespace: str, version: int) -> None:
    """What parts wait for of a job of which something has failed, such as the next attempt."""
    from tarpon.cli.display.job_text import waits_text

    view = await client.get(job, namespace=namespace)
    if version in {0, view.version} and (told := waits_text(view)):
        click.echo(told)


@click.command(cls=Command)
@job_argument
@namespace_option
@output_option
@with_client
async def versions(client: "Client", *, job: str, namespace: str, output: str) -> None:
    """List the versions of a job: each submit that changed it, or was forced, made one."""
    from tarpon.cli.display.job_text import versions_table

    found = await client.versions(job, namespace=namespace)
    show(found, output, lambda: versions_table(found, datetime.now(UTC)))
