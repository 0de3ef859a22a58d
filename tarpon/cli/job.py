"""The commands `tarpon job ...`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarpon.cli.commands import Group, given, with_client
from tarpon.cli.outcomes import EXIT_CODES_HELP
from tarpon.cli.output import output_option, show

if TYPE_CHECKING:
    from tarpon.client import Client

job_argument = click.argument("job", metavar="JOB")
namespace_option = click.option("--namespace", default="", help="The namespace, if JOB is a name in another one.")


@click.group(cls=Group)
def job() -> None:
    """Submit, watch, list and stop jobs; get their results. JOB is an id, the beginning of one, or a name."""


@job.command(epilog=EXIT_CODES_HELP)
@click.argument("file", metavar="FILE")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Watch the job until it has ended.")
@click.option("--id-only", is_flag=True, help="Print nothing but the job's id on stdout.")
@click.option("--force", is_flag=True, help="Run the job again even if it has not changed.")
@click.option("--exit-zero", is_flag=True, help="Exit with 0 also when the job failed or was stopped.")
@click.option("--get", is_flag=True, help="Download the results when the job has completed.")
def run(*, file: str, wait: bool, id_only: bool, force: bool, exit_zero: bool, get: bool) -> int:
    """Submit the job in FILE (YAML or JSON; - is stdin) and watch it."""
    from tarpon.cli.job_file import read_job

    if get and not wait:
        raise click.UsageError("--get needs the end of the job, so it cannot go with --no-wait.")
    read = read_job(file)
    api = given().config().api

    from tarpon.cli.job_run import JobRun

    return JobRun(read, force=force, id_only=id_only, wait=wait, get=get).run(api, exit_zero=exit_zero)


@job.command("list")
@click.option("--namespace", default="", help='One namespace; "*" is all.')
@click.option("--limit", default=10, show_default=True, help="How many jobs at most.")
@click.option("--next-token", default="", help="Go on where the last listing ended.")
@click.option("--order-by", type=click.Choice(["created_at", "modified_at"]), default="created_at", show_default=True)
@click.option("--order-reversed", is_flag=True, help="The other way round.")
@click.option("-l", "--labels", default="", metavar="SELECTOR", help="Such as team=a,env in (x,y).")
@output_option
@with_client
async def list_jobs(
    client: "Client",
    *,
    namespace: str,
    limit: int,
    next_token: str,
    order_by: str,
    order_reversed: bool,
    labels: str,
    output: str,
) -> None:
    """List jobs."""
    from tarpon.cli.job_text import jobs_table

    page = await client.list(
        namespace=namespace,
        limit=limit,
        next_token=next_token,
        order_by=order_by,
        reverse=order_reversed,
        labels=labels,
    )
    show(page.items, output, lambda: jobs_table(page.items, datetime.now(UTC)))
    if page.next_token:
        click.echo(f"There are more: --next-token {page.next_token}", err=True)


@job.command()
@job_argument
@namespace_option
@output_option
@with_client
async def describe(client: "Client", *, job: str, namespace: str, output: str) -> None:
    """Show all about one job: its state, executions, history and the beginning of what it wrote."""
    from tarpon.cli.job_text import description

    described = await client.describe(job, namespace=namespace)
    show(described, output, lambda: description(described, datetime.now(UTC)))


@job.command()
@job_argument
@namespace_option
@output_option
@with_client
async def executions(client: "Client", *, job: str, namespace: str, output: str) -> None:
    """List the executions of a job."""
    from tarpon.cli.job_text import executions_table

    page = await client.executions(job, namespace=namespace)
    show(page.items, output, lambda: executions_table(page.items, datetime.now(UTC)))


@job.command()
@job_argument
@namespace_option
@click.option("--next-token", default="", help="Go on where the last listing ended.")
@output_option
@with_client
async def history(client: "Client", *, job: str, namespace: str, next_token: str, output: str) -> None:
    """Show what happened to a job."""
    from tarpon.cli.job_text import history_lines

    page = await client.history(job, namespace=namespace, next_token=next_token)
    show(page.items, output, lambda: history_lines(page.items, datetime.now(UTC)))
    if page.next_token:
        click.echo(f"There may be more: --next-token {page.next_token}", err=True)


@job.command("get")
@job_argument
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="An existing folder; otherwise ./job-JOB is made.",
)
@click.option("--raw", is_flag=True, help="Keep the archives as they are, in the folder raw/.")
@namespace_option
@with_client
async def get_job(client: "Client", *, job: str, output_dir: Path | None, raw: bool, namespace: str) -> None:
    """Download, verify and extract the results of a job."""
    from tarpon.cli.job_get import download

    await download(client, job, output_dir=output_dir, raw=raw, namespace=namespace)


@job.command()
@job_argument
@namespace_option
@click.option("--reason", default="", help="Why, for the job's history.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
@with_client
async def stop(client: "Client", *, job: str, namespace: str, reason: str, quiet: bool) -> None:
    """Stop a job."""
    stopped = await client.stop(job, reason=reason, namespace=namespace)
    if quiet:
        return
    if stopped.evaluation_id:
        click.echo(f"Job stop successfully submitted with evaluation ID: {stopped.evaluation_id}")
    else:
        click.echo("The job was stopped already.")
