"""The command `tarpon job get`: fetch what a job produced, and say where it is."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarpon.cli.commands import Command, with_client
from tarpon.cli.job import job_argument, namespace_option

if TYPE_CHECKING:
    from tarpon.client import Client


@click.command(cls=Command)
@job_argument
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="An existing folder; otherwise ./job-JOB is made.",
)
@click.option("--raw", is_flag=True, help="Keep the archives as they are, in the folder raw/.")
@namespace_option
@with_client
async def get(client: "Client", *, job: str, output_dir: Path | None, raw: bool, namespace: str) -> None:
    """Download, verify and extract the results of a job."""
    await download(client, job, output_dir=output_dir, raw=raw, namespace=namespace)


async def download(
    client: "Client", job: str, *, output_dir: Path | None = None, raw: bool = False, namespace: str = ""
) -> None:
    """Raises what tarpon.results.get_results raises."""
    from tarpon.cli.output import size
    from tarpon.cli.progress import DownloadLine
    from tarpon.results import get_results

    click.echo(f"Fetching results of job '{job}'...", err=True)
    line = DownloadLine()
    try:
        fetched = await get_results(client, job, output_dir=output_dir, raw=raw, namespace=namespace, on_progress=line)
    finally:
        line.end()
    if fetched.folder is None:
        click.echo("No results found: the job has no publisher.", err=True)
        click.echo(f"What its task wrote: tarpon job logs {job}", err=True)
        return
    what = "archive" if raw else "result"
    plural = "" if fetched.count == 1 else "s"
    click.echo(f"{fetched.count} {what}{plural}, {size(fetched.size_bytes)} downloaded and verified.", err=True)
    click.echo(f"Results for job '{job}' have been written to...\n{fetched.folder}")
