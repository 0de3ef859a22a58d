"""The command `tarpon job stop`."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command(cls=Command)
@job_argument
@namespace_option
@click.option("--reason", default="", help="Why, for the job's history.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
@output_option
@with_client
async def stop(client: "Client", *, job: str, namespace: str, reason: str, quiet: bool, output: str) -> None:
    """Stop a job."""
    stopped = await client.stop(job, reason=reason, namespace=namespace)
    if quiet:
        return
    show(stopped, output, lambda: f"Stopping {job}." if stopped.evaluation_id else "The job was stopped already.")
