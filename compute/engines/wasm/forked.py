"""What a forked process does: compile one module, or run one, behind walls. Then it ends."""

import os
from collections.abc import Sequence

from compute.engines.wasm import walls
from compute.engines.wasm.orders import (
    ModuleCompiled,
    ModuleRejected,
    ModuleUnusable,
    Report,
    compile_orders,
    content_of,
    run_orders,
)
from compute.engines.wasm.runtime import Runtime, UnusableModule

_STDIN, _STDOUT, _STDERR = 0, 1, 2


def compile_module(runtime: Runtime, descriptors: Sequence[int]) -> Report:
    """The descriptors are those of COMPILE_DESCRIPTORS after the channel."""
    told, source, target = descriptors
    order = compile_orders.decode(content_of(told))
    content = content_of(source)
    walls.limit_compiling(order.seconds, order.most_bytes)
    walls.close_in(())
    compiled = runtime.compile(content)
    if isinstance(compiled, ModuleRejected):
        return compiled
    rest = memoryview(compiled)
    while rest:
        rest = rest[os.write(target, rest) :]
    return ModuleCompiled()


def run_module(runtime: Runtime, descriptors: Sequence[int]) -> Report:
    """The descriptors are those of RUN_DESCRIPTORS after the channel, and of the modules."""
    told, stdout, stderr, *modules = descriptors
    order = run_orders.decode(content_of(told))
    os.dup2(stdout, _STDOUT)
    os.dup2(stderr, _STDERR)
    try:
        loaded = runtime.load(modules)
    except UnusableModule as problem:
        return ModuleUnusable(number=problem.number)
    for each in (told, stdout, stderr, *modules):
        os.close(each)
    if order.umask is not None:
        os.umask(order.umask)
    walls.limit_memory(order.most_bytes)
    walls.close_in(order.folders)
    return runtime.run(order, loaded)
