"""Options that say which result of a job is meant, and which paths in it."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from shared.errors import InvalidInput, RemoteError
from tarpon.cli.console import completed_names

if TYPE_CHECKING:
    from shared.jobs.spec import JobView
    from tarpon.client import Client

strict_option = click.option(
    "--strict", is_flag=True, help="Exit with 6 where the results are not whole; they are there all the same."
)
_OPTIONS = (
    click.option(
        "--partition",
        type=click.IntRange(min=0),
        metavar="N",
        shell_complete=completed_names.partitions,
        help="The result of this part of the job.",
    ),
    click.option(
        "-e",
        "--execution",
        "--execution-id",
        "execution_id",
        default="",
        metavar="ID",
        shell_complete=completed_names.executions,
        help="The result of this execution, or beginning of an id; also of an earlier version.",
    ),
    click.option(
        "--job-version",
        default=0,
        type=click.IntRange(0),
        metavar="N",
        help="The results of this version, not the newest.",
    ),
)


class Choice(NamedTuple):
    """Which results of a job are meant: all of its newest version, unless something is said."""

    partition: int | None = None
    execution_id: str = ""
    job_version: int = 0


def result_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options by which results are chosen; its function gets them as `choice`."""

    @functools.wraps(function)
    def command(**values: Any) -> Any:
        choice = Choice(**{name: values.pop(name) for name in Choice._fields})
        return function(choice=choice, **values)

    for option in reversed(_OPTIONS):
        command = option(command)
    return command


_NOT_FOUND = 404


async def job_and_paths(
    client: "Client", job: str, paths: Sequence[str], *, namespace: str = ""
) -> tuple[str, tuple[str, ...]]:
    """`JOB/PATH`, as Bacalhau writes it, is JOB and PATH, unless there is a job whose name has that slash.

    Raises InvalidInput where it could be both; an id is never taken for a part of a name.
    """
    name, slash, path = job.partition("/")
    if not slash:
        return job, tuple(paths)
    split = name, (path, *paths) if path else tuple(paths)
    whole = await _known(client, job, namespace)
    if whole is None and name:
        return split
    begun = await _known(client, name, namespace) if name else None
    if begun is None:
        return job, tuple(paths)
    if begun.id == name:
        return split
    raise InvalidInput(
        f"{job[:80]!r} is the name of a job, and there is a job {name[:80]!r} too.",
        hint=f"Write the path apart from the job, as in `{name[:80]} {path[:80]}`, or give the id of the job.",
    )


async def _known(client: "Client", job: str, namespace: str) -> "JobView | None":
    try:
        return await client.get(job, namespace=namespace)
    except RemoteError as error:
        if error.status != _NOT_FOUND:
            raise
        return None
