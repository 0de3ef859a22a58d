"""The command `tarpon`: its groups, its exit codes, and the one place where errors are shown."""

import errno
import os
import sys
from collections.abc import Sequence

import click

from shared.data.plain_text import printable
from shared.errors import InvalidInput, OrchestratorUnreachable, RemoteError, TarponError
from tarpon.cli.completion import VARIABLE
from tarpon.cli.console.commands import Given, Group, ReaderWentAway
from tarpon.cli.console.outcomes import (
    EXIT_CODES_HELP,
    Exit,
    ImportNameTaken,
    JobStopped,
    NoSpaceLeft,
    PathUnusable,
    show_error,
)
from tarpon.import_names import shadowed

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
_LAZY = {
    "serve": ("tarpon.cli.serve:serve", "Run an orchestrator, a compute node, or both."),
    "devstack": ("tarpon.cli.devstack:devstack", "Run everything on this machine, to try it out."),
    "job": ("tarpon.cli.console.job_group:job", "Submit, watch, list and stop jobs; get their results."),
    "docker": ("tarpon.cli.job.direct_runs:docker", "Run a container image as a job, without a job file."),
    "wasm": ("tarpon.cli.job.module_runs:wasm", "Run a WebAssembly module as a job, without a job file."),
    "exec": ("tarpon.cli.job.direct_runs:exec_command", "Run a command on a node itself as a job, without a job file."),
    "node": ("tarpon.cli.node.group:node", "Show nodes, and how a new one joins."),
    "namespace": ("tarpon.cli.namespace:namespace", "Show what namespaces run; set how they share the nodes."),
    "data": ("tarpon.cli.data:data", "Send files and trees for the inputs of jobs."),
    "secret": ("tarpon.cli.secret:secret", "Store secrets that tasks are given by name."),
    "user": ("tarpon.cli.user:user", "Make, list and revoke users, who are known by API keys."),
    "auth": ("tarpon.cli.auth:auth", "Sign in with an account at an identity provider."),
    "audit": ("tarpon.cli.audit:audit", "Show who did what, and for whom URLs were signed."),
    "admin": ("tarpon.cli.admin.group:admin", "Find out what is wrong; back up, restore and check what is stored."),
    "agent": ("tarpon.cli.agent:agent", "Ask the orchestrator about itself."),
    "config": ("tarpon.cli.settings.show:config", "Show settings and where they come from; change them."),
    "completion": ("tarpon.cli.completion:completion", "Print what makes a shell complete commands and options."),
    "version": ("tarpon.cli.version:version", "Show the versions of this program and of the orchestrator."),
}


def _show_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click
    if not value or context.resilient_parsing:
        return
    from shared.runtime.commit import commit
    from shared.runtime.version import version_text
    from tarpon.cli.version import with_commit

    click.echo(f"tarpon {with_commit(version_text(), commit())}")
    context.exit()


@click.group(cls=Group, lazy=_LAZY, epilog=EXIT_CODES_HELP)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Print the version of this program with its commit, and exit.",
)
def tarpon() -> None:
    """Run batch jobs on machines without cloud credentials, with their results in your S3 bucket."""


def run(arguments: Sequence[str]) -> int:
    """The exit code, after everything has been said."""
    options = Given()
    if VARIABLE in os.environ:
        _answer_the_shell()
    try:
        result = tarpon.main(args=list(arguments), prog_name="tarpon", standalone_mode=False, obj=options)
        sys.stdout.flush()
    except (BrokenPipeError, ReaderWentAway):
        return _reader_went_away()
    except BaseException as error:  # noqa: BLE001  # this is where errors become text and exit codes
        return _explained(error, debug=options.debug)
    return result if isinstance(result, int) else Exit.OK


def _explained(error: BaseException, *, debug: bool) -> int:
    match error:
        case BaseExceptionGroup():
            return _explained(_first(error), debug=debug)
        case SystemExit():
            return error.code if isinstance(error.code, int) else Exit.FAILED
        case click.Abort() | KeyboardInterrupt():
            click.echo("Interrupted.", err=True)
            return Exit.INTERRUPTED
        case click.ClickException():
            error.show()
            return Exit.USAGE
        case TarponError():
            show_error(error)
            if debug:
                _show_traceback(error)
            return _exit_code(error)
        case OSError() if error.errno in _FULL:
            _drop_output()
            return _explained(NoSpaceLeft(os.strerror(error.errno)), debug=debug)
        case OSError(errno=int() as number, filename=str() | bytes() as path) if number in PathUnusable.REASONS:
            return _explained(PathUnusable(os.fsdecode(path), number), debug=debug)
        case ImportError() if told := shadowed("compute", "orchestrator"):
            return _explained(ImportNameTaken(told), debug=debug)
        case Exception():
            return _unexpected(error, debug=debug)
        case _:
            raise error


def _unexpected(error: Exception, *, debug: bool) -> int:
    told = printable(f"{type(error).__name__}: {error}")
    click.echo(f"{click.style('Error:', fg='red')} {told} [InternalError]", err=True)
    if debug:
        _show_traceback(error)
    else:
        hint = "This is a defect of Tarpon. Repeat the command with --debug to see where it arose."
        click.echo(f"{click.style('Hint: ', fg='green')} {hint}", err=True)
    return Exit.FAILED


def _answer_the_shell() -> None:
    from tarpon.cli.console.shell_completion import register

    register()


def _exit_code(error: TarponError) -> int:
    if isinstance(error, JobStopped):
        return Exit.STOPPED
    if error.code in _ABOUT_RESULTS:
        return _ABOUT_RESULTS[error.code]
    if isinstance(error, OrchestratorUnreachable) or error.code == "NotAnOrchestrator":
        return Exit.UNREACHABLE
    if isinstance(error, InvalidInput) or (isinstance(error, RemoteError) and error.remote_code in _WRONG_USAGE):
        return Exit.USAGE
    return Exit.FAILED


_ABOUT_RESULTS = {"ResultsIncomplete": Exit.INCOMPLETE, "ResultsNotWhole": Exit.NOT_WHOLE}
_WRONG_USAGE = frozenset(
    {
        *("InvalidInput", "InvalidJob", "InvalidDocument", "InvalidId", "WeightInvalid", "NamespaceInvalid"),
        *("SecretUnknown", "SecretNotText", "SecretEmpty", "SecretTooLarge", "TaskSecretsTooLarge"),
    }
)
"""Of what an orchestrator says: what was asked for, or the job file, is wrong itself."""


def _show_traceback(error: BaseException) -> None:
    import traceback

    click.echo(printable("".join(traceback.format_exception(error))), err=True)


def _reader_went_away() -> int:
    """Somebody like `head` has read enough: that is no error."""
    _drop_output()
    return Exit.OK


def _drop_output() -> None:
    """Python must not try to flush at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
