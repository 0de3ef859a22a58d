"""Outcomes of commands: exit codes, and how errors look."""

import enum
import errno
from collections.abc import Mapping
from typing import ClassVar

import click

from shared.data.plain_text import indented, printable
from shared.errors import Conflict, TarponError, code_of


class Exit(enum.IntEnum):
    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 3
    STOPPED = 4
    INCOMPLETE = 5
    NOT_WHOLE = 6
    UNHEALTHY = 7
    DIFFERENT = 8
    INTERRUPTED = 130


EXIT_CODES_HELP = """\b
Exit codes:
    0  done; of `job run` and `job watch`: the job completed (whatever its
       task's exit code, unless --exit-code is given)
    1  the job failed, or the request was refused
    2  wrong usage, configuration or job file
    3  no orchestrator can be reached
    4  the job was stopped
    5  of `job get` and `job run --get`: the folder's file system cannot have
       some entries of the results; all others are there
    6  with --strict: the results are not whole
    7  of `admin doctor`: something is wrong, and has to be mended
    8  of `job compare`: the results differ; of `job verify`: something is
       wrong of a result
  130  interrupted

\b
With --exit-code `job run` ends with the code of the job's task instead: of
several parts with the highest one, of a task in a container that died by a
signal with 128 and its number. A task of `exec` that somebody killed (KILL,
TERM) has no code: it has failed, and is tried again. A job that fails without
such a code, or with 0, ends it with 1, and what is above of 2 to 8 and 130 stays.
"""


class JobFailed(TarponError):
    """A job that was waited for has failed."""

    def __init__(self, job: str, reason: str, hint: str, details: dict[str, str] | None = None) -> None:
        told = f"Job {job} failed: {reason}"
        super().__init__(told, hint=hint or f"See `tarpon job describe {job}`.", details=details)


class JobStopped(TarponError):
    """A job that was waited for was stopped by somebody."""

    def __init__(self, job: str, reason: str, hint: str = "", details: dict[str, str] | None = None) -> None:
        told = f"Job {job} was stopped{f': {reason}' if reason else '.'}"
        super().__init__(told, hint=hint or f"See `tarpon job describe {job}`.", details=details)


class NoSpaceLeft(TarponError):
    """The command had something to write, and where it goes is full."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"There is no space left for the output: {reason}.",
            hint="What was written is not complete. Free some space there, or write elsewhere, and repeat the command.",
        )


class PathUnusable(TarponError):
    """What is at this path, or the rights to it, are not what the command needs: the machine's matter, not a defect."""

    REASONS: ClassVar[Mapping[int, str]] = {
        errno.EEXIST: "it is no folder, and a folder is needed there",
        errno.ENOTDIR: "something above it is no folder",
        errno.EISDIR: "it is a folder, and a file is needed there",
        errno.EROFS: "its file system cannot be written to",
        errno.EACCES: "this user has no right to it",
        errno.EPERM: "this user has no right to it",
        errno.ELOOP: "links lead round in a circle there",
        errno.ENAMETOOLONG: "its name is too long",
    }
    """By the number of the system's error."""

    def __init__(self, path: str, number: int) -> None:
        super().__init__(
            f"{path!r} cannot be used: {self.REASONS[number]}.",
            hint="Have a look at it (`ls -ld`), or name another place; that of a service is its DataDir.",
        )


class ImportNameTaken(Conflict):
    """Another package is found by the name of one of ours, as tarpon.import_names tells."""


def show_error(error: TarponError) -> None:
    """Message, code, details and hint, on stderr."""
    code = click.style(f"[{printable(code_of(error))}]", dim=True)
    click.echo(f"{click.style('Error:', fg='red')} {indented(error.message)} {code}", err=True)
    for name, value in error.details.items():
        click.echo(indented(f"  {name}: {value}", by=4), err=True)
    if error.hint:
        click.echo(f"{click.style('Hint: ', fg='green')} {indented(error.hint)}", err=True)
