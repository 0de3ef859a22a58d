"""One node's docker engine on a real dockerd, and runs in it (no tests in here)."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from compute.disk.workspace import Workspace
from compute.engines.docker.engine import DockerEngine
from compute.engines.engine import Broken, Run, RunEnd
from compute.processes.mark import ProcessMark
from shared.ids import ExecutionId, NodeId
from shared.jobs.spec import Network, ResultPath, SpecConfig, Task
from shared.settings.config import DockerSettings as Settings
from tests.engine import IMAGE, TestEngine
from tests.waiting import eventually

NODE = NodeId("node-under-test")
OUTPUTS = ResultPath(name="outputs", path="/outputs")


class DockerTask:
    """One task with its own workspace."""

    def __init__(
        self,
        folder: Path,
        params: Mapping[str, Any],
        *,
        network: str = "",
        result_path: str = OUTPUTS.path,
        reproducible: bool = False,
        **run: Any,
    ) -> None:
        self.id = ExecutionId(f"e-{uuid.uuid4()}")
        self.workspace = Workspace(folder / self.id)
        self.workspace.create(outputs := [ResultPath(name=OUTPUTS.name, path=result_path)])
        self.starts = 0
        self.run = Run(
            execution_id=self.id,
            task=Task(
                name="main",
                engine=SpecConfig(type="docker", params=dict(params)),
                result_paths=tuple(outputs),
                network=Network(type=network),
                reproducible=reproducible,
            ),
            workspace=self.workspace,
            environment=run.pop("environment", {"TARPON_EXECUTION_ID": self.id}),
            on_started=self._on_started,
            **run,
        )

    def resumed(self) -> Self:
        """The same task, as a later process of the node sees it."""
        self.run = replace(self.run, resumed=True)
        return self

    @property
    def name(self) -> str:
        return f"tarpon-{self.id}"

    @property
    def outputs(self) -> Path:
        return self.workspace.place(OUTPUTS.path)

    def read(self, name: str) -> str:
        return (self.workspace.result / name).read_text()

    def _on_started(self, mark: ProcessMark | None) -> None:
        assert mark is None
        self.starts += 1


class Bench:
    """`end` is what came of the last task, which is `task`."""

    def __init__(self, folder: Path, dockerd: TestEngine) -> None:
        self.folder = folder
        self.dockerd = dockerd
        self.settings = Settings(socket=dockerd.url)

    def engine(self, **limits: Any) -> AbstractAsyncContextManager[DockerEngine]:
        settings = limits.pop("settings", self.settings)
        return DockerEngine.open(settings, NODE, **({"grace_seconds": 5.0, "engine_wait_seconds": 20.0} | limits))

    def shell(self, script: str, **run: Any) -> DockerTask:
        return self.task({"Image": IMAGE, "Entrypoint": ["/bin/sh", "-c"], "Parameters": [script]}, **run)

    def task(self, params: Mapping[str, Any], **run: Any) -> DockerTask:
        return DockerTask(self.folder, params, **run)

    async def ended(self, task: DockerTask, **limits: Any) -> RunEnd:
        """Run it from the beginning to the end, in an engine of its own."""
        async with self.engine(**limits) as engine:
            end = await engine.run(task.run)
            engine.release(task.id)
        assert task.name not in await self.containers()
        return end

    async def broken(self, task: DockerTask, **limits: Any) -> Broken:
        end = await self.ended(task, **limits)
        assert isinstance(end, Broken), end
        return end

    async def containers(self, label: str = "") -> list[str]:
        return await asyncio.to_thread(self.dockerd.containers, label)

    async def remove_containers(self) -> None:
        for name in await self.containers(f"tarpon.node={NODE}"):
            await asyncio.to_thread(self.dockerd.request, "DELETE", f"/containers/{name}?force=1")

    @asynccontextmanager
    async def running(self, engine: DockerEngine, task: DockerTask) -> AsyncIterator["asyncio.Task[RunEnd]"]:
        """The task, started; cancelled at the end."""
        async with asyncio.TaskGroup() as group:
            work = group.create_task(engine.run(task.run), name="run")
            try:
                await eventually(lambda: task.starts or work.done(), within=30.0, what="the task runs")
                yield work
            finally:
                work.cancel()
