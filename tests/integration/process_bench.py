"""The process engine, and runs in one workspace (no tests in here)."""

import asyncio
import copy
import os
import uuid
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from compute.disk.input_files import MountedInput
from compute.disk.secret_files import MountedSecret
from compute.disk.spare_folders import SpareFolders
from compute.disk.workspace import Workspace
from compute.engines.engine import Broken, Run, RunEnd
from compute.engines.process.bubblewrap import Bubblewrap
from compute.engines.process.engine import ProcessEngine
from compute.engines.task_usage import TaskUsage
from compute.processes.mark import ProcessMark
from compute.processes.strays import Strays
from compute.processes.table import everybody, named_execution
from shared.ids import ExecutionId
from shared.jobs.capacity import Capacity
from shared.jobs.spec import Network, ResultPath, SpecConfig, Task
from tests.sandbox import need_sandbox
from tests.waiting import eventually

NODE_ENVIRONMENT = {"PATH": os.environ["PATH"], "AWS_SECRET_ACCESS_KEY": "wJalr"}


def some_execution() -> ExecutionId:
    return ExecutionId(f"e-{uuid.uuid4()}")


class Bench:
    """One workspace, and runs in it as one execution. `strays` is what all engines of this process share.

    With `spares` it may be one of them, and has no result paths. The execution's id is nobody else's, because a task's
    processes are found by it on the whole machine, where other tests may run at the same time.
    """

    def __init__(
        self,
        folder: Path,
        strays: Strays | None = None,
        *,
        spares: SpareFolders | None = None,
        sandboxed: bool = False,
        shown: Sequence[str] = (),
        hidden: Path | None = None,
    ) -> None:
        self._folder = folder
        self._spares = spares
        self._begin()
        self.devices: tuple[str, ...] | None = None
        self.usage = TaskUsage()
        self._strays = strays or Strays()
        self._bubblewrap = None
        if sandboxed:
            need_sandbox()
            path = NODE_ENVIRONMENT["PATH"]
            self._bubblewrap = Bubblewrap.open(folder, shown=shown, hidden=hidden, path=path)

    def engine(self, **limits: Any) -> ProcessEngine:
        given = {"grace_seconds": 5.0, "check_seconds": 0.05, "disk_check_seconds": 0.05} | limits
        return ProcessEngine(NODE_ENVIRONMENT, strays=self._strays, bubblewrap=self._bubblewrap, **given)

    async def run(
        self,
        params: Mapping[str, Any],
        *,
        resources: Capacity | None = None,
        network: str = "",
        secrets: tuple[MountedSecret, ...] = (),
        inputs: tuple[MountedInput, ...] = (),
        reproducible: bool = False,
        **limits: Any,
    ) -> RunEnd:
        def on_started(mark: ProcessMark | None) -> None:
            self.marks.append(mark)

        engine = SpecConfig(type="process", params=dict(params))
        task = Task(name="main", engine=engine, network=Network(type=network), reproducible=reproducible)
        return await self.engine(**limits).run(
            Run(
                execution_id=self.id,
                task=task,
                workspace=self.workspace,
                environment={"TARPON_EXECUTION_ID": self.id},
                on_started=on_started,
                resources=resources or Capacity(),
                devices=self.devices,
                secrets=secrets,
                inputs=inputs,
                usage=self.usage,
            )
        )

    async def shell(self, script: str, **limits: Any) -> RunEnd:
        return await self.run({"Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}, **limits)

    async def broken(self, script: str, **limits: Any) -> Broken:
        end = await self.shell(script, **limits)
        assert isinstance(end, Broken), end
        return end

    @asynccontextmanager
    async def running(self, script: str, **limits: Any) -> AsyncIterator["asyncio.Task[RunEnd]"]:
        """The script, running; cancelled at the end."""
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.shell(script, **limits), name="run")
            try:
                await eventually(lambda: self.marks, what="the task runs")
                yield task
            finally:
                task.cancel()

    def read(self, name: str) -> str:
        return (self.workspace.result / name).read_text()

    def pid_in(self, name: str) -> int:
        return int((self.workspace.folder / name).read_text())

    def _begin(self) -> None:
        self.id = some_execution()
        self.workspace = Workspace(self._folder / self.id, has_paths=self._spares is None, spares=self._spares)
        self.workspace.create([] if self._spares else [ResultPath(name="outputs", path="/outputs")])
        self.marks: list[ProcessMark | None] = []

    def another(self) -> "Bench":
        """For the next execution of the same node."""
        made = copy.copy(self)
        made._begin()
        return made

    @property
    def is_sandboxed(self) -> bool:
        return self._bubblewrap is not None

    def lives(self, name: str) -> bool:
        """Whether the process does that has written its number there. Behind walls it has one that says nothing here.

        There all processes of the task are one.
        """
        if not self.is_sandboxed:
            return is_alive(self.pid_in(name))
        assert self.pid_in(name) > 1
        return any(named_execution(each.pid) == self.id for each in everybody() if not each.has_ended)

    def has(self, name: str) -> Callable[[], bool]:
        path = self.workspace.folder / name
        return lambda: path.exists() and path.read_text().endswith("\n")


def is_alive(pid: int) -> bool:
    """A zombie that nobody has reaped yet does no harm any more."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in {"Z", "X"}
