"""The supervisor of an execution, from accepted to told: slot, inputs, run, publish, with its end as a fact."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial

from msgspec.structs import replace

from compute.disk import disk_room
from compute.disk.input_files import MountedInput
from compute.disk.secret_files import SecretFiles
from compute.disk.workspace import DISK_SECONDS, Workspace
from compute.engines.engine import Broken, Engine, Exited, OutlivingEngine, Run, RunEnd
from compute.engines.environment import EnvironmentPolicy
from compute.executions.disk_work import DiskWork, Pack
from compute.executions.execution import Activity, Execution, Stop, run_seconds
from compute.executions.given_secrets import NO_SECRETS
from compute.inputs.failures import InputFailed
from compute.inputs.fetching import Inputs
from compute.inputs.order import InputOrder
from compute.journal.entry import Entry, Happening, Phase, moved
from compute.journal.journal import Journal
from compute.processes.mark import ProcessMark
from compute.uplink.reports import ReportSender
from compute.upload.upload import NotSent, Sent, Upload
from shared.errors import TarponError
from shared.ids import ExecutionId
from shared.jobs.states import FailureReason
from shared.protocol.execution_lines import WAITS_FOR_S3
from shared.protocol.messages import (
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionProgressed,
    OutputPublished,
    RunOutput,
    TaskEnded,
)
from shared.runtime.aio import finish, in_thread

_log = logging.getLogger(__name__)

NO_EXIT_CODE = -1
"""Told with the output of a task that did not end by itself."""
RESUMED_SECONDS = 30.0
MAX_TEXT = 500
NOT_BEGUN = ExecutionFailed(
    reason=FailureReason.NODE_RESTARTED.value, detail="The node takes nothing on any more.", not_begun=True
)
"""What is told of an execution that is handed back."""
_UNFINISHED = {Phase.ACCEPTED, Phase.STARTED}


class Supervisor:
    """Carries executions out. `new_upload` makes the upload of a result folder, given whom to tell that it waits.

    `pack` makes the archive of a small one at once. `disk_limit_bytes` is for tasks whose jobs name no limit; 0 is
    none.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        engines: Mapping[str, Engine],
        environment: EnvironmentPolicy,
        reports: ReportSender,
        new_upload: Callable[[Execution, Workspace, Callable[[str], None]], Upload],
        pack: Pack,
        secret_files: SecretFiles,
        inputs: Inputs,
        disk_limit_bytes: int = 0,
        has_gpus: bool = False,
    ) -> None:
        self._journal = journal
        self._engines = engines
        self._outliving = {name: each for name, each in engines.items() if isinstance(each, OutlivingEngine)}
        self._environment = environment
        self._reports = reports
        self._new_upload = new_upload
        self._pack = pack
        self._secret_files = secret_files
        self._inputs = inputs
        self._disk_limit_bytes = disk_limit_bytes
        self._has_gpus = has_gpus

    async def carry_out(self, execution: Execution) -> None:
        """Go on from the phase in the journal. When cancelled, the task is stopped and the journal stays as it is."""
        try:
            async with execution.stoppable():
                await self._advance(execution)
        except Exception as error:  # noqa: BLE001  # an execution's failure is data, whatever it is
            if execution.was_interrupted:
                await self._stopped(execution)
            else:
                await self._fail(execution, *_node_problem(execution.id, error))
        finally:
            execution.release_slot()
            execution.packed = None
            execution.secrets = NO_SECRETS
            execution.activity = Activity.OVER

    def leaves(self, execution: Execution) -> bool:
        """Whether the task goes on without this process, for the node's next one to find."""
        engine = self._outliving.get(_engine_name(execution))
        return execution.entry.phase is Phase.STARTED and engine is not None and engine.leave(execution.id)

    async def _advance(self, execution: Execution) -> None:
        if execution.entry.phase in _UNFINISHED:
            await execution.slot_granted()
            execution.activity = Activity.RUNNING
            with self._left_behind(execution), closing(self._disk_work(execution)) as work:
                try:
                    end = await self._run(execution, work)
                finally:
                    await self._remove_secrets(execution)
                execution.activity = Activity.PUBLISHING
                execution.release_slot()
                match end:
                    case Exited(exit_code):
                        await self._gather(execution, work, exit_code)
                    case Broken(reason, detail):
                        await self._fail(execution, reason, detail)
        if execution.entry.phase is Phase.ENDED and execution.entry.publishes:
            execution.activity = Activity.PUBLISHING
            await self._publish(execution)

    async def _run(self, execution: Execution, work: DiskWork) -> RunEnd:
        assignment, secrets = execution.entry.assignment, execution.secrets
        try:
            inputs = await self._fetch(execution, work) if assignment.task.input_sources else ()
        except InputFailed as error:
            return Broken(error.reason, error.detail)
        run = Run(
            execution_id=execution.id,
            task=assignment.task,
            workspace=self._workspace(execution),
            environment=self._environment.for_task(assignment, secrets.variables(assignment.task.env)),
            secrets=self._secret_files.places(execution.id, (each.path for each in assignment.task.secrets)),
            mask=secrets.masked,
            prepare=work.prepare,
            on_started=partial(self._started, execution, work, asyncio.get_running_loop()),
            inputs=inputs,
            resources=replace(assignment.resources, disk=self._disk_bytes(execution)),
            devices=execution.devices if self._has_gpus else None,
            resumed=execution.entry.phase is Phase.STARTED,
            on_progress=partial(self._progressed, execution),
            on_exited=work.gather,
            on_over=partial(_count_no_more, execution),
            usage=execution.usage,
        )
        deadline = execution.deadline = asyncio.timeout(_left_seconds(execution.entry))
        try:
            async with deadline:
                return await self._engines[_engine_name(execution)].run(run)
        except TimeoutError:
            if not deadline.expired():
                raise
            limit_seconds = assignment.execution_timeout_seconds
            detail = f"The task ran longer than its time limit of {limit_seconds:g} s and was stopped."
            return Broken(FailureReason.EXECUTION_TIMED_OUT, detail)
        finally:
            execution.deadline = None
            _take_over(execution, work)

    async def _fetch(self, execution: Execution, work: DiskWork) -> tuple[MountedInput, ...]:
        """Raises InputFailed. The time of a task does not count yet; inputs have a limit of their own."""
        if execution.entry.phase is not Phase.ACCEPTED:
            return ()
        order = InputOrder(
            execution_id=execution.id,
            task=execution.entry.assignment.task,
            workspace=self._workspace(execution),
            disk_bytes=self._disk_bytes(execution),
            is_shown=self._engines[_engine_name(execution)].shows_inputs,
            on_progress=partial(self._progressed, execution),
            on_known=execution.usage.reads,
        )
        began = time.monotonic()
        try:
            fetched = await self._inputs.fetch(order, work.begin)
        finally:
            _take_over(execution, work)
        execution.usage.fetch_seconds = time.monotonic() - began
        return fetched

    def _disk_bytes(self, execution: Execution) -> int:
        return execution.entry.assignment.resources.disk or self._disk_limit_bytes

    @contextmanager
    def _left_behind(self, execution: Execution) -> Iterator[None]:
        """What an engine keeps of a task is needed until the result folder is complete, or will never be."""
        try:
            yield
        finally:
            engine = self._outliving.get(_engine_name(execution))
            if engine is not None:
                engine.release(execution.id)

    async def _remove_secrets(self, execution: Execution) -> None:
        """Once nothing of the task runs any more."""
        if execution.entry.assignment.task.secrets and execution.stop is not Stop.LEFT:
            await finish(asyncio.to_thread(self._secret_files.remove, execution.id), within=DISK_SECONDS)

    def _workspace(self, execution: Execution) -> Workspace:
        if execution.workspace is None:
            execution.workspace = self._journal.workspace(execution.entry)
        return execution.workspace

    def _disk_work(self, execution: Execution) -> DiskWork:
        return DiskWork(execution, self._journal, self._workspace(execution), self._pack, self._secret_files)

    def _started(
        self, execution: Execution, work: DiskWork, loop: asyncio.AbstractEventLoop, process: ProcessMark | None
    ) -> None:
        """In whatever thread the engine is."""
        work.started(process)
        loop.call_soon_threadsafe(self._begun, execution, work)

    def _begun(self, execution: Execution, work: DiskWork) -> None:
        """The time of a task counts from here on; what comes before, such as the pull of its image, has its own."""
        if work.is_closed:
            return
        _take_over(execution, work)
        limit_seconds = execution.entry.assignment.execution_timeout_seconds
        if limit_seconds and execution.deadline is not None:
            execution.deadline.reschedule(asyncio.get_running_loop().time() + limit_seconds)
        self._tell(execution)

    def _progressed(self, execution: Execution, detail: str) -> None:
        """Not in the journal: after a restart of the node nobody needs it."""
        told = execution.secrets.masked(detail)[:MAX_TEXT]
        happening = Happening(fact=ExecutionProgressed(detail=told), at=time.time())
        self._reports.tell(execution.id, happening, urgent=True)

    def _waits_for_s3(self, execution: Execution, problem: str) -> None:
        self._progressed(execution, f"{WAITS_FOR_S3}{problem}")

    async def _gather(self, execution: Execution, work: DiskWork, exit_code: int) -> None:
        if execution.entry.phase is Phase.ENDED:
            pass  # the engine's thread has done it
        elif execution.is_on_disk or execution.entry.publishes:
            try:
                await in_thread(partial(work.gather, exit_code), within=DISK_SECONDS)
            finally:
                _take_over(execution, work)
        else:
            output = RunOutput(exit_code=exit_code)
            fact = TaskEnded(output=output, run_seconds=run_seconds(execution, execution.entry))
            ended = moved(execution.entry, Phase.ENDED, fact)
            await self._journal.write(ended)
            work.entry = ended
            _take_over(execution, work)
        self._tell(execution)

    async def _publish(self, execution: Execution) -> None:
        on_waiting = partial(self._waits_for_s3, execution)
        upload = execution.upload = self._new_upload(execution, self._workspace(execution), on_waiting)
        limit_seconds = execution.entry.assignment.publish_timeout_seconds
        begun = time.monotonic()
        deadline = asyncio.timeout(limit_seconds)
        try:
            async with deadline:
                end = await upload.run()
        except TimeoutError:
            if not deadline.expired():
                raise
            detail = f"The result could not be published within {limit_seconds:g} s. {upload.last_problem}".rstrip()
            end = NotSent(reason=FailureReason.PUBLISH_TIMED_OUT, detail=detail)
        match end:
            case NotSent(reason=reason, detail=why):
                detail = execution.secrets.masked(why)
                told = "Execution %s: its result is not published, %s: %s"
                _log.warning(told, execution.id, reason, detail, extra=execution.about)
                await self._fail(execution, reason, detail)
            case Sent():
                fact = _published(execution, end, upload, time.monotonic() - begun)
                self._conclude(execution, Phase.PUBLISHED, fact)

    async def _stopped(self, execution: Execution) -> None:
        match execution.stop:
            case Stop.CANCELLED:
                await self._discard(execution)
                self._conclude(execution, Phase.CANCELLED, ExecutionCancelled(reason=execution.stop_reason))
            case Stop.HANDED_BACK if execution.entry.phase is Phase.ACCEPTED:
                self._conclude(execution, Phase.FAILED, NOT_BEGUN)
            case Stop.NODE_STOPS | Stop.HANDED_BACK if execution.entry.phase in _UNFINISHED:
                detail = "The node was stopped while the execution was on it."
                await self._fail(execution, FailureReason.NODE_RESTARTED, detail)
            case Stop.NODE_STOPS | Stop.HANDED_BACK | Stop.LEFT | Stop.SETTLED | None:
                pass

    async def _fail(self, execution: Execution, reason: FailureReason, detail: str) -> None:
        # In a sandbox it takes a process of the task to find out that its command cannot be started.
        has_begun = execution.is_on_disk and execution.entry.phase is Phase.STARTED
        has_run = has_begun and reason is not FailureReason.TASK_NOT_STARTED
        seconds = run_seconds(execution, execution.entry) if has_run else 0.0
        output = await self._output_so_far(execution) if has_run else None
        await self._discard(execution)
        fact = ExecutionFailed(
            reason=reason.value,
            detail=execution.secrets.masked(detail)[:MAX_TEXT],
            output=output,
            run_seconds=seconds,
            peak_memory_bytes=execution.usage.peak_memory_bytes if has_run else 0,
        )
        self._conclude(execution, Phase.FAILED, fact)

    async def _output_so_far(self, execution: Execution) -> RunOutput | None:
        try:
            output = await asyncio.to_thread(self._workspace(execution).read_output, NO_EXIT_CODE)
            return execution.secrets.told(output)
        except OSError:
            return None

    async def _discard(self, execution: Execution) -> None:
        """Nobody will read the files of what has failed, and the disk may be full of them."""
        if not execution.is_on_disk:
            return
        try:
            await in_thread(self._workspace(execution).discard, within=DISK_SECONDS)
        except OSError as error:
            _log.warning("Files of execution %s cannot be removed: %s", execution.id, error)

    def _conclude(self, execution: Execution, phase: Phase, fact: AnyFact) -> None:
        """Told without waiting for the disk.

        Were the node to be killed before the entry is there, it would publish again what is there already, or tell
        another end, and neither changes anything.
        """
        execution.move(phase, fact)
        self._journal.note(execution.entry)
        self._tell(execution)

    def _tell(self, execution: Execution) -> None:
        """What has happened and is not told yet."""
        happenings = execution.entry.happenings[execution.told :]
        execution.told += len(happenings)
        self._reports.tell(execution.id, *happenings, urgent=execution.entry.is_final)


def _engine_name(execution: Execution) -> str:
    return execution.entry.assignment.task.engine.type.lower()


def _take_over(execution: Execution, work: DiskWork) -> None:
    execution.take_over(work.entry, is_on_disk=work.is_on_disk, packed=work.packed)


def _count_no_more(execution: Execution) -> None:
    execution.over_at = time.time()
    if execution.deadline is not None and not execution.deadline.expired():
        execution.deadline.reschedule(None)


def _left_seconds(entry: Entry) -> float | None:
    """Of the time that a task has which runs; one that was resumed has a moment at least, to be found at its end."""
    limit_seconds = entry.assignment.execution_timeout_seconds
    if not limit_seconds or entry.phase is Phase.ACCEPTED:
        return None
    return max(RESUMED_SECONDS, limit_seconds - (time.time() - entry.happenings[-1].at))


def _published(execution: Execution, sent: Sent, upload: Upload, seconds: float) -> OutputPublished:
    entry = execution.entry
    facts = replace(
        sent.facts,
        warnings=(*entry.warnings, *map(execution.secrets.masked, sent.facts.warnings)),
        warnings_count=len(entry.warnings) + sent.facts.warnings_count,
        publish_seconds=seconds,
        retries=upload.trouble.retries,
        renewals=upload.trouble.renewals,
        left_out_count=entry.left_out_count + sent.facts.left_out_count,
    )
    return OutputPublished(
        **facts.told(),
        was_there=sent.was_there,
        manifest_md5=sent.manifest_md5,
        provenance=sent.provenance.decode(),
    )


def _node_problem(execution_id: ExecutionId, error: Exception) -> tuple[FailureReason, str]:
    if isinstance(error, OSError) and error.errno in disk_room.FULL:
        _log.warning("Execution %s failed: the disk of the node is full.", execution_id)
        return FailureReason.DISK_FULL, "The disk of the node is full."
    _log.error("Execution %s failed because of an error of the node.", execution_id, exc_info=error)
    described = str(error) if isinstance(error, OSError | TarponError) else "its log tells more"
    return FailureReason.NODE_ERROR, f"The node failed with {type(error).__name__}: {described}"
