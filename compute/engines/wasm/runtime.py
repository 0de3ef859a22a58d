"""Wasmtime, the runtime of modules. This is the one module that knows it, and only the helper imports it."""

from collections.abc import Sequence
from typing import Any

import wasmtime

from compute.engines.wasm.orders import MAX_WORDS, Folder, ModuleExited, ModuleRejected, ModuleTrapped, Report, RunOrder

WASI = "wasi_snapshot_preview1"
START = "_start"
WARM_UPS = 10
MOST_TABLES = 64
MOST_TABLE_ELEMENTS = 10_000_000
MAX_TRACE_LINES = 6
_TOO_LARGE = ("exceeds memory limits", "exceeds table limits", "failed to allocate", "out of memory")
_CODE_MASK = 0xFF
"""Of an exit code, as of any other process on this machine."""


_PAGE_BYTES = 65536
_NOTHING = bytes.fromhex(
    "0061736d01000000010401600000030201000503010001071302066d656d6f72790200065f737461727400000a040102000b"
)
"""A module with one page of memory, whose _start does nothing."""


class _Exit(Exception):
    """The module has asked for its end."""

    def __init__(self, code: int) -> None:
        self.code = code & _CODE_MASK
        super().__init__(code)


class UnusableModule(Exception):
    """What was compiled of the module of this number is nothing that this runtime takes."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


class Runtime:
    """Made once, in the helper: what it forks has it at no cost. It has no threads, which no fork would have."""

    def __init__(self) -> None:
        config = wasmtime.Config()
        config.parallel_compilation = False
        config.wasm_threads = False
        config.native_unwind_info = False
        self._engine = wasmtime.Engine(config)
        self._linker = wasmtime.Linker(self._engine)
        self._linker.define_wasi()
        self._linker.allow_shadowing = True
        # The runtime's own knows no codes above 125.
        takes_code = wasmtime.FuncType([wasmtime.ValType.i32()], [])
        self._linker.define_func(WASI, "proc_exit", takes_code, _exit)

    def warm_up(self) -> None:
        """Run nothing a few times: what Python learns and loads by that, no fork has to learn and load again.

        A module that does anything with files would leave threads, which no fork has.
        """
        nothing = wasmtime.Module(self._engine, _NOTHING)
        order = RunOrder(
            names=(("nothing",),),
            entrypoint=START,
            arguments=("nothing",),
            variables={},
            folders=(),
            memories=1,
            memory_bytes=_PAGE_BYTES,
            most_bytes=0,
        )
        for _ in range(WARM_UPS):
            self.run(order, [nothing])

    def compile(self, source: bytes) -> bytes | ModuleRejected:
        try:
            return bytes(wasmtime.Module(self._engine, source).serialize())
        except wasmtime.WasmtimeError as error:
            return _refused(error)

    def load(self, descriptors: Sequence[int]) -> list[Any]:
        """The modules that were compiled into these. Raises UnusableModule."""
        return [self._load(number, each) for number, each in enumerate(descriptors)]

    def _load(self, number: int, descriptor: int) -> "wasmtime.Module":
        try:
            return wasmtime.Module.deserialize_file(self._engine, f"/proc/self/fd/{descriptor}")
        except wasmtime.WasmtimeError as error:
            raise UnusableModule(number) from error

    def run(self, order: RunOrder, modules: Sequence[Any]) -> Report:
        """Until the module has ended. Its output goes to this process's own."""
        store = wasmtime.Store(self._engine)
        store.set_limits(
            memory_size=order.memory_bytes or -1,
            memories=max(1, order.memories),
            tables=MOST_TABLES,
            table_elements=MOST_TABLE_ELEMENTS,
            instances=len(modules),
        )
        store.set_wasi(_wasi(order))
        try:
            begin = self._linked(store, order, modules)
            if isinstance(begin, ModuleRejected):
                return begin
            begin(store)
        except _Exit as end:
            return ModuleExited(code=end.code)
        except wasmtime.ExitTrap as end:
            return ModuleExited(code=end.code)
        except wasmtime.Trap as trap:
            return ModuleTrapped(words=_trap_words(trap))
        except wasmtime.WasmtimeError as error:
            return _refused(error)
        return ModuleExited(code=0)

    def _linked(
        self, store: "wasmtime.Store", order: RunOrder, modules: Sequence[Any]
    ) -> "wasmtime.Func | ModuleRejected":
        """The function to be called, once everything around it is there."""
        for module, names in zip(modules[:-1], order.names[:-1], strict=True):
            instance = self._linker.instantiate(store, module)
            for name in names:
                self._linker.define_instance(store, name, instance)
        found = self._linker.instantiate(store, modules[-1]).exports(store).get(order.entrypoint)
        if not isinstance(found, wasmtime.Func):
            return ModuleRejected(words=f"it exports no function {order.entrypoint[:80]!r}")
        kind = found.type(store)
        if kind.params or kind.results:
            return ModuleRejected(words=f"its {order.entrypoint[:80]!r} takes or gives values, and may do neither")
        return found


def _exit(code: int) -> None:
    raise _Exit(code)


def _wasi(order: RunOrder) -> "wasmtime.WasiConfig":
    config = wasmtime.WasiConfig()
    config.argv = list(order.arguments)
    config.env = list(order.variables.items())
    config.inherit_stdout()
    config.inherit_stderr()
    for each in order.folders:
        _show(config, each)
    return config


def _show(config: "wasmtime.WasiConfig", folder: Folder) -> None:
    config.preopen_dir(folder.path, folder.seen_as, folder.is_writable)


def _refused(error: "wasmtime.WasmtimeError") -> ModuleRejected:
    words = " ".join(str(error).split())[:MAX_WORDS]
    return ModuleRejected(words=words, wants_memory=any(each in words for each in _TOO_LARGE))


def _trap_words(trap: "wasmtime.Trap") -> str:
    """What has happened, and in which functions, the innermost first."""
    causes = [line.strip() for line in str(trap).partition("Caused by:")[2].splitlines()]
    told = [line.partition(": ")[2] if line[:1].isdigit() else line for line in causes if line]
    functions = [each.func_name or f"function {each.func_index}" for each in list(trap.frames)[:MAX_TRACE_LINES]]
    what = ", ".join(reversed(told)) or (trap.trap_code.name.lower().replace("_", " ") if trap.trap_code else "unknown")
    return f"{what.removeprefix('wasm trap: ')}, in {' called by '.join(functions)}"[:MAX_WORDS]
