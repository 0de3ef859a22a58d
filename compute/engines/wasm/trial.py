"""A trial of the runtime on this machine: whether modules can be compiled behind walls."""

import os

from compute.engines.wasm.forked_process import ForkedProcess
from compute.engines.wasm.helper_process import HelperProcess
from compute.engines.wasm.module_bytes import EMPTY
from compute.engines.wasm.orders import CompileOrder, ModuleCompiled, in_memory
from compute.processes.strays import Strays

TRIAL_SECONDS = 20.0
_MEMORY_BYTES = 1 << 28


def runtime_works() -> bool:
    """Blocks. Raises OSError."""
    helper, source, target = HelperProcess(Strays()), in_memory("module", EMPTY), os.memfd_create("compiled")
    process: ForkedProcess | None = None
    try:
        order = CompileOrder(seconds=int(TRIAL_SECONDS), most_bytes=_MEMORY_BYTES)
        process = helper.compile(order, source=source, compiled=target)
        return process.over_within(TRIAL_SECONDS) and isinstance(process.report, ModuleCompiled)
    finally:
        helper.close()
        if process is not None:
            process.close()
        os.close(source)
        os.close(target)
