"""Options of every command that submits a job and watches it."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import click

from tarpon.cli.console.output import output_option
from tarpon.cli.results.result_options import strict_option


class RunOptions(NamedTuple):
    """What to do with a job besides submitting it; `wait_seconds` is None where only the job's end ends the wait."""

    wait: bool = True
    wait_seconds: float | None = None
    id_only: bool = False
    follow: bool = False
    get: bool = False
    output_dir: Path | None = None
    force: bool = False
    exit_zero: bool = False
    exit_code: bool = False
    dry_run: bool = False
    strict: bool = False
    verbose: bool = False
    output: str = "table"

    @property
    def is_for_programs(self) -> bool:
        """Whether stdout is for one document."""
        return self.output != "table"


def verbose_option(*names: str) -> Callable[[Any], Any]:
    return click.option(*names, is_flag=True, help="Show every line of the job's history as it comes.")


_OPTIONS = (
    click.option("--wait/--no-wait", default=True, show_default=True, help="Watch the job until it has ended."),
    click.option(
        "--wait-timeout-secs",
        "wait_seconds",
        type=click.FloatRange(min=0, min_open=True),
        metavar="SECONDS",
        help="Watch no longer than this; the job goes on, and the exit code is 1.",
    ),
    click.option("--id-only", is_flag=True, help="Print nothing but the job's id on stdout."),
    click.option("-f", "--follow", is_flag=True, help="Print what the task writes, while it writes it."),
    click.option("--get", is_flag=True, help="Download the results when the job has completed."),
    click.option(
        "--output-dir",
        type=click.Path(path_type=Path),
        help="Where --get puts the results; it is made where it is missing. Otherwise that is ./job-JOB.",
    ),
    click.option("--exit-zero", is_flag=True, help="Exit with 0 also when the job failed or was stopped."),
    click.option(
        "--exit-code", is_flag=True, help="Exit with the code of the task; of several parts, with the highest one."
    ),
    strict_option,
)
_OF_SUBMITS = {
    "force": click.option("--force", is_flag=True, help="Run the job again even if it has not changed."),
    "dry_run": click.option("--dry-run", is_flag=True, help="Print the job for `tarpon job run`, and submit nothing."),
}


def run_options(
    function: Callable[..., Any],
    *,
    verbose: tuple[str, ...] = ("-v", "--verbose"),
    output: bool = True,
    submits: bool = True,
) -> Callable[..., Any]:
    """Give a command these options; its function gets them as `options`. `verbose` are the names of that option.

    Without `output` the command itself has an option of that name. One that `submits` has those about that, too.
    """
    absent = ({"output"} if not output else set()) | (set(_OF_SUBMITS) if not submits else set())

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        options = RunOptions(**{name: values.pop(name) for name in RunOptions._fields if name not in absent})
        _check(options)
        return function(options=options, **values)

    of_submits = _OF_SUBMITS.values() if submits else ()
    for option in reversed((*_OPTIONS, *of_submits, *([output_option] if output else []), verbose_option(*verbose))):
        command = option(command)
    return command


def _check(options: RunOptions) -> None:
    if options.exit_zero and options.exit_code:
        raise click.UsageError("--exit-zero and --exit-code exclude each other.")
    if options.output_dir is not None and not options.get:
        raise click.UsageError("--output-dir is where --get puts the results, so it goes with that one alone.")
    if options.wait:
        return
    for name in _needing_end(options):
        raise click.UsageError(f"{name} needs the end of the job, so it cannot go with --no-wait.")
    if options.wait_seconds is not None:
        raise click.UsageError("--wait-timeout-secs limits a wait, so it cannot go with --no-wait.")


def _needing_end(options: RunOptions) -> list[str]:
    needing = {"--get": options.get, "--follow": options.follow, "--strict": options.strict}
    return [name for name, is_given in (needing | {"--exit-code": options.exit_code}).items() if is_given]


def check_without_end(options: RunOptions) -> None:
    """Raise click.UsageError for options that need the end of a job which is a schedule, and so has none."""
    for name in _needing_end(options):
        raise click.UsageError(f"{name} needs the end of the job, and a job with a Schedule has none: its runs have.")
