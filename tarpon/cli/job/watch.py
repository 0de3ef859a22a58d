"""The command `tarpon job watch`: what happens to a job from now to its end, and what happened before."""

from typing import TYPE_CHECKING

import click

from tarpon.cli.console.commands import Command, given
from tarpon.cli.console.job_group import job_argument, namespace_option
from tarpon.cli.console.outcomes import EXIT_CODES_HELP
from tarpon.cli.console.output import json_text
from tarpon.cli.job.run_options import verbose_option

if TYPE_CHECKING:
    from shared.jobs.spec import JobView
    from shared.protocol.rest import HistoryItem
    from shared.settings.config import Config
    from tarpon.cli.display.live import JobDisplay
    from tarpon.cli.display.watching import Watched
    from tarpon.client import Client


@click.command(cls=Command, epilog=EXIT_CODES_HELP)
@job_argument
@namespace_option
@click.option("--exit-zero", is_flag=True, help="Exit with 0 also when the job failed or was stopped.")
@click.option(
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="The form of what is printed: lines on stderr, or one JSON object a line on stdout.",
)
@verbose_option("-v", "--verbose")
def watch(*, job: str, namespace: str, exit_zero: bool, output: str, verbose: bool) -> int:
    """Show how a job is doing until it has ended: what it waits for, and how many of its parts are done.

    Ctrl-C stops the watching, not the job.
    """
    from tarpon.cli.console.outcomes import Exit, JobFailed, JobStopped, show_error

    try:
        return JobWatch(job, namespace, output, verbose=verbose).run(given().config())
    except (JobFailed, JobStopped) as error:
        if not exit_zero:
            raise
        show_error(error)
    return Exit.OK


class JobWatch:
    """`job_id` is known as soon as the orchestrator has told which job is meant."""

    def __init__(self, job: str, namespace: str, output: str, *, verbose: bool) -> None:
        self.job_id = ""
        self._job = job
        self._namespace = namespace
        self._output = output
        self._verbose = verbose

    def __repr__(self) -> str:
        return f"<JobWatch {self.job_id or self._job}>"

    def run(self, config: "Config") -> int:
        """The exit code. Raises JobFailed or JobStopped."""
        import asyncio

        from tarpon.cli.console.outcomes import Exit
        from tarpon.cli.display.watching import goes_on

        try:
            asyncio.run(self._main(config))
        except KeyboardInterrupt:
            if not self.job_id:
                raise
            goes_on(self.job_id)
            return Exit.INTERRUPTED
        return Exit.OK

    async def _main(self, config: "Config") -> None:
        from shared.errors import OrchestratorUnreachable
        from tarpon.cli.console.clients import client_of
        from tarpon.cli.display.live import JobDisplay
        from tarpon.cli.display.outages import outages_told
        from tarpon.cli.display.run_ends import completed
        from tarpon.cli.display.watching import asking, goes_on, known_executions, refuse_failure
        from tarpon.http.watching import refuse_endless

        async with client_of(config) as client:
            job = await client.get(self._job, namespace=self._namespace)
            refuse_endless(self._job, job)
            self.job_id = job.id
            display = JobDisplay(job.part_count, verbose=self._verbose, ask=asking(client, job.id))
            async with outages_told(client, display.tell):
                try:
                    end = await self._watched(client, display)
                except OrchestratorUnreachable:
                    goes_on(job.id)
                    raise
                executions = await known_executions(client, end.job)
        refuse_failure(end, executions)
        click.echo(f"\n{completed(end.job, executions)}", err=True)

    async def _watched(self, client: "Client", display: "JobDisplay") -> "Watched":
        from tarpon.cli.display.watching import watched

        if self._output == "json":
            return await watched(client, self.job_id, _write_json)
        return await display.showing(watched(client, self.job_id, display.write))


def _write_json(news: "HistoryItem | JobView") -> None:
    """Of the job itself nothing: what happened to it is in its history."""
    from shared.jobs.spec import JobView

    if not isinstance(news, JobView):
        click.echo(json_text(news))
