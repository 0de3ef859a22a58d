"""The command `tarpon job rerun`: the same job once more, as a new version of it."""

from functools import partial
from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.job.run_options import RunOptions, run_options

if TYPE_CHECKING:
    from tarpon.cli.job.run import BegunJob
    from tarpon.client import Client


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@job_argument
@click.option(
    "--failed", is_flag=True, help="Only the parts that have not completed; the results of the others are kept."
)
@click.option(
    "--job-version",
    "--version",
    "job_version",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Run this version again, not the newest.",
)
@click.option("--reason", default="", help="Why, for the job's history.")
@namespace_option
@partial(run_options, submits=False)
def rerun(*, job: str, failed: bool, job_version: int | None, reason: str, namespace: str, options: RunOptions) -> int:
    """Run a job again as a new version of it, and watch that.

    With --failed it has to have ended: then `tarpon job get` has, of the new version, the results of the parts that had
    completed before, and of those that are run now.
    """
    config = given().config()

    from shared.protocol.rest import SubmitResponse
    from tarpon.cli.job.run import BegunJob, JobRun
    from tarpon.results.folders import refuse_taken, results_folder
    from tarpon.results.offered import is_without_publisher

    async def begin(client: "Client") -> "BegunJob":
        if options.get and options.wait:
            view = await client.get(job, job_version=job_version or 0, namespace=namespace)
            if not is_without_publisher(view):
                refuse_taken(options.output_dir or results_folder(job, view), view)
        begun = await client.rerun(job, job_version=job_version or 0, failed=failed, reason=reason, namespace=namespace)
        submitted = SubmitResponse(job_id=begun.job_id, job_version=begun.job_version, warnings=begun.warnings)
        return BegunJob(submitted, None, f"Job {begun.job_id} runs again as version {begun.job_version}.", job)

    return JobRun(begin, options).run(config)
