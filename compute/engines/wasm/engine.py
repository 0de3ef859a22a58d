"""The engine that runs WebAssembly modules with WASI preview 1, each in a process of its own.

Such a process is forked from a helper that has the runtime loaded, so that a module starts within milliseconds, and a
crash of the runtime is the end of one execution. A module reaches its inputs and its result paths; it has no network.
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from compute.disk.disk_watch import LEAST_PAUSE_SECONDS, disk_exceeded
from compute.engines.engine import Broken, Run, RunEnd, Unfit
from compute.engines.limit_ends import over_disk
from compute.engines.wasm.compiled_modules import CompiledModules
from compute.engines.wasm.compiling import Compiling
from compute.engines.wasm.helper_process import HelperProcess
from compute.engines.wasm.module_task import END_SECONDS, FORK_SECONDS, ModuleTask
from compute.engines.wasm.modules import ModuleRefused
from compute.processes.mark import ProcessMark, kill_left_over
from compute.processes.strays import Strays
from shared.ids import ExecutionId
from shared.jobs.engine_params import WASM, WasmParams, read_params
from shared.jobs.quantities import parse_bytes
from shared.jobs.spec import Task
from shared.runtime.aio import finish, first_of, in_thread
from shared.runtime.durable import boot_id
from shared.settings.config import WasmSettings

PACKAGE = "wasmtime"
FOLDER = "wasm"
OUTPUT_LIMIT_BYTES = 1 << 30
"""For stdout and for stderr each."""
CHECK_SECONDS = 0.25
BEGINNERS = min(16, 4 * (os.cpu_count() or 1))
"""Threads that begin modules, and mostly wait for what the helper forks."""


def runtime_version() -> str:
    """Of the runtime on this machine; empty where there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return ""


class WasmEngine:
    """Nothing is started before it is needed, and all is ended by `close`."""

    name = WASM
    parameters = WasmParams
    isolation = PACKAGE
    shows_inputs = True

    def __init__(
        self,
        folder: Path,
        settings: WasmSettings,
        strays: Strays,
        *,
        output_limit_bytes: int = OUTPUT_LIMIT_BYTES,
        disk_check_seconds: float = LEAST_PAUSE_SECONDS,
    ) -> None:
        """`folder` is the node's own. Blocks. Raises OSError."""
        cache = CompiledModules.open(folder / FOLDER, runtime_version(), boot_id(), parse_bytes(settings.cache_limit))
        self._helper = HelperProcess(strays)
        self._compiling = Compiling(self._helper, cache, timeout_seconds=float(settings.compile_timeout))
        self._module_limit_bytes = parse_bytes(settings.module_limit)
        self._output_limit_bytes = output_limit_bytes
        self._disk_check_seconds = disk_check_seconds
        self._beginners = ThreadPoolExecutor(BEGINNERS, thread_name_prefix="begin-wasm")

    def __repr__(self) -> str:
        return f"<WasmEngine by {self._helper!r}>"

    def close(self) -> None:
        """Blocks for moments. What still runs is ended."""
        self._helper.close()
        self._beginners.shutdown(wait=False)

    @property
    def helper_pid(self) -> int:
        """Of the process that starts modules; 0 where none was needed yet."""
        return self._helper.pid

    def unfit(self, task: Task) -> Unfit | None:  # noqa: ARG002  # a job that asks for a network is not valid
        return None

    async def run(self, run: Run) -> RunEnd:
        params = read_params(run.task.engine.params, WasmParams)
        task = ModuleTask(run, params, self._helper, output_limit_bytes=self._output_limit_bytes)
        try:
            return await self._run(task, run)
        except ModuleRefused as refused:
            return refused.end
        finally:
            if not task.close_if_over():
                await finish(asyncio.to_thread(self._clear_away, task), within=2 * END_SECONDS + FORK_SECONDS)

    def end_left_over(self, process: ProcessMark | None, execution_id: ExecutionId) -> int:
        return kill_left_over(process, execution_id)

    async def _run(self, task: ModuleTask, run: Run) -> RunEnd:
        begin = partial(task.prepare, self._compiling, self._module_limit_bytes)
        end = await in_thread(begin, within=2 * FORK_SECONDS, pool=self._beginners)
        if task.missing:
            for number in task.missing:
                task.has(number, await self._compiling.compiled(task.modules[number], run.on_progress))
            end = await in_thread(task.begin, within=2 * FORK_SECONDS, pool=self._beginners)
        if end is not None:
            return end
        broken = await first_of(self._over_or_broken(task), self._over_disk(run))
        return await asyncio.to_thread(task.end) if broken is None else broken

    async def _over_or_broken(self, task: ModuleTask) -> Broken | None:
        """None when the module has ended by itself."""
        while True:
            try:
                async with asyncio.timeout(CHECK_SECONDS):
                    await task.process.over()
            except TimeoutError:
                if broken := await asyncio.to_thread(task.broken_limit):
                    return broken
            else:
                return None

    async def _over_disk(self, run: Run) -> Broken:
        limit_bytes = run.resources.disk
        used = await disk_exceeded(run.workspace, limit_bytes, pause_seconds=self._disk_check_seconds)
        return over_disk(used, limit_bytes)

    def _clear_away(self, task: ModuleTask) -> None:
        task.stop()
        if (module := task.unusable()) is not None:
            self._compiling.forget(module)
        task.close()
