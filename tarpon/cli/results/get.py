"""The command `tarpon job get`: fetch what a job produced, or some of it, and say where it is."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import printable
from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import job_or_path_argument, namespace_option
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.console.output import output_option
from tarpon.cli.results.placement_options import placement_options
from tarpon.cli.results.result_options import Choice, job_and_paths, result_options, strict_option

if TYPE_CHECKING:
    from shared.extraction.placement_rules import PlacementRules
    from tarpon.cli.console.odd_entries import GetReport
    from tarpon.client import Client
    from tarpon.results.fetch_job import Fetched


MOST_NAMED = 10


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@job_or_path_argument
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=completed_names.paths)
@click.option(
    "--output-dir",
    type=click.Path(path_type=Path),
    help="Where the results go; it is made where it is missing. Otherwise that is ./job-JOB.",
)
@click.option(
    "--raw", is_flag=True, help="Keep the archives as they are, in the folder raw/; go on with what is there."
)
@click.option("--merge", is_flag=True, help="Put several results into one tree; stdout of part 7 is stdout.0007 there.")
@placement_options
@strict_option
@output_option
@result_options
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
    rules: "PlacementRules",
    strict: bool,
    output: str,
    choice: Choice,
    namespace: str,
) -> None:
    """Download, verify and extract the results of a job.

    PATH is a file or a directory of the results, or a pattern such as 'outputs/*.csv', where * also stands for
    slashes; no more is fetched than holds these. JOB/PATH may be written too. What the folder's file system cannot
    have is left out and told, and the exit code is 5 then.
    """
    job, paths = await job_and_paths(client, job, paths, namespace=namespace)
    await download(
        client,
        job,
        paths=paths,
        output_dir=output_dir,
        raw=raw,
        merge=merge,
        rules=rules,
        strict=strict,
        output=output,
        **choice._asdict(),
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
    rules: "PlacementRules | None" = None,
    strict: bool = False,
    output: str = "table",
    on_report: "Callable[[GetReport], None] | None" = None,
    partition: int | None = None,
    execution_id: str = "",
    job_version: int = 0,
    namespace: str = "",
    called: str = "",
) -> None:
    """With `on_report` nothing is written to stdout, and it is told what was fetched.

    Raises what tarpon.results.get_results raises, ResultsIncomplete and ResultsNotWhole.
    """
    from tarpon.cli.console.progress import DownloadLine
    from tarpon.results.fetch_job import get_results

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
            rules=rules,
            partition=partition,
            execution_id=execution_id,
            job_version=job_version,
            namespace=namespace,
            called=called,
            on_progress=line,
        )
    finally:
        line.end()
    _tell(fetched, job, raw=raw, paths=paths)
    from tarpon.cli.console import odd_entries
    from tarpon.cli.console.output import show

    if on_report is not None:
        on_report(odd_entries.report(fetched, job))
    elif output != "table":
        show(odd_entries.report(fetched, job), output, str)
    elif fetched.folder is not None:
        click.echo(f"Results for job '{job}' have been written to...\n{fetched.folder}")
    odd_entries.check(fetched, job, strict=strict)


def _tell(fetched: "Fetched", job: str, *, raw: bool, paths: Sequence[str]) -> None:
    from tarpon.cli.console import odd_entries

    if fetched.folder is None:
        click.echo("No results found: the job has no publisher.", err=True)
        click.echo(f"What its task wrote: tarpon job logs {job}", err=True)
    else:
        click.echo(_summary(fetched, raw=raw, paths=paths), err=True)
    for execution, other in fetched.replaced.items():
        told = f"The archive of execution {execution} is not, or not any more, what its replicas agreed about."
        click.echo(f"Warning: {told} That of {other} was taken.", err=True)
    if fetched.exit_codes:
        click.echo(f"Warning: {_failed(fetched)}", err=True)
    if fetched.without_result:
        click.echo(f"Warning: {_lacking(fetched)}", err=True)
    if fetched.left_out_count:
        click.echo(f"Warning: {odd_entries.not_whole(fetched.left_out_count, job)}", err=True)
    for told in odd_entries.told(fetched.oddities):
        click.echo(f"Warning: {printable(told)}", err=True)


def _failed(fetched: "Fetched") -> str:
    """Which of the results are of tasks that have failed."""
    from tarpon.cli.display.job_text import counted_in_words

    told = [f"{part} by exit code {code}" for part, code in sorted(fetched.exit_codes.items())]
    more = f" and {len(told) - MOST_NAMED} more" if len(told) > MOST_NAMED else ""
    what = f"The task of {counted_in_words(len(told), 'part')} has failed"
    return f"{what}, and this is what there was of its result: part {', '.join(told[:MOST_NAMED])}{more}."


def _lacking(fetched: "Fetched") -> str:
    """Of which parts there is no result: what has not completed has none, and another one may be out of reach."""
    lacking = fetched.without_result
    more = f" and {len(lacking) - MOST_NAMED:,} more" if len(lacking) > MOST_NAMED else ""
    named = f"{', '.join(map(str, lacking[:MOST_NAMED]))}{more}"
    has, it = ("has", "it has") if len(lacking) == 1 else ("have", "they have")
    what = f"{len(lacking):,} of {fetched.parts:,} parts {has} no result"
    if fetched.have_completed:
        return f"{what} at present, although {it} completed; the orchestrator's log says why: part {named}."
    return f"{what}, for {it} not completed: part {named}."


def _summary(fetched: "Fetched", *, raw: bool, paths: Sequence[str]) -> str:
    from tarpon.cli.console.output import size
    from tarpon.cli.display.job_text import counted_in_words

    files = counted_in_words(fetched.files, "file")
    results = counted_in_words(fetched.count, "archive" if raw else "result")
    what = files if paths else results if raw else f"{results} with {files}"
    return f"{what}, {size(fetched.size_bytes)} downloaded and verified."
