"""The commands that read a job file: `tarpon job run` and `tarpon job validate`."""

import click

from tarpon.cli.console import completed_names
from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.job.flags import inputs_of, with_inputs
from tarpon.cli.job.input_flags import input_option
from tarpon.cli.job.run_options import RunOptions, run_options
from tarpon.cli.job_files.template import Template, template_options

file_argument = click.argument("file", metavar="FILE", shell_complete=completed_names.files)


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@file_argument
@input_option("-i", "--input")
@run_options
@template_options
def run(*, file: str, input: tuple[str, ...], options: RunOptions, template: Template) -> int:  # noqa: A002  # the flag
    """Submit the job in FILE (YAML or JSON; - is stdin) and watch it.

    Several jobs, as documents with --- between them or as a list under Jobs, are submitted together: all or none.

    {{.Name}} in FILE is replaced by the value that -V Name=... or the environment (-E) gives. More of Go's templates is
    known: functions such as or, index, eq and printf, and the blocks if, with and range.
    """
    from tarpon.cli.job_files.checks import check_file
    from tarpon.cli.job_files.file import read_job_file

    sources, sends = inputs_of("--input", input)
    jobs = check_file(read_job_file(file, template))
    config = given().config()
    if len(jobs) > 1:
        if input:
            raise click.UsageError(
                "--input is for a file with one job. Which of these jobs is to read it? Send it with"
                " `tarpon data put PATH --name NAME`, and name it in the job that reads it, under InputSources:"
                " {Source: {Type: upload, Params: {Data: NAME}}, Target: /inputs}."
            )
        if options.output_dir is not None:
            raise click.UsageError(
                "--output-dir is for a file with one job. Without it each job's results go into ./job-NAME."
            )
        from tarpon.cli.job.chain import run_jobs

        return run_jobs(jobs, options, config)

    from tarpon.cli.job.run import run_job

    return run_job(with_inputs(jobs[0], sources), options, config, sends)


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@file_argument
@template_options
def validate(*, file: str, template: Template) -> None:
    """Tell whether the job or jobs in FILE (YAML or JSON; - is stdin) are valid: print OK, or every problem.

    No orchestrator is asked, so what only it can know (defaults, publishers, nodes) is not looked at. Of a job with a
    Schedule it tells when the next runs are due.
    """
    from shared.jobs.several import called
    from tarpon.cli.display.schedule_lines import next_times
    from tarpon.cli.job_files.checks import check_file, warnings
    from tarpon.cli.job_files.file import read_job_file

    jobs = check_file(read_job_file(file, template))
    for number, job in enumerate(jobs):
        whose = f"{called(number, job)}: " if len(jobs) > 1 else ""
        for warning in warnings(job):
            click.echo(f"Warning: {whose}{warning}", err=True)
        if due := next_times(job):
            click.echo(f"{whose}The next runs are due at {', '.join(due)}.", err=True)
    click.echo("OK")
