"""How one execution goes from accepted to told: slot, run, publish, with its end as a fact whatever happens."""

import asyncio
import enum
import errno
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial

from msgspec.structs import replace

from compute.engines import Broken, Engine, Exited, Run, RunEnd
from compute.environment import EnvironmentPolicy
from compute.grants import Grants
from compute.journal import Entry, Happening, Journal, Phase
from compute.process_mark import ProcessMark
from compute.reports import Reports
from compute.slots import Slot
from compute.upload import NotSent, Sent, Upload
from shared.aio import finish
from shared.errors import TarponError
from shared.ids import ExecutionId
from shared.messages import (
    AnyFact,
    ExecutionCancelled,
    ExecutionFailed,
    ExecutionStarted,
    OutputPublished,
    TaskEnded,
)
from shared.states import FailureReason

_log = logging.getLogger(__name__)

PUBLISHING_AT_ONCE = 8
DISK_SECONDS = 600.0
"""How long moving or removing the folders of one execution may take."""
MAX_WARNINGS = 20
MAX_TEXT = 500
_DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
_UNFINISHED = {Phase.ACCEPTED, Phase.STARTED}


class Activity(enum.Enum):
    QUEUED = enum.auto()
    RUNNING = enum.auto()
    PUBLISHING = enum.auto()
    """The task has ended; what follows needs no slot."""
    OVER = enum.auto()


class Stop(enum.Enum):
    """Why an execution is stopped from outside."""

    CANCELLED = enum.auto()
    SETTLED = enum.auto()
    """The orchestrator does not wait for its end any more, so nothing is told."""
    NODE_STOPS = enum.auto()


class Execution:
    """One execution that this node holds, in whatever phase."""

    def __init__(self, entry: Entry, grants: Grants, slot: Slot | None = None) -> None:
        self.entry = entry
        self.grants = grants
        self.activity = Activity.QUEUED
        self.stop: Stop | None = None
        self.stop_reason = ""
        self.accepted = asyncio.Event()
        """Set when the journal has it, or could not be written."""
        self._slot = slot
        self._scope: asyncio.Timeout | None = None

    def __repr__(self) -> str:
        return f"<Execution {self.id} {self.activity.name.lower()}, {self.entry.phase}>"

    @property
    def id(self) -> ExecutionId:
        return self.entry.execution_id

    @property
    def was_interrupted(self) -> bool:
        return self._scope is not None and self._scope.expired()

    def request_stop(self, stop: Stop, reason: str = "") -> None:
        """Interrupt the work wherever it is; `Supervisor` then decides what the end is. No effect after the end."""
        if self.stop is not Stop.SETTLED:
            self.stop, self.stop_reason = stop, reason
        if self._scope is not None and not self._scope.expired():
            self._scope.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def stoppable(self) -> AsyncIterator[None]:
        """A stretch that `request_stop` ends with TimeoutError: a deadline that is set only when it is needed."""
        async with asyncio.timeout(None) as scope:
            if self.stop is not None:
                scope.reschedule(asyncio.get_running_loop().time())
            self._scope = scope
            yield

    async def slot_granted(self) -> None:
        if self._slot is not None:
            await self._slot.granted()

    def release_slot(self) -> None:
        if self._slot is not None:
            self._slot.release()


class Supervisor:
    """Carries executions out. `new_upload` makes the upload of a result folder."""

    def __init__(
        self,
        *,
        journal: Journal,
        engines: Mapping[str, Engine],
        environment: EnvironmentPolicy,
        reports: Reports,
        new_upload: Callable[[Execution], Upload],
    ) -> None:
        self._journal = journal
        self._engines = engines
        self._environment = environment
        self._reports = reports
        self._new_upload = new_upload
        self._publishing = asyncio.Semaphore(PUBLISHING_AT_ONCE)

    async def carry_out(self, execution: Execution) -> None:
        """Go on from the phase in the journal. When cancelled, the task is stopped and the journal stays as it is."""
        try:
            async with execution.stoppable():
                await self._advance(execution)
        except Exception as error:
            if execution.was_interrupted:
                await self._stopped(execution)
            else:
                await self._fail(execution, *_node_problem(execution.id, error))
        finally:
            execution.release_slot()
            execution.activity = Activity.OVER

    async def _advance(self, execution: Execution) -> None:
        if execution.entry.phase is Phase.ACCEPTED:
            await execution.slot_granted()
            execution.activity = Activity.RUNNING
            end = await self._run(execution)
            execution.activity = Activity.PUBLISHING
            execution.release_slot()
            match end:
                case Exited(exit_code):
                    await self._gather(execution, exit_code)
                case Broken(reason, detail):
                    await self._fail(execution, reason, detail)
        if execution.entry.phase is Phase.ENDED and execution.entry.publishes:
            execution.activity = Activity.PUBLISHING
            await self._publish(execution)

    async def _run(self, execution: Execution) -> RunEnd:
        assignment = execution.entry.assignment
        workspace = self._journal.workspace(execution.id)
        await finish(asyncio.to_thread(workspace.create, assignment.task.result_paths), within=DISK_SECONDS)
        run = Run(
            execution_id=execution.id,
            task=assignment.task,
            workspace=workspace,
            environment=self._environment.for_task(assignment),
            on_started=partial(self._started, execution),
        )
        limit_seconds = assignment.execution_timeout_seconds
        try:
            async with asyncio.timeout(limit_seconds or None) as deadline:
                return await self._engines[assignment.task.engine.type.lower()].run(run)
        except TimeoutError:
            if not deadline.expired():
                raise
            detail = f"The task ran longer than its time limit of {limit_seconds:g} s and was stopped."
            return Broken(FailureReason.EXECUTION_TIMED_OUT, detail)

    async def _started(self, execution: Execution, process: ProcessMark | None) -> None:
        execution.entry = replace(execution.entry, process=process)
        await self._happened(execution, Phase.STARTED, ExecutionStarted())

    async def _gather(self, execution: Execution, exit_code: int) -> None:
        workspace = self._journal.workspace(execution.id)
        run_seconds = max(0.0, time.time() - execution.entry.happenings[-1].at)
        gather = asyncio.to_thread(workspace.gather, execution.entry.assignment.task.result_paths, exit_code)
        warnings = await finish(gather, within=DISK_SECONDS)
        execution.entry = replace(execution.entry, warnings=warnings)
        output = await asyncio.to_thread(workspace.read_output, exit_code)
        await self._happened(execution, Phase.ENDED, TaskEnded(output=output, run_seconds=run_seconds))

    async def _publish(self, execution: Execution) -> None:
        upload = self._new_upload(execution)
        limit_seconds = execution.entry.assignment.publish_timeout_seconds
        begun = time.monotonic()
        try:
            async with asyncio.timeout(limit_seconds) as deadline, self._publishing:
                end = await upload.run()
        except TimeoutError:
            if not deadline.expired():
                raise
            detail = f"The result could not be published within {limit_seconds:g} s. {upload.last_problem}".rstrip()
            end = NotSent(reason=FailureReason.PUBLISH_TIMED_OUT, detail=detail)
        match end:
            case NotSent(reason=reason, detail=detail):
                await self._fail(execution, reason, detail)
            case Sent():
                fact = _published(execution.entry, end, upload, time.monotonic() - begun)
                await self._conclude(execution, Phase.PUBLISHED, fact)

    async def _stopped(self, execution: Execution) -> None:
        match execution.stop:
            case Stop.CANCELLED:
                await self._discard(execution)
                await self._conclude(execution, Phase.CANCELLED, ExecutionCancelled(reason=execution.stop_reason))
            case Stop.NODE_STOPS if execution.entry.phase in _UNFINISHED:
                detail = "The node was stopped while the execution was on it."
                await self._fail(execution, FailureReason.NODE_RESTARTED, detail)
            case Stop.NODE_STOPS | Stop.SETTLED | None:
                pass

    async def _fail(self, execution: Execution, reason: FailureReason, detail: str) -> None:
        output = None
        if execution.entry.phase is Phase.STARTED:
            output = await asyncio.to_thread(self._journal.workspace(execution.id).read_output, 0)
        await self._discard(execution)
        fact = ExecutionFailed(reason=reason.value, detail=detail[:MAX_TEXT], output=output)
        await self._conclude(execution, Phase.FAILED, fact)

    async def _discard(self, execution: Execution) -> None:
        """Nobody will read the files of what has failed, and the disk may be full of them."""
        try:
            await finish(asyncio.to_thread(self._journal.workspace(execution.id).discard), within=DISK_SECONDS)
        except OSError as error:
            _log.warning("Files of execution %s cannot be removed: %s", execution.id, error)

    async def _conclude(self, execution: Execution, phase: Phase, fact: AnyFact) -> None:
        try:
            await self._happened(execution, phase, fact)
        except OSError as error:
            # Told all the same: were the node to restart now, it would tell another end, which changes nothing.
            _log.warning("The end of execution %s cannot be written to the journal: %s", execution.id, error)
            self._reports.tell(execution.id, execution.entry.happenings[-1], urgent=True)

    async def _happened(self, execution: Execution, phase: Phase, fact: AnyFact) -> None:
        happening = Happening(fact=fact, at=time.time())
        execution.entry = replace(execution.entry, phase=phase, happenings=(*execution.entry.happenings, happening))
        await self._journal.write(execution.entry)
        self._reports.tell(execution.id, happening, urgent=execution.entry.is_final)


def _published(entry: Entry, sent: Sent, upload: Upload, seconds: float) -> OutputPublished:
    warnings = (*entry.warnings, *sent.summary.warnings)
    return OutputPublished(
        size_bytes=sent.summary.size_bytes,
        md5=sent.md5,
        sha256=sent.summary.sha256,
        entries=sent.summary.entries,
        raw_bytes=sent.summary.raw_bytes,
        warnings=tuple(warning[:MAX_TEXT] for warning in warnings[:MAX_WARNINGS]),
        warnings_count=len(entry.warnings) + sent.summary.warnings_count,
        publish_seconds=seconds,
        retries=upload.retries,
        renewals=upload.renewals,
    )


def _node_problem(execution_id: ExecutionId, error: Exception) -> tuple[FailureReason, str]:
    if isinstance(error, OSError) and error.errno in _DISK_FULL:
        return FailureReason.DISK_FULL, "The disk of the node is full."
    _log.error("Execution %s failed because of an error of the node.", execution_id, exc_info=error)
    described = str(error) if isinstance(error, OSError | TarponError) else "its log tells more"
    return FailureReason.NODE_ERROR, f"The node failed with {type(error).__name__}: {described}"
