"""The commands that make a job out of their flags: `tarpon docker run` and `tarpon exec`."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import click

from shared.jobs.engine_params import DOCKER, PROCESS
from shared.jobs.spec import SpecConfig
from tarpon.cli.console.commands import Command, Group, given
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.job.flags import JobFlags, inputs_of, job_flags, job_of
from tarpon.cli.job.run_options import RunOptions, run_options

_REST_IS_THE_TASKS = {"allow_interspersed_args": False}

workdir_option = click.option("-w", "--workdir", default="", metavar="DIR", help="Where the command is run.")


@click.group(cls=Group)
def docker() -> None:
    """Run a container image as a job, without a job file."""


@docker.command("run", context_settings=_REST_IS_THE_TASKS, epilog=EXIT_CODES_HELP)
@click.argument("image", metavar="IMAGE")
@click.argument("command", nargs=-1, metavar="[CMD...]")
@job_flags
@click.option(
    "--entrypoint", multiple=True, metavar="WORD", help="In place of the image's own; repeat it for several words."
)
@workdir_option
@partial(run_options, verbose=("--verbose",), output=False)  # -v is a volume to who knows `docker run`
def run(
    *,
    image: str,
    command: tuple[str, ...],
    flags: JobFlags,
    entrypoint: tuple[str, ...],
    workdir: str,
    options: RunOptions,
) -> int:
    """Run CMD in a container of IMAGE, and watch the job. Options come before IMAGE.

    \b
    tarpon docker run -p s3managed -o outputs:/outputs busybox:1.37.0 sh -c 'date > /outputs/now'
    """  # noqa: D301  # click wants the character
    if workdir and not workdir.startswith("/"):
        raise click.BadParameter(f"{workdir!r} is not an absolute path.", param_hint="-w")
    engine = _engine(DOCKER, workdir, {"Image": image, "Entrypoint": list(entrypoint), "Parameters": _words(command)})
    return _run(flags, engine, options)


@click.command("exec", cls=Command, context_settings=_REST_IS_THE_TASKS, epilog=EXIT_CODES_HELP)
@click.argument("command", nargs=-1, required=True, metavar="CMD...")
@job_flags
@workdir_option
@partial(run_options, output=False)
def exec_command(*, command: tuple[str, ...], flags: JobFlags, workdir: str, options: RunOptions) -> int:
    """Run CMD on a node itself, without a container, and watch the job. Options come before CMD.

    Only nodes whose operator allows it (Engines.Types.Process.Enabled) take such jobs.

    \b
    tarpon exec -p s3managed -o outputs:/outputs -- sh -c 'date > outputs/now'
    """  # noqa: D301  # click wants the character
    words = _words(command)
    if not words:
        raise click.UsageError("Missing argument 'CMD...'.")
    return _run(flags, _engine(PROCESS, workdir, {"Entrypoint": words[:1], "Parameters": words[1:]}), options)


def _run(flags: JobFlags, engine: SpecConfig, options: RunOptions) -> int:
    job = job_of(flags, engine)
    config = given().config()

    from tarpon.cli.job.run import run_job

    _, sends = inputs_of("-i", flags.input)
    return run_job(job, options._replace(output=flags.form), config, sends)


def _engine(kind: str, workdir: str, params: dict[str, Any]) -> SpecConfig:
    given_params = params | {"WorkingDirectory": workdir}
    return SpecConfig(type=kind, params={name: value for name, value in given_params.items() if value})


def _words(command: Sequence[str]) -> list[str]:
    """Without the `--` that may part the options, or the image, from the command."""
    return list(command[1:] if command[:1] == ("--",) else command)
