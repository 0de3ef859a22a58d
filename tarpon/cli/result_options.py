"""How a user says which result of a job is meant, and which paths in it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from shared.errors import RemoteError

if TYPE_CHECKING:
    from tarpon.client import Client

partition_option = click.option(
    "--partition", type=click.IntRange(min=0), metavar="N", help="The result of this part of the job."
)
execution_option = click.option(
    "-e",
    "--execution",
    "--execution-id",
    "execution_id",
    default="",
    metavar="ID",
    help="The result of this execution, or beginning of an id.",
)

strict_option = click.option(
    "--strict", is_flag=True, help="Exit with 6 where the results are not whole; they are there all the same."
)

_NOT_FOUND = 404


async def job_and_paths(
    client: "Client", job: str, paths: Sequence[str], *, namespace: str = ""
) -> tuple[str, tuple[str, ...]]:
    """`JOB/PATH`, as Bacalhau writes it, is JOB and PATH, unless there is a job whose name has that slash."""
    name, slash, path = job.partition("/")
    if not slash:
        return job, tuple(paths)
    try:
        await client.get(job, namespace=namespace)
    except RemoteError as error:
        if error.status != _NOT_FOUND or not name:
            raise
        return name, (path, *paths) if path else tuple(paths)
    return job, tuple(paths)
