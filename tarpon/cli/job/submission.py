"""The commands that read a job file: `tarpon job run` and `tarpon job validate`."""

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.job.run_options import RunOptions, run_options
from tarpon.cli.job_files.template import Template, template_options

file_argument = click.argument("file", metavar="FILE", shell_complete=completed_names.files)


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@file_argument
@run_options
@template_options
def run(*, file: str, options: RunOptions, template: Template) -> int:
    """Submit the job in FILE (YAML or JSON; - is stdin) and watch it.

    {{.Name}} in FILE is replaced by the value that -V Name=... or the environment (-E) gives. More of Go's templates is
    known: functions such as or, index, eq and printf, and the blocks if, with and range.
    """
    from tarpon.cli.job_files.checks import check_document
    from tarpon.cli.job_files.file import read_document

    document = read_document(file, template)
    job = check_document(document.content, what=document.what, known=document.problems)
    config = given().config()

    from tarpon.cli.job.run import run_job

    return run_job(job, options, config)


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@file_argument
@template_options
def validate(*, file: str, template: Template) -> None:
    """Tell whether the job in FILE (YAML or JSON; - is stdin) is valid: print OK, or every problem.

    No orchestrator is asked, so what only it can know (defaults, publishers, nodes) is not looked at.
    """
    from shared.jobs.rules import dropped, normalised, unsaid
    from tarpon.cli.job_files.checks import check_document, name_warnings, publisher_warnings
    from tarpon.cli.job_files.file import read_document

    document = read_document(file, template)
    job = check_document(document.content, what=document.what, known=document.problems)
    for warning in (*dropped(job), *unsaid(normalised(job)), *name_warnings(job), *publisher_warnings(job)):
        click.echo(f"Warning: {warning}", err=True)
    click.echo("OK")
