"""What `tarpon job run` does: submit, show what happens, tell how it ended."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import click

from shared.config import Api
from shared.errors import NoResults
from shared.job_rules import NO_PUBLISHERS
from shared.jobspec import Job, JobView
from shared.plain_text import printable
from shared.rest import ExecutionView
from shared.states import ExecutionState
from tarpon.cli.job_display import JobDisplay
from tarpon.cli.job_get import download
from tarpon.cli.job_logs import show_logs
from tarpon.cli.job_watching import Watched, advise, goes_on, refuse_failure, watched
from tarpon.cli.job_yaml import job_yaml
from tarpon.cli.odd_entries import ResultsNotWhole, not_whole
from tarpon.cli.outcomes import Exit, JobFailed, JobStopped, show_error
from tarpon.cli.output import lasting
from tarpon.cli.run_options import RunOptions
from tarpon.client import Client
from tarpon.watching import JobNotEnded


def run_job(job: Job, options: RunOptions, api: Api) -> int:
    """Do with `job` what the options say; the exit code."""
    if options.dry_run:
        click.echo(job_yaml(job), nl=False)
        return Exit.OK
    return JobRun(job, options).run(api)


class JobRun:
    """One submit and what follows. `job_id` is known as soon as the orchestrator has the job."""

    def __init__(self, job: Job, options: RunOptions) -> None:
        self.job_id = ""
        self._version = 0
        self._job = job
        self._options = options

    def __repr__(self) -> str:
        return f"<JobRun {self.job_id or 'not submitted'}>"

    def run(self, api: Api) -> int:
        """The exit code. Ctrl-C ends the watching, not the job."""
        try:
            asyncio.run(self._main(api))
        except KeyboardInterrupt:
            if not self.job_id:
                raise
            goes_on(self.job_id)
            return Exit.INTERRUPTED
        except (JobFailed, JobStopped) as error:
            if not self._options.exit_zero:
                raise
            show_error(error)
        return Exit.OK

    async def _main(self, api: Api) -> None:
        async with Client(api.host, api.port) as client:
            await self._submit(client)
            if self._options.wait:
                await self._end(client, await self._watched(client))
            elif not self._options.id_only:
                advise("see how it is doing", "describe", self.job_id)
                advise("get its results", "get", self.job_id)

    async def _submit(self, client: Client) -> None:
        submitted = await client.submit(self._job, force=self._options.force)
        self.job_id, self._version = submitted.job_id, submitted.job_version
        for warning in submitted.warnings:
            click.echo(f"Warning: {printable(warning)}", err=True)
        click.echo(self.job_id if self._options.id_only else f"Job successfully submitted. Job ID: {self.job_id}")
        if self._options.wait:
            click.echo("Checking job status... (Ctrl-C stops the watching, not the job)\n", err=True)

    async def _watched(self, client: Client) -> Watched:
        count = 1 if self._job.count is None else self._job.count
        display = JobDisplay(count, verbose=self._options.verbose, is_new=True)
        try:
            async with asyncio.timeout(self._options.wait_seconds):
                watching = watched(client, self.job_id, display.write, only_version=self._version)
                return await display.showing(watching)
        except TimeoutError:
            waited = f"within {self._options.wait_seconds:g} s"
            raise JobNotEnded(f"Job {self.job_id} has not ended {waited}; it goes on.", self.job_id) from None

    async def _end(self, client: Client, end: Watched) -> None:
        click.echo(err=True)
        if self._options.follow:
            await self._show_logs(client)
        refuse_failure(end)
        await self._completed(client, end.job)

    async def _show_logs(self, client: Client) -> None:
        try:
            await show_logs(client, self.job_id)
        except NoResults as error:
            click.echo(printable(error.message), err=True)

    async def _completed(self, client: Client, ended: JobView) -> None:
        all_executions = await client.all_executions(self.job_id)
        executions = [each for each in all_executions if each.job_version == ended.version]
        began = min((each.create_time for each in executions), default=ended.create_time)
        took = lasting(timedelta(microseconds=(ended.modify_time - began) / 1000))
        click.echo(f"Job {self.job_id} completed in {took}. {exit_codes(executions)}", err=True)
        advise("see the details", "describe", self.job_id)
        if self._options.get:
            await download(client, self.job_id, job_version=ended.version, strict=self._options.strict)
            return
        if ended.left_out_count:
            click.echo(f"Warning: {not_whole(ended.left_out_count, self.job_id)}", err=True)
            if self._options.strict:
                raise ResultsNotWhole(self.job_id)
        if ended.tasks and ended.task.publisher.type not in NO_PUBLISHERS:
            advise("get the results", "get", self.job_id)


def exit_codes(executions: Iterable[ExecutionView]) -> str:
    """In one sentence, with which exit codes the tasks that completed ended."""
    completed = [each for each in executions if each.state_name == ExecutionState.COMPLETED]
    counts = Counter(each.run_output.exit_code for each in completed if each.run_output is not None)
    match sorted(counts.items()):
        case []:
            return ""
        case [(code, 1)]:
            return f"Exit code: {code}."
        case [(code, count)]:
            return f"Exit code of all {count} tasks: {code}."
        case several:
            return "Exit codes: " + ", ".join(f"{code} ({count} x)" for code, count in several) + "."
