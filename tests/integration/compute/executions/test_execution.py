"""Whatever goes wrong with an execution becomes its end, and the node goes on."""

import asyncio
import errno
import logging
import resource
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from compute.disk.result_contents import ResultContents
from compute.disk.secret_files import SecretFiles
from compute.disk.workspace import Workspace
from compute.engines.engine import Exited, Run, RunEnd, Unfit
from compute.engines.environment import EnvironmentPolicy
from compute.executions.execution import Activity, Execution, Stop
from compute.executions.slots import Slots
from compute.executions.supervisor import Supervisor
from compute.inputs.fetching import Inputs
from compute.inputs.inline import InlineInputs
from compute.journal.entry import DamagedEntry, Entry, Phase, new_entry
from compute.journal.journal import FILE, Journal
from compute.processes.mark import ProcessMark
from compute.uplink.reports import ReportSender
from compute.upload.grants import ExecutionGrants
from compute.upload.put import upload_session
from compute.upload.shared_limits import SharedLimits
from compute.upload.upload import Upload
from shared.ids import ExecutionId
from shared.jobs.capacity import Capacity
from shared.jobs.engine_params import EngineParams
from shared.jobs.spec import Task
from shared.messaging.transport import Connection
from shared.protocol.messages import ExecutionFailed, NodeRequestAnswer, RequestRefused, UploadRequest
from tests.builders import new_assignment, new_task


async def nothing(_: Run) -> None:
    pass


class ScriptedEngine:
    """Does what the test says, `before` the task runs and until it ends."""

    name = "scripted"
    isolation = ""
    parameters = EngineParams
    shows_inputs = False

    def __init__(
        self, act: Callable[[Run], Awaitable[RunEnd]], before: Callable[[Run], Awaitable[None]] = nothing
    ) -> None:
        self._act = act
        self._before = before
        self.stopped = False

    def unfit(self, task: Task) -> Unfit | None:
        return None

    async def run(self, run: Run) -> RunEnd:
        try:
            await asyncio.to_thread(run.prepare)
            await self._before(run)
            await asyncio.to_thread(run.on_started, None)
            return await self._act(run)
        except asyncio.CancelledError:
            self.stopped = True
            raise

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:
        return 0


NewUpload = Callable[[Execution, Workspace, Callable[[str], None]], Upload]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(folder)
        self.slots = Slots(Capacity(cpu=1.0), queue_capacity=0)

    def execution(self, **changes: Any) -> Execution:
        task = new_task(engine="Scripted")
        made = new_assignment(task=task)
        entry = new_entry(replace(made, **changes))

        async def ask(_: UploadRequest) -> NodeRequestAnswer:
            raise AssertionError("no grant is needed here")

        return Execution(entry, ExecutionGrants(entry.execution_id, ask), self.slots.admit(Capacity(cpu=1.0)))

    def supervisor(self, engine: ScriptedEngine, new_upload: NewUpload | None = None) -> Supervisor:
        def no_upload(_: Execution, __: Workspace, ___: Callable[[str], None]) -> Upload:
            raise AssertionError("nothing is published here")

        def no_archive(_: Workspace, __: ResultContents) -> None:
            raise AssertionError("nothing is published here")

        # Never connected: what is told stays in the journal, where the test reads it.
        reports = ReportSender(Connection([]), "subject")
        policy = EnvironmentPolicy({}, [])
        return Supervisor(
            journal=self.journal,
            engines={"scripted": engine},
            environment=policy,
            reports=reports,
            new_upload=new_upload or no_upload,
            pack=(lambda *_: None) if new_upload else no_archive,
            secret_files=SecretFiles(self.folder.with_name("secrets")),
            inputs=Inputs({"inline": InlineInputs()}),
        )

    async def carried_out(
        self,
        act: Callable[[Run], Awaitable[RunEnd]],
        *,
        before: Callable[[Run], Awaitable[None]] = nothing,
        **changes: Any,
    ) -> Entry:
        execution = self.execution(**changes)
        await self.supervisor(ScriptedEngine(act, before)).carry_out(execution)
        assert execution.activity is Activity.OVER
        assert self.slots.running == 0
        assert await self.recovered() == [execution.entry]
        return execution.entry

    async def recovered(self) -> list[Entry | DamagedEntry]:
        """As a later process of the node reads it."""
        await self.journal.close()
        self.journal = Journal(self.folder)
        return await asyncio.to_thread(lambda: list(self.journal.recover()))


def failure(entry: Entry) -> ExecutionFailed:
    assert entry.phase is Phase.FAILED
    fact = entry.happenings[-1].fact
    assert isinstance(fact, ExecutionFailed)
    return fact


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    made = Bench(tmp_path / "executions")
    yield made
    await made.journal.close()


async def test_a_task_that_ends_is_ended(bench: Bench) -> None:
    async def act(run: Run) -> RunEnd:
        return Exited(3)

    entry = await bench.carried_out(act)
    assert entry.phase is Phase.ENDED
    assert entry.ended[0] == 3


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_ends_the_one_execution_with_that_reason_and_frees_its_files(
    bench: Bench, number: int
) -> None:
    async def act(run: Run) -> RunEnd:
        (run.workspace.folder / "large").write_text("large")
        raise OSError(number, "no space")

    assert failure(await bench.carried_out(act)).reason == "DiskFull"
    assert not (bench.folder / "e-1" / "workspace").exists()


@pytest.mark.parametrize(
    "error", [RuntimeError("?key=5ec4e7"), OSError(errno.EIO, "input/output error"), TimeoutError()]
)
async def test_an_error_of_the_node_ends_the_one_execution(bench: Bench, error: Exception) -> None:
    async def act(run: Run) -> RunEnd:
        raise error

    fact = failure(await bench.carried_out(act))
    assert fact.reason == "NodeError"
    assert type(error).__name__ in fact.detail
    assert "5ec4e7" not in fact.detail


async def test_why_a_result_is_not_published_is_in_the_log_of_its_node(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    async def refuse(_: UploadRequest) -> NodeRequestAnswer:
        return RequestRefused(code="GrantRefused", message="Execution e-1 is being stopped.")

    async def act(run: Run) -> RunEnd:
        return Exited(0)

    async with upload_session() as http:
        uploading = SharedLimits(http, compressing=1)

        def new_upload(execution: Execution, workspace: Workspace, _: Callable[[str], None]) -> Upload:
            return Upload(
                execution.id, workspace.folder, workspace.folder, ExecutionGrants(execution.id, refuse), uploading
            )

        task = new_task(engine="Scripted", publisher="s3managed")
        execution = bench.execution(task=task)
        await bench.supervisor(ScriptedEngine(act), new_upload).carry_out(execution)
        await asyncio.to_thread(uploading.close)
    assert failure(execution.entry).reason == "PublishRefused"
    *_, record = (each for each in caplog.records if each.levelno == logging.WARNING)  # before it, what lies beside it
    assert record.getMessage() == (
        "Execution e-1: its result is not published, PublishRefused:"
        " The orchestrator gives no URL for the upload: Execution e-1 is being stopped."
    )


async def test_a_time_limit_stops_the_task(bench: Bench) -> None:
    async def act(run: Run) -> RunEnd:
        await asyncio.Event().wait()
        return Exited(0)

    assert failure(await bench.carried_out(act, execution_timeout_seconds=0.05)).reason == "ExecutionTimedOut"


async def test_what_comes_before_a_task_runs_does_not_count_as_its_time(bench: Bench) -> None:
    async def pull(run: Run) -> None:
        await asyncio.sleep(0.3)

    async def act(run: Run) -> RunEnd:
        return Exited(0)

    entry = await bench.carried_out(act, before=pull, execution_timeout_seconds=0.2)
    assert entry.phase is Phase.ENDED


async def test_a_time_limit_counts_from_when_the_task_runs(bench: Bench) -> None:
    began = time.monotonic() + 1000.0

    async def pull(run: Run) -> None:
        await asyncio.sleep(0.2)

    async def act(run: Run) -> RunEnd:
        nonlocal began
        began = time.monotonic()
        await asyncio.Event().wait()
        return Exited(0)

    ended = await bench.carried_out(act, before=pull, execution_timeout_seconds=0.2)
    assert failure(ended).reason == "ExecutionTimedOut"
    assert time.monotonic() - began >= 0.2


async def test_what_comes_after_a_task_does_not_count_as_its_time(bench: Bench) -> None:
    async def act(run: Run) -> RunEnd:
        run.on_over()
        await asyncio.sleep(0.3)
        return Exited(0)

    assert (await bench.carried_out(act, execution_timeout_seconds=0.2)).phase is Phase.ENDED


async def test_a_task_that_is_over_just_when_its_time_is_has_run_out_of_time(bench: Bench) -> None:
    async def act(run: Run) -> RunEnd:
        try:
            await asyncio.Event().wait()
        finally:
            run.on_over()
        return Exited(0)

    assert failure(await bench.carried_out(act, execution_timeout_seconds=0.05)).reason == "ExecutionTimedOut"


async def test_a_thread_of_the_engine_that_comes_after_the_end_changes_nothing(bench: Bench) -> None:
    late: list[Run] = []

    async def hang(run: Run) -> None:
        late.append(run)
        raise TimeoutError  # the node does not wait for the thread any more

    async def act(run: Run) -> RunEnd:
        raise AssertionError("it does not run")

    execution = bench.execution()
    await bench.supervisor(ScriptedEngine(act, hang)).carry_out(execution)
    ended = execution.entry
    assert failure(ended).reason == "NodeError"
    await asyncio.to_thread(late[0].on_started, None)
    assert execution.entry is ended
    assert await bench.recovered() == [ended]


async def test_a_journal_that_fails_at_the_end_does_not_hide_the_end(bench: Bench) -> None:
    async def act(run: Run) -> RunEnd:
        # From now on the journal cannot grow.
        resource.setrlimit(resource.RLIMIT_FSIZE, ((bench.folder.parent / FILE).stat().st_size, hard))
        return Exited(0)

    execution = bench.execution()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        await bench.supervisor(ScriptedEngine(act)).carry_out(execution)
        await bench.journal.close()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert failure(execution.entry).reason == "NodeError"


async def test_a_cancelled_supervisor_stops_the_task_and_keeps_the_journal(bench: Bench) -> None:
    running = asyncio.Event()

    async def act(run: Run) -> RunEnd:
        running.set()
        await asyncio.Event().wait()
        return Exited(0)

    engine, execution = ScriptedEngine(act), bench.execution()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(bench.supervisor(engine).carry_out(execution), name="execution")
        await running.wait()
        task.cancel()
    assert engine.stopped
    (entry,) = await bench.recovered()
    assert isinstance(entry, Entry)
    assert entry.phase is Phase.STARTED
    assert bench.slots.running == 0


@pytest.mark.parametrize(
    ("stop", "phase"),
    [(Stop.CANCELLED, Phase.CANCELLED), (Stop.NODE_STOPS, Phase.FAILED), (Stop.SETTLED, Phase.ACCEPTED)],
)
async def test_a_stop_that_comes_before_the_work_is_not_lost(bench: Bench, stop: Stop, phase: Phase) -> None:
    async def act(run: Run) -> RunEnd:
        raise AssertionError("must not run")

    execution = bench.execution()
    execution.request_stop(stop)
    await bench.supervisor(ScriptedEngine(act)).carry_out(execution)
    assert execution.entry.phase is phase
