"""The command `tarpon job delete`."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import namespace_option
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from shared.protocol.rest import DeleteResponse
    from tarpon.client import Client


@click.command(cls=Command)
@click.argument("jobs", metavar="JOB...", nargs=-1, required=True, shell_complete=completed_names.jobs)
@namespace_option
@click.option("--results", is_flag=True, help="Delete what the jobs published from the bucket, too.")
@click.option("--force", is_flag=True, help="Stop a job that runs still, and delete it then.")
@click.option("--quiet", is_flag=True, help="Print nothing.")
@output_option
@with_client
async def delete(
    client: "Client", *, jobs: tuple[str, ...], namespace: str, results: bool, force: bool, quiet: bool, output: str
) -> None:
    """Delete ended jobs: nothing is known of them any more. Their results stay, unless --results is given.

    It stops at the first job that cannot be deleted.
    """
    done: list[DeleteResponse] = []
    try:
        for job in jobs:
            done.append(  # noqa: PERF401  # what is deleted is told, also where the next one fails
                await client.delete(job, results=results, force=force, namespace=namespace)
            )
    finally:
        if done and not quiet:
            show(done, output, lambda: "\n".join(_line(each) for each in done))


def _line(done: "DeleteResponse") -> str:
    return f"Deleted {done.job_id}." if done.deleted else f"{done.job_id} is being deleted."
