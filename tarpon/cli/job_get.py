"""What `tarpon job get` does: fetch what a job produced, and say where it is."""

from pathlib import Path

import click

from tarpon.cli.output import size
from tarpon.cli.progress import DownloadLine
from tarpon.client import Client
from tarpon.results import get_results


async def download(
    client: Client, job: str, *, output_dir: Path | None = None, raw: bool = False, namespace: str = ""
) -> None:
    """Raises what tarpon.results.get_results raises."""
    click.echo(f"Fetching results of job '{job}'...", err=True)
    line = DownloadLine()
    try:
        fetched = await get_results(client, job, output_dir=output_dir, raw=raw, namespace=namespace, on_progress=line)
    finally:
        line.end()
    if fetched.folder is None:
        click.echo("No results found: the job has no publisher.", err=True)
        click.echo(f"What its task wrote: tarpon job describe {job}", err=True)
        return
    what = "archive" if raw else "result"
    plural = "" if fetched.count == 1 else "s"
    click.echo(f"{fetched.count} {what}{plural}, {size(fetched.size_bytes)} downloaded and verified.", err=True)
    click.echo(f"Results for job '{job}' have been written to...\n{fetched.folder}")
