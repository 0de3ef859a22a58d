"""The command `tarpon job schema`: the JSON Schema by which editors complete and check job files."""

import click

from tarpon.cli.console.commands import Command


@click.command(cls=Command)
def schema() -> None:
    """Print the JSON Schema of job files, by which editors complete and check them.

    \b
    tarpon job schema > job.schema.json
    In VS Code with the YAML extension the first line of a job file names it:
    # yaml-language-server: $schema=job.schema.json
    """  # noqa: D301  # click wants the character
    from tarpon.cli.console.output import json_text
    from tarpon.cli.job_files.schema import job_schema

    click.echo(json_text(job_schema(), indent=2))
