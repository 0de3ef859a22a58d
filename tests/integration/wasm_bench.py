"""The wasm engine, and runs of modules in one workspace (no tests in here)."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from compute.disk.input_files import MountedInput
from compute.disk.secret_files import MountedSecret
from compute.disk.workspace import Workspace
from compute.engines.engine import Broken, Run, RunEnd
from compute.engines.task_usage import TaskUsage
from compute.engines.wasm.engine import WasmEngine
from compute.processes.mark import ProcessMark
from compute.processes.strays import Strays
from shared.jobs.capacity import Capacity
from shared.jobs.spec import InputSource, ResultPath, SpecConfig, Task
from shared.settings.config import WasmSettings
from tests.integration.process_bench import some_execution
from tests.waiting import eventually

MODULE = "/app/main.wasm"
OUTPUTS = ResultPath(name="outputs", path="/outputs")


class WasmBench:
    """One engine, and an execution for each run of it."""

    def __init__(self, folder: Path, engine: WasmEngine) -> None:
        self.engine = engine
        self._folder = folder
        self._begin()

    @classmethod
    @contextmanager
    def open(cls, folder: Path, settings: WasmSettings | None = None, **limits: Any) -> Iterator["WasmBench"]:
        given = {"disk_check_seconds": 0.05} | limits
        engine = WasmEngine(folder / "node", settings or WasmSettings(), Strays(), **given)
        try:
            yield cls(folder, engine)
        finally:
            engine.close()

    def _begin(self) -> None:
        self.id = some_execution()
        self.workspace = Workspace(self._folder / self.id)
        self.workspace.create([OUTPUTS])
        self.marks: list[ProcessMark | None] = []
        self.usage = TaskUsage()
        self.progress: list[str] = []

    async def run(
        self,
        module: bytes,
        *,
        params: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Path] | None = None,
        resources: Capacity | None = None,
        secrets: tuple[MountedSecret, ...] = (),
        environment: Mapping[str, str] | None = None,
        reproducible: bool = False,
        writable: Collection[str] = (),
    ) -> RunEnd:
        """The module, which is an input, beside further ones by their targets."""
        self._begin()
        file = self.workspace.inputs / "module"
        file.parent.mkdir(parents=True)
        file.write_bytes(module)
        places = {MODULE: file, **(inputs or {})}
        task = Task(
            name="main",
            engine=SpecConfig(type="wasm", params={"EntryModule": MODULE, **(params or {})}),
            input_sources=tuple(InputSource(target=target) for target in places),
            result_paths=(OUTPUTS,),
            reproducible=reproducible,
        )
        return await self.engine.run(
            Run(
                execution_id=self.id,
                task=task,
                workspace=self.workspace,
                environment=environment or {},
                on_started=self.marks.append,
                on_progress=self.progress.append,
                resources=resources or Capacity(),
                inputs=tuple(
                    MountedInput(target, path, is_writable=target in writable) for target, path in places.items()
                ),
                secrets=secrets,
                usage=self.usage,
            )
        )

    async def broken(self, module: bytes, **more: Any) -> Broken:
        end = await self.run(module, **more)
        assert isinstance(end, Broken), end
        return end

    @asynccontextmanager
    async def running(self, module: bytes, **more: Any) -> AsyncIterator["asyncio.Task[RunEnd]"]:
        """The module, which has said something; cancelled at the end."""
        self.marks = []  # of the run before
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self.run(module, **more), name="run")
            try:
                await eventually(lambda: self.marks and self.read("stdout"), what="the module runs")
                yield task
            finally:
                task.cancel()

    def read(self, name: str) -> str:
        return (self.workspace.result / name).read_text()

    @property
    def pid(self) -> int:
        assert self.marks[0] is not None
        return self.marks[0].pid
