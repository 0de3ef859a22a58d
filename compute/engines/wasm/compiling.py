"""Compiling of modules: once for each, whoever wants it, and within bounds, as strangers have written them."""

import asyncio
import math
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from compute.engines.wasm.compiled_modules import CompiledModules
from compute.engines.wasm.ends import compiles_too_long, end_of_compiling
from compute.engines.wasm.forked_process import ForkedProcess
from compute.engines.wasm.helper_process import HelperProcess
from compute.engines.wasm.modules import ModuleRefused, SourceModule
from compute.engines.wasm.orders import CompileOrder, in_memory
from shared.runtime.aio import finish, in_thread

AT_ONCE = max(1, (os.cpu_count() or 1) // 2)
"""So that the node has processors left for what it runs."""
MEMORY_BYTES = 1 << 30
"""For one compiler."""
FORK_SECONDS = 60.0
END_SECONDS = 30.0


class Compiling:
    """Into `compiled`, from which everybody gets it."""

    def __init__(self, helper: HelperProcess, compiled: CompiledModules, *, timeout_seconds: float) -> None:
        self._helper = helper
        self._compiled = compiled
        self._timeout_seconds = timeout_seconds
        self._bound = asyncio.Semaphore(AT_ONCE)
        self._locks: dict[str, asyncio.Lock] = {}
        self._wanted = Counter[str]()

    def __repr__(self) -> str:
        return f"<Compiling of {len(self._locks)} modules>"

    def ready(self, module: SourceModule) -> int | None:
        """A descriptor of what was compiled of it, where it was. Blocks."""
        return self._compiled.get(module.digest)

    def forget(self, module: SourceModule) -> None:
        """What was compiled of it is of no use. Blocks."""
        self._compiled.forget(module.digest)

    async def compiled(self, module: SourceModule, on_progress: Callable[[str], None]) -> int:
        """A descriptor of what is compiled of it. Raises ModuleRefused, OSError."""
        async with self._alone(module.digest):
            ready = await asyncio.to_thread(self.ready, module)
            if ready is not None:
                return ready
            async with self._bound:
                on_progress(f"The module {module.name[:100]!r} is compiled.")
                return await self._compile(module)

    @asynccontextmanager
    async def _alone(self, digest: str) -> AsyncIterator[None]:
        lock = self._locks.setdefault(digest, asyncio.Lock())
        self._wanted[digest] += 1
        try:
            async with lock:
                yield
        finally:
            self._wanted[digest] -= 1
            if not self._wanted[digest]:
                del self._wanted[digest], self._locks[digest]

    async def _compile(self, module: SourceModule) -> int:
        target = os.memfd_create("compiled")
        try:
            process = await in_thread(lambda: self._begin(module, target), within=2 * FORK_SECONDS)
            try:
                async with asyncio.timeout(self._timeout_seconds):
                    await process.over()
            except TimeoutError:
                raise ModuleRefused(compiles_too_long(module.name, self._timeout_seconds)) from None
            finally:
                await finish(asyncio.to_thread(_end, process), within=END_SECONDS + FORK_SECONDS)
            if problem := end_of_compiling(module.name, process, MEMORY_BYTES):
                raise ModuleRefused(problem)
            await in_thread(lambda: self._compiled.put(module.digest, target), within=FORK_SECONDS)
            return os.dup(target)
        finally:
            os.close(target)

    def _begin(self, module: SourceModule, target: int) -> ForkedProcess:
        order = CompileOrder(seconds=math.ceil(self._timeout_seconds), most_bytes=MEMORY_BYTES)
        source = in_memory("module", module.content)
        try:
            process = self._helper.compile(order, source=source, compiled=target)
        finally:
            os.close(source)
        process.forked_within(FORK_SECONDS)  # its time begins when it is there
        return process


def _end(process: ForkedProcess) -> None:
    if not process.is_over:
        process.end(END_SECONDS)
    process.close()
