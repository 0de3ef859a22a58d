"""Runs of several jobs, as `tarpon job run` makes them of a file with more than one: all are watched to their ends."""

import asyncio
from collections.abc import Sequence
from functools import partial

import click
import msgspec
from msgspec import field

from shared.data.plain_text import printable
from shared.errors import NoResults, OrchestratorUnreachable, TarponError
from shared.jobs.needs import needs_of
from shared.jobs.rules import normalised
from shared.jobs.several import called, in_order
from shared.jobs.spec import Job, JobView
from shared.jobs.states import JobState
from shared.protocol.rest import ExecutionView, HistoryItem, SubmitResponse
from shared.runtime.aio import pipelined
from shared.settings.config import Config
from tarpon.cli.console.clients import client_of
from tarpon.cli.console.outcomes import Exit, JobFailed, JobStopped, show_error
from tarpon.cli.console.output import json_text, show
from tarpon.cli.display.chain_lines import ChainLines
from tarpon.cli.display.followed_output import FollowedOutput, names_nodes
from tarpon.cli.display.outages import outages_told
from tarpon.cli.display.run_ends import completed, is_published
from tarpon.cli.display.watching import Watched, advise, known_executions, refuse_failure, watched
from tarpon.cli.job.run_options import RunOptions
from tarpon.cli.job.run_report import RunReport, SubmittedJob, report, task_exit_code
from tarpon.cli.job_files.written import job_document, jobs_yaml
from tarpon.cli.results.get import download
from tarpon.client import Client
from tarpon.http.watching import JobNotEnded

WATCHED_AT_ONCE = 16


class SubmittedJobs(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """What there is to say with --id-only."""

    jobs: tuple[SubmittedJob, ...]


class ChainReport(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """The document that `--output json` prints: as of one job, in the order of the file."""

    jobs: tuple[RunReport, ...] = field(default=())


class _End(msgspec.Struct, frozen=True):
    """How a job has ended, and its executions."""

    watched: Watched
    executions: tuple[ExecutionView, ...]


def run_jobs(jobs: Sequence[Job], options: RunOptions, config: Config) -> int:
    """Do with the jobs what the options say; the exit code."""
    if options.dry_run:
        document = {"Jobs": [job_document(job) for job in jobs]}
        is_json = options.output == "json"
        click.echo(json_text(document, indent=2) + "\n" if is_json else jobs_yaml(jobs), nl=False)
        return Exit.OK
    return ChainRun(jobs, options).run(config)


class ChainRun:
    """One run of several jobs. Their ids are known as soon as the orchestrator has them."""

    def __init__(self, jobs: Sequence[Job], options: RunOptions) -> None:
        self._jobs = jobs
        order = in_order([normalised(job) for job in jobs])
        self._order = [number for number in order if jobs[number].schedule is msgspec.UNSET]  # a schedule has no end
        self._options = options
        self._submitted: tuple[SubmitResponse, ...] = ()
        self._lines = ChainLines(verbose=options.verbose, only_stderr=options.is_for_programs)
        self._ends: dict[int, _End] = {}
        self._exit_code = 0

    def __repr__(self) -> str:
        return f"<ChainRun of {len(self._jobs)} jobs>"

    def run(self, config: Config) -> int:
        """The exit code. Ctrl-C ends the watching, not the jobs."""
        try:
            asyncio.run(self._main(config))
        except KeyboardInterrupt:
            if not self._submitted:
                raise
            self._go_on()
            return Exit.INTERRUPTED
        except (JobFailed, JobStopped) as error:
            has_code = isinstance(error, JobFailed) and self._exit_code
            if not (self._options.exit_zero or has_code):
                raise
            show_error(error)
        return self._exit_code

    async def _main(self, config: Config) -> None:
        async with client_of(config) as client:
            self._submitted = await client.submit_all(self._jobs, force=self._options.force)
            self._tell_submitted()
            if not self._options.wait:
                return
            async with outages_told(client, self._lines.tell):
                try:
                    await self._watch(client)
                    await self._end(client)
                finally:
                    self._report()

    def _tell_submitted(self) -> None:
        for number, (job, submitted) in enumerate(zip(self._jobs, self._submitted, strict=True)):
            for warning in submitted.warnings:
                click.echo(f"Warning: {called(number, job)}: {printable(warning)}", err=True)
        if self._options.id_only:
            known = [SubmittedJob(job_id=each.job_id, job_version=each.job_version) for each in self._submitted]
            ids = "\n".join(each.job_id for each in known)
            show(SubmittedJobs(jobs=tuple(known)), self._options.output, lambda: ids)
            return
        is_elsewhere = self._options.follow or self._options.is_for_programs  # stdout is not for us then
        for number, submitted in enumerate(self._submitted):
            again = f" as version {submitted.job_version}" if submitted.job_version > 1 else ""
            when = ", to be run by its schedule" if self._jobs[number].schedule is not msgspec.UNSET else ""
            told = f"{self._name(number)}: Job successfully submitted{again}{when}. Job ID: {submitted.job_id}"
            click.echo(told, err=is_elsewhere)
        if self._options.wait:
            click.echo("Checking job status... (Ctrl-C stops the watching, not the jobs)\n", err=True)

    def _name(self, number: int) -> str:
        return printable(self._jobs[number].name.strip()) or f"job {number + 1}"

    # ---- watching ---------------------------------------------------------------------------------------------------

    async def _watch(self, client: Client) -> None:
        """In an order in which none is watched before what it needs."""

        async def watch(number: int) -> None:
            self._ends[number] = await self._watched(client, number)

        try:
            async with asyncio.timeout(self._options.wait_seconds):
                await pipelined(self._order, watch, at_once=WATCHED_AT_ONCE)
        except TimeoutError:
            self._go_on()
            waiting = next(n for n in sorted(self._order) if n not in self._ends)
            job = self._submitted[waiting].job_id
            waited = f"within {self._options.wait_seconds:g} s"
            raise JobNotEnded(f"Job {job} ({self._name(waiting)}) has not ended {waited}; it goes on.", job) from None
        except OrchestratorUnreachable:
            self._go_on()
            raise

    async def _watched(self, client: Client, number: int) -> _End:
        submitted, lines = self._submitted[number], self._lines.of(self._name(number))
        job, version = submitted.job_id, submitted.job_version
        if not self._options.follow:
            end = await watched(client, job, lines.news, only_version=version)
        else:
            spec = normalised(self._jobs[number])
            output = FollowedOutput(client, job, version, lines, count=spec.count or 1, by_node=names_nodes(spec))

            def write(news: HistoryItem | JobView) -> None:
                lines.news(news)
                output.take(news)

            end = await output.showing(watched(client, job, write, only_version=version))
        return _End(end, await known_executions(client, end.job))

    def _go_on(self) -> None:
        """Say that the watching has ended, and the jobs that have not go on."""
        going = [n for n in sorted(self._order) if n not in self._ends]
        click.echo(f"\nNo longer watching; {', '.join(map(self._name, going[:10]))} go on.", err=True)
        advise("stop one of them", "stop", self._submitted[going[0]].job_id if going else "JOB")

    # ---- the end ----------------------------------------------------------------------------------------------------

    async def _end(self, client: Client) -> None:
        """Raises JobFailed or JobStopped for the one that is to blame."""
        click.echo(err=True)
        ends = {number: self._ends[number] for number in self._order}
        if self._options.exit_code:
            self._exit_code = max((task_exit_code(each.executions) for each in ends.values()), default=0)
        for number in self._order:  # what was needed comes first, and is why the others have failed
            end = ends[number]
            if end.watched.job.state.state_type == JobState.COMPLETED:
                click.echo(f"{self._name(number)}: {completed(end.watched.job, end.executions)}", err=True)
        if self._options.get:
            await self._get(client)
        for number in self._order:
            refuse_failure(ends[number].watched, ends[number].executions)

    async def _get(self, client: Client) -> None:
        """The results of the jobs that no other one of the file needs."""
        needed = {(job.namespace.strip(), need.job.strip()) for job in self._jobs for need in needs_of(job)}
        for number, job in ((number, self._jobs[number]) for number in sorted(self._order)):
            ended: JobView = self._ends[number].watched.job
            if (job.namespace.strip(), job.name.strip()) in needed or not is_published(ended):
                continue
            get = partial(download, client, ended.id, called=job.name.strip() or ended.id)
            on_report = (lambda _: None) if self._options.is_for_programs else None
            try:
                await get(job_version=ended.version, strict=self._options.strict, on_report=on_report)
            except NoResults as error:
                click.echo(printable(error.message), err=True)
            except TarponError as error:
                if ended.state.state_type == JobState.COMPLETED:
                    raise
                show_error(error)  # that the job has failed is told last, and decides about the exit code

    def _report(self) -> None:
        """For programs: all of it, once, and nothing else on stdout."""
        if not self._options.is_for_programs or self._options.id_only:
            return
        reports = [
            report(self._submitted[number], end.watched.job, end.executions, None)
            for number, end in sorted(self._ends.items())
        ]
        show(ChainReport(jobs=tuple(reports)), self._options.output, str)
