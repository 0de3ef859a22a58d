"""Ends of modules, in words for the author of the job."""

import signal

from compute.engines.engine import Broken, Exited, RunEnd
from compute.engines.limit_ends import task_killed
from compute.engines.wasm import orders
from compute.engines.wasm.forked_process import ForkedProcess
from shared.jobs.quantities import format_bytes
from shared.jobs.states import FailureReason

_MAX_NAME = 100
_CRASHES = {
    *(signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS),
}


def invalid(name: str, why: str) -> Broken:
    return Broken(FailureReason.MODULE_INVALID, f"The module {name[:_MAX_NAME]!r} {why}.")


def too_large(name: str, size: int, limit_bytes: int) -> Broken:
    detail = (
        f"The module {name[:_MAX_NAME]!r} has {format_bytes(size)}, more than the {format_bytes(limit_bytes)} that this"
        " node takes (Engines.Types.Wasm.ModuleLimit)."
    )
    return Broken(FailureReason.MODULE_TOO_COMPLEX, detail)


def compiles_too_long(name: str, seconds: float) -> Broken:
    detail = (
        f"The module {name[:_MAX_NAME]!r} was not compiled within {seconds:g} s (Engines.Types.Wasm.CompileTimeout)."
    )
    return Broken(FailureReason.MODULE_TOO_COMPLEX, detail)


def end_of_compiling(name: str, process: ForkedProcess, most_bytes: int) -> Broken | None:
    """None of one that went well."""
    match process.report:
        case orders.ModuleCompiled():
            return None
        case orders.ModuleRejected(words=words, wants_memory=False):
            return invalid(name, f"cannot be compiled: {words}")
        case _:
            if process.reaped is None:
                return _helper_lost()
            detail = (
                f"The module {name[:_MAX_NAME]!r} cannot be compiled here: the compiler ended with"
                f" {_signal_name(process.reaped.exit_code)}, most likely because it needed more than"
                f" {format_bytes(most_bytes)} of memory or too much time."
            )
            return Broken(FailureReason.MODULE_TOO_COMPLEX, detail)


def end_of_module(name: str, process: ForkedProcess, memory_bytes: int) -> RunEnd:
    reaped = process.reaped
    if reaped is None:
        return _helper_lost()
    if reaped.exit_code < 0:
        return _killed(-reaped.exit_code)
    match process.report:
        case orders.ModuleExited(code=code):
            return Exited(code)
        case orders.ModuleTrapped(words=words):
            return Broken(FailureReason.MODULE_TRAPPED, f"The module trapped: {words}.{_of_memory(memory_bytes)}")
        case orders.ModuleRejected(words=words, wants_memory=True):
            detail = f"The module {name[:_MAX_NAME]!r} needs more memory than it may have, to begin with: {words}."
            return Broken(FailureReason.OUT_OF_MEMORY, f"{detail}{_of_memory(memory_bytes)}")
        case orders.ModuleRejected(words=words):
            return invalid(name, f"cannot be begun: {words}")
        case _:
            return Broken(FailureReason.NODE_ERROR, "The process of the module has ended without a word.")


def _killed(number: int) -> Broken:
    if number not in _CRASHES:
        return task_killed(_signal_name(-number))
    name = _signal_name(-number)
    detail = f"The runtime of the module crashed ({name}), by a mistake of its own or for want of memory."
    return Broken(FailureReason.RUNTIME_CRASHED, detail)


def _helper_lost() -> Broken:
    detail = "The process of the node that starts modules has ended, and the module with it."
    return Broken(FailureReason.NODE_ERROR, detail)


def _of_memory(memory_bytes: int) -> str:
    return f" It may have {format_bytes(memory_bytes)} (Resources.Memory)." if memory_bytes else ""


def _signal_name(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exit code {exit_code}"
    return signal.Signals(-exit_code).name if -exit_code in set(signal.Signals) else f"signal {-exit_code}"
