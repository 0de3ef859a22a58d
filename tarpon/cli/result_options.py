"""How a user says which result of a job is meant, and which paths in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from shared.errors import InvalidInput, RemoteError
from tarpon.cli import completed_names

if TYPE_CHECKING:
    from shared.jobspec import JobView
    from tarpon.client import Client

partition_option = click.option(
    "--partition",
    type=click.IntRange(min=0),
    metavar="N",
    shell_complete=completed_names.partitions,
    help="The result of this part of the job.",
)
execution_option = click.option(
    "-e",
    "--execution",
    "--execution-id",
    "execution_id",
    default="",
    metavar="ID",
    shell_complete=completed_names.executions,
    help="The result of this execution, or beginning of an id; also of an earlier version.",
)

strict_option = click.option(
    "--strict", is_flag=True, help="Exit with 6 where the results are not whole; they are there all the same."
)
version_option = click.option(
    "--job-version", default=0, type=click.IntRange(0), metavar="N", help="The results of this version, not the newest."
)

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
