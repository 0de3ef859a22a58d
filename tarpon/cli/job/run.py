"""Runs, as `tarpon job run` and `job rerun` make them: have a job begin, show what happens, tell how it ended."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import click
import msgspec

from shared.data.plain_text import printable
from shared.errors import NoResults, OrchestratorUnreachable, TarponError
from shared.jobs.rules import NO_PUBLISHERS
from shared.jobs.spec import OPS, Job, JobView
from shared.jobs.states import JobState
from shared.protocol.rest import ExecutionView, HistoryItem, SubmitResponse
from shared.settings.config import Config
from tarpon.cli.console.clients import client_of
from tarpon.cli.console.odd_entries import GetReport, ResultsNotWhole, not_whole
from tarpon.cli.console.outcomes import Exit, JobFailed, JobStopped, show_error
from tarpon.cli.console.output import json_text, show
from tarpon.cli.display.followed_output import FollowedOutput, names_nodes
from tarpon.cli.display.live import JobDisplay
from tarpon.cli.display.outages import outages_told
from tarpon.cli.display.partition_lines import PartitionLines
from tarpon.cli.display.run_ends import completed, is_published, lost_output
from tarpon.cli.display.watching import Watched, advise, asking, goes_on, refuse_failure, watched
from tarpon.cli.job.input_flags import LocalInput
from tarpon.cli.job.run_options import RunOptions, check_without_end
from tarpon.cli.job.run_report import SubmittedJob, report, task_exit_code
from tarpon.cli.job.sent_inputs import with_digests, with_sent
from tarpon.cli.job_files.written import job_document, job_yaml
from tarpon.cli.results.get import download
from tarpon.client import Client
from tarpon.http.watching import JobNotEnded
from tarpon.results.folders import refuse_taken, results_folder

T = TypeVar("T")


def run_job(job: Job, options: RunOptions, config: Config, sends: Sequence[LocalInput] = ()) -> int:
    """Do with `job` what the options say, after what it reads of this machine has been sent; the exit code."""
    if options.dry_run:
        job = asyncio.run(with_digests(job, sends))
        is_json = options.output == "json"
        click.echo(json_text(job_document(job), indent=2) + "\n" if is_json else job_yaml(job), nl=False)
        return Exit.OK

    if job.schedule is not msgspec.UNSET:
        check_without_end(options)
        options = options._replace(wait=False)

    async def submit(client: Client) -> BegunJob:
        if options.get and options.wait:
            await _refuse_taken(client, job, options.output_dir)
        submitted = await client.submit(await with_sent(client, job, sends), force=options.force)
        again = f" as version {submitted.job_version}" if submitted.job_version > 1 else ""
        when = ", to be run by its schedule" if job.schedule is not msgspec.UNSET else ""
        told = f"Job successfully submitted{again}{when}. Job ID: {submitted.job_id}"
        name = job.name.strip()
        schedule = (name or submitted.job_id) if when else ""
        parts = None if job.type.strip() == OPS or job.verification else 1 if job.count is None else job.count
        return BegunJob(submitted, parts, told, name, schedule)

    return JobRun(submit, options).run(config)


async def _refuse_taken(client: Client, job: Job, output_dir: Path | None) -> None:
    """Raise ResultsInTheWay at once where the folder has the results of the job that has this name already."""
    name = job.name.strip()
    if not job.tasks or job.tasks[0].publisher.type.lower() in NO_PUBLISHERS:
        return
    if output_dir is not None:
        refuse_taken(output_dir, job)
        return
    if not name:
        return
    try:
        view = await client.get(name, namespace=job.namespace)
    except TarponError:  # there is none yet; what else is wrong the submit tells
        return
    refuse_taken(results_folder(name, view), job)


class BegunJob(NamedTuple):
    """What has come of a submit, of how many parts it is (None: ask), and how that is told.

    `called` is how the user calls the job, for the folder of its results; empty where that is its id. `schedule` is its
    name where it is one.
    """

    submitted: SubmitResponse
    parts: int | None
    told: str
    called: str = ""
    schedule: str = ""


Begin = Callable[[Client], Awaitable[BegunJob]]


class JobRun:
    """One run and what follows. `job_id` is known as soon as the orchestrator has what `begin` asks of it."""

    def __init__(self, begin: Begin, options: RunOptions) -> None:
        self.job_id = ""
        self._begin = begin
        self._count: int | None = None
        self._by_node = False
        self._called = ""
        self._schedule = ""
        self._options = options
        self._submitted = SubmitResponse(job_id="")
        self._exit_code = 0
        self._fetched: GetReport | None = None
        self._is_late = False
        self._display: JobDisplay | None = None

    def __repr__(self) -> str:
        return f"<JobRun {self.job_id or 'not submitted'}>"

    def run(self, config: Config) -> int:
        """The exit code. Ctrl-C ends the watching, not the job."""
        try:
            asyncio.run(self._main(config))
        except KeyboardInterrupt:
            if not self.job_id:
                raise
            goes_on(self.job_id)
            return Exit.INTERRUPTED
        except (JobFailed, JobStopped) as error:
            has_code = isinstance(error, JobFailed) and self._exit_code
            if not (self._options.exit_zero or has_code):
                raise
            show_error(error)
        return self._exit_code

    async def _main(self, config: Config) -> None:
        async with client_of(config) as client:
            await self._begin_with(client)
            async with outages_told(client, self._tell):
                await self._end_with(client)

    async def _end_with(self, client: Client) -> None:
        try:
            if self._options.wait:
                await self._end(client, await self._watched(client))
            elif not self._options.id_only:
                await self._advise(client)
        except OrchestratorUnreachable:
            raise
        except TarponError:
            await self._report_all_the_same(client)
            raise
        await self._report(client)

    async def _advise(self, client: Client) -> None:
        advise("see how it is doing", "describe", self.job_id)
        if self._schedule:
            advise("list its runs", "list -l", f"tarpon.schedule={self._schedule}")
        elif is_published(await self._job(client)):
            advise("get its results", "get", self.job_id)
        else:
            advise("see what it writes", "logs", self.job_id)

    async def _begin_with(self, client: Client) -> None:
        self._submitted, self._count, told, self._called, self._schedule = await self._begin(client)
        submitted = self._submitted
        self.job_id = submitted.job_id
        for warning in submitted.warnings:
            click.echo(f"Warning: {printable(warning)}", err=True)
        if self._options.id_only:
            known = SubmittedJob(job_id=submitted.job_id, job_version=submitted.job_version)
            show(known, self._options.output, lambda: submitted.job_id)
        else:
            is_elsewhere = self._options.follow or self._options.is_for_programs  # stdout is not for us then
            click.echo(told, err=is_elsewhere)
        if self._options.wait:
            click.echo("Checking job status... (Ctrl-C stops the watching, not the job)\n", err=True)

    def _tell(self, text: str) -> None:
        if self._display is not None:
            self._display.tell(text)
        else:
            click.echo(text, err=True)

    async def _parts(self, client: Client) -> int:
        """It is asked when the job's id is known and told, so that no failure keeps that from anybody."""
        if self._count is None:
            view = await self._job(client)
            self._count, self._by_node = view.part_count, names_nodes(view)
        return self._count

    async def _watched(self, client: Client) -> Watched:
        try:
            async with asyncio.timeout(self._options.wait_seconds):
                return await self._shown(client)
        except TimeoutError:
            self._is_late = True
            waited = f"within {self._options.wait_seconds:g} s"
            raise JobNotEnded(f"Job {self.job_id} has not ended {waited}; it goes on.", self.job_id) from None
        except OrchestratorUnreachable:
            goes_on(self.job_id)
            raise

    async def _shown(self, client: Client) -> Watched:
        ask, count = asking(client, self.job_id), await self._parts(client)
        display = JobDisplay(count, verbose=self._options.verbose, is_new=True, ask=ask)
        self._display = display
        if self._options.follow:
            return await display.showing(self._followed(client, display, count))
        version = self._submitted.job_version
        return await display.showing(watched(client, self.job_id, display.write, only_version=version))

    async def _followed(self, client: Client, display: JobDisplay, count: int) -> Watched:
        lines = PartitionLines(display, only_stderr=self._options.is_for_programs)
        version = self._submitted.job_version
        output = FollowedOutput(client, self.job_id, version, lines, count=count, by_node=self._by_node)

        def write(news: HistoryItem | JobView) -> None:
            display.write(news)
            output.take(news)

        return await output.showing(watched(client, self.job_id, write, only_version=version))

    async def _report(self, client: Client) -> None:
        """For programs: all of it, once, and nothing else on stdout."""
        if self._options.is_for_programs and not self._options.id_only:
            job = await self._job(client)
            executions = await self._executions(client, job.version)
            show(report(self._submitted, job, executions, self._fetched), self._options.output, str)

    async def _report_all_the_same(self, client: Client) -> None:
        """What ended the run is told last, and decides about the exit code."""
        try:
            await self._report(client)
        except TarponError as error:
            show_error(error)

    async def _job(self, client: Client) -> JobView:
        version = self._submitted.job_version
        return await self._asked(client, lambda: client.get(self.job_id, job_version=version))

    async def _executions(self, client: Client, version: int) -> tuple[ExecutionView, ...]:
        return await self._asked(client, lambda: client.all_executions(self.job_id, job_version=version))

    async def _asked(self, client: Client, ask: Callable[[], Awaitable[T]]) -> T:
        """Patiently, unless the time is up for which somebody wanted to wait."""
        return await (ask() if self._is_late else client.patiently(ask))

    async def _end(self, client: Client, end: Watched) -> None:
        click.echo(err=True)
        executions = await self._executions(client, end.job.version)
        if not self._options.follow and (lost := lost_output(end.job, executions)):
            click.echo(f"Warning: {lost}", err=True)
        if self._options.exit_code:
            self._exit_code = task_exit_code(executions)
        if self._options.get and end.job.state.state_type == JobState.FAILED:
            await self._get_of_failed(client, end.job)
        refuse_failure(end, executions)
        await self._completed(client, end.job, executions)

    async def _get_of_failed(self, client: Client, ended: JobView) -> None:
        """What there is: results of parts that completed, and of tasks that failed by their exit codes."""
        try:
            await self._get(client, ended)
        except NoResults as error:
            click.echo(printable(error.message), err=True)
        except TarponError as error:  # that the job has failed is told last, and decides about the exit code
            show_error(error)

    async def _get(self, client: Client, ended: JobView) -> None:
        on_report = self._keep if self._options.is_for_programs else None
        await download(
            client,
            self.job_id,
            called=self._called or self.job_id,
            job_version=ended.version,
            output_dir=self._options.output_dir,
            strict=self._options.strict,
            on_report=on_report,
        )

    async def _completed(self, client: Client, ended: JobView, executions: Sequence[ExecutionView]) -> None:
        click.echo(completed(ended, executions), err=True)
        advise("see the details", "describe", self.job_id)
        if self._options.get:
            await self._get(client, ended)
            return
        if ended.left_out_count:
            click.echo(f"Warning: {not_whole(ended.left_out_count, self.job_id)}", err=True)
            if self._options.strict:
                raise ResultsNotWhole(self.job_id)
        if is_published(ended):
            advise("get the results", "get", self.job_id)

    def _keep(self, fetched: GetReport) -> None:
        self._fetched = fetched
