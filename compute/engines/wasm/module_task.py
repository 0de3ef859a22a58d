"""One task of the wasm engine: from its inputs to the end of its process."""

import os
from contextlib import ExitStack
from dataclasses import replace

from compute.disk.result_contents import STDERR, STDOUT
from compute.engines import reproducible
from compute.engines.engine import Broken, Exited, Run, RunEnd
from compute.engines.limit_ends import over_output
from compute.engines.wasm.compiling import Compiling
from compute.engines.wasm.ends import end_of_module
from compute.engines.wasm.folders import folders_of
from compute.engines.wasm.forked_process import ForkedProcess
from compute.engines.wasm.helper_process import HelperProcess
from compute.engines.wasm.modules import SourceModule, modules_of
from compute.engines.wasm.orders import ModuleUnusable, RunOrder
from shared.jobs.engine_params import WasmParams

OWN_MEMORY_BYTES = 64 << 20
"""For the runtime itself, beside the memories of the module."""
FORK_SECONDS = 60.0
END_SECONDS = 30.0
AT_ONCE_SECONDS = 0.02
"""So long the thread that has started a module waits for its end: less work than to have the event loop told of it."""


class ModuleTask:
    """Every method blocks, and is for a thread; `close` comes last, whatever was called before."""

    def __init__(self, run: Run, params: WasmParams, helper: HelperProcess, *, output_limit_bytes: int) -> None:
        self.missing: list[int] = []
        """Numbers of the modules that have to be compiled first."""
        self.modules: list[SourceModule] = []
        self._run = run
        self._params = params
        self._helper = helper
        self._output_limit_bytes = output_limit_bytes
        self._compiled: dict[int, int] = {}
        self._process: ForkedProcess | None = None
        self._unwanted = False

    def __repr__(self) -> str:
        return f"<ModuleTask {self._run.execution_id}>"

    @property
    def process(self) -> ForkedProcess:
        assert self._process is not None
        return self._process

    def prepare(self, compiling: Compiling, module_limit_bytes: int) -> RunEnd | None:
        """Begin it, unless something is `missing`. The end of what is over in a moment.

        Raises ModuleRefused, OSError.
        """
        self._run.prepare()
        self.modules = modules_of(self._run, self._params, module_limit_bytes)
        for number, module in enumerate(self.modules):
            if (ready := compiling.ready(module)) is None:
                self.missing.append(number)
            else:
                self.has(number, ready)
        return None if self.missing else self.begin()

    def has(self, number: int, compiled: int) -> None:
        """Of the module of this number, whose bytes nobody needs any more: a task may run for long."""
        self._compiled[number] = compiled
        self.modules[number] = replace(self.modules[number], content=b"")

    def begin(self) -> RunEnd | None:
        """As `prepare`, once nothing is missing."""
        order = self._order()
        with ExitStack() as opened:
            outputs = {}
            for name in (STDOUT, STDERR):
                outputs[name] = self._run.workspace.open_output(name)
                opened.callback(os.close, outputs[name])
            modules = [self._compiled[number] for number in range(len(self.modules))]
            process = self._helper.run(order, stdout=outputs[STDOUT], stderr=outputs[STDERR], modules=modules)
        self._process = process
        process.forked_within(FORK_SECONDS)
        if self._unwanted:  # it took so long that nobody waits for it any more
            self.stop()
            self.close()
            return None
        self._run.on_started(process.mark())
        if not process.over_within(AT_ONCE_SECONDS):
            return None
        end = self.end()
        if isinstance(end, Exited):
            self._run.on_exited(end.exit_code)
        return end

    def end(self) -> RunEnd:
        """Of a process that is over."""
        process = self.process
        self._run.usage.saw(process.reaped.peak_bytes if process.reaped else 0)
        if process.reaped is not None:
            self._run.workspace.nobody_is_left()
        end = end_of_module(self._params.entry_module, process, self._run.resources.memory)
        return self.broken_limit() or end

    def broken_limit(self) -> Broken | None:
        for name in (STDOUT, STDERR):
            if (self._run.workspace.result / name).stat().st_size > self._output_limit_bytes:
                return over_output(name, self._output_limit_bytes)
        return None

    def unusable(self) -> SourceModule | None:
        """What was compiled of it cannot be run."""
        report = self._process.report if self._process else None
        return self.modules[report.number] if isinstance(report, ModuleUnusable) else None

    def stop(self) -> None:
        """Nothing of it runs afterwards."""
        self._unwanted = True
        if self._process is not None and not self._process.is_over:
            self._process.end(END_SECONDS)
            if self._process.reaped is not None:
                self._run.usage.saw(self._process.reaped.peak_bytes)

    def close_if_over(self) -> bool:
        """Whether there is nothing to be waited for; alone of all these it does not block."""
        if self._process is None or not self._process.is_over or self.unusable() is not None:
            return False
        self.close()
        return True

    def close(self) -> None:
        for each in self._compiled.values():
            os.close(each)
        self._compiled.clear()
        if self._process is not None:
            self._process.close()

    def _order(self) -> RunOrder:
        memories = max(1, sum(each.memories for each in self.modules))
        memory = self._run.resources.memory
        return RunOrder(
            names=tuple(each.names for each in self.modules),
            entrypoint=self._params.entrypoint,
            arguments=(self.modules[-1].names[-2], *self._params.parameters),
            variables=self._run.variables(self._params.variables),
            folders=folders_of(self._run, (each.path for each in self.modules)),
            memories=memories,
            memory_bytes=memory // memories,
            most_bytes=memory + OWN_MEMORY_BYTES if memory else 0,
            umask=reproducible.UMASK if self._run.task.reproducible else None,
        )
