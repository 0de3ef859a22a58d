"""The command `tarpon job get`: fetch what a job produced, or some of it, and say where it is."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tarpon.cli.commands import Command, with_client
from tarpon.cli.job import job_argument, namespace_option
from tarpon.cli.result_options import execution_option, job_and_paths, partition_option

if TYPE_CHECKING:
    from tarpon.client import Client
    from tarpon.results import Fetched


@click.command(cls=Command)
@job_argument
@click.argument("paths", nargs=-1, metavar="[PATH]...")
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="An existing folder; otherwise ./job-JOB is made.",
)
@click.option(
    "--raw", is_flag=True, help="Keep the archives as they are, in the folder raw/; go on with what is there."
)
@click.option("--merge", is_flag=True, help="Put several results into one tree; stdout of part 0 is stdout.0 there.")
@partition_option
@execution_option
@namespace_option
@with_client
async def get(
    client: "Client",
    *,
    job: str,
    paths: Sequence[str],
    output_dir: Path | None,
    raw: bool,
    merge: bool,
    partition: int | None,
    execution_id: str,
    namespace: str,
) -> None:
    """Download, verify and extract the results of a job.

    PATH is a file or a directory of the results, or a pattern such as 'outputs/*.csv', where * also stands for
    slashes; no more is fetched than holds these. JOB/PATH may be written too.
    """
    job, paths = await job_and_paths(client, job, paths, namespace=namespace)
    await download(
        client,
        job,
        paths=paths,
        output_dir=output_dir,
        raw=raw,
        merge=merge,
        partition=partition,
        execution_id=execution_id,
        namespace=namespace,
    )


async def download(
    client: "Client",
    job: str,
    *,
    paths: Sequence[str] = (),
    output_dir: Path | None = None,
    raw: bool = False,
    merge: bool = False,
    partition: int | None = None,
    execution_id: str = "",
    namespace: str = "",
) -> None:
    """Raises what tarpon.results.get_results raises."""
    from tarpon.cli.progress import DownloadLine
    from tarpon.results import get_results

    click.echo(f"Fetching results of job '{job}'...", err=True)
    line = DownloadLine()
    try:
        fetched = await get_results(
            client,
            job,
            paths=paths,
            output_dir=output_dir,
            raw=raw,
            merge=merge,
            partition=partition,
            execution_id=execution_id,
            namespace=namespace,
            on_progress=line,
        )
    finally:
        line.end()
    if fetched.folder is None:
        click.echo("No results found: the job has no publisher.", err=True)
        click.echo(f"What its task wrote: tarpon job logs {job}", err=True)
        return
    click.echo(_told(fetched, raw=raw, paths=paths), err=True)
    click.echo(f"Results for job '{job}' have been written to...\n{fetched.folder}")


def _told(fetched: "Fetched", *, raw: bool, paths: Sequence[str]) -> str:
    from tarpon.cli.output import size

    what, count = "archive" if raw else "result", fetched.count
    if paths:
        what, count = "file", fetched.files
    plural = "" if count == 1 else "s"
    return f"{count} {what}{plural}, {size(fetched.size_bytes)} downloaded and verified."
