"""The command `tarpon job verify`: whether results are what their nodes have signed."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from shared.data.plain_text import one_line
from tarpon.cli.console.commands import Command, with_client
from tarpon.cli.console.job_group import FOLDER_BEGINS, job_or_folder_argument, namespace_option
from tarpon.cli.console.outcomes import Exit
from tarpon.cli.console.output import output_option, show

if TYPE_CHECKING:
    from tarpon.client import Client
    from tarpon.verification.views import ResultsVerification


@click.command(cls=Command)
@job_or_folder_argument
@click.option("--job-version", type=click.IntRange(1), metavar="N", help="The results of this version of the job.")
@click.option("--execution", default="", metavar="ID", help="The result of this execution alone.")
@click.option(
    "--records-key",
    "records_keys",
    multiple=True,
    metavar="KEY",
    help="Believe records beside results that were signed by this public key too, as `admin records-key` prints it.",
)
@output_option
@namespace_option
@with_client
async def verify(
    client: "Client",
    *,
    job: str,
    job_version: int | None,
    execution: str,
    records_keys: tuple[str, ...],
    output: str,
    namespace: str,
) -> int:
    """Verify the results of a job: what their nodes have signed of them, and the objects in the bucket.

    All of these are read once and not kept. A folder that `job get` has made, such as ./job-one, is compared with the
    result of its execution, too. Exits with 0 if nothing is wrong of any result, and with 8 if something is.
    """
    from tarpon.verification import verify_folder, verify_results

    if job.startswith(FOLDER_BEGINS):
        found = await verify_folder(
            client, Path(job), namespace=namespace, execution=execution, records_keys=records_keys
        )
    else:
        found = await verify_results(
            client,
            job,
            namespace=namespace,
            version=job_version or 0,
            execution=execution,
            records_keys=records_keys,
        )
    show(found, output, lambda: "\n".join(_lines(found)))
    return Exit.OK if found.verified else Exit.DIFFERENT


def _lines(found: "ResultsVerification") -> Iterator[str]:
    for each in found.results:
        what = f"Part {each.partition_index}: {each.execution_id}"
        if not each.problems:
            record = f" The orchestrator's record of it, signed with {each.records_key}, says the same."
            told = f"{what} is what node {each.node_id} signed with {each.key}."
            yield f"{told}{record if each.records_key else ''}"
        for problem in each.problems:
            told = f"{what}: {one_line(problem.message)} [{problem.code}]"
            yield f"{told} {one_line(problem.hint)}" if problem.hint else told
