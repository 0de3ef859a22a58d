"""What a module costs above its run: `python -m benchmarks.wasm [--runs N]`.

The same module in turn: in a warm process that has the runtime and the compiled module, as little as wasmtime can do;
and as a task of the engine wasm, whose node has compiled it before. Each has a store and folders of its own, a task
also a process, a workspace and walls. Then a module that sleeps is stopped by its deadline. Prints one JSON object with
medians in milliseconds. Jobs per second of a whole node: `python -m benchmarks.control_plane --engine wasm`.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import wasmtime

from benchmarks.running import warn_of_load
from compute.engines.engine import Exited
from tests import wasm_modules
from tests.integration.wasm_bench import WasmBench

WARM_UP = 5
STOPS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    arguments = parser.parse_args()
    warn_of_load()
    with tempfile.TemporaryDirectory() as folder, WasmBench.open(Path(folder)) as bench:
        print(json.dumps(asyncio.run(_measure(bench, Path(folder), arguments.runs))))


async def _measure(bench: WasmBench, folder: Path, runs: int) -> dict[str, Any]:
    (folder / "data").write_text("from outside")
    module = wasm_modules.copies(3, "data", 4, "copy")
    bare = _Bare(module, folder)
    seconds: dict[str, list[float]] = {"bare": [], "task": []}
    for number in range(WARM_UP + runs):
        for kind in ("bare", "task") if number % 2 else ("task", "bare"):
            taken = bare.run() if kind == "bare" else await _run(bench, module, folder)
            if number >= WARM_UP:
                seconds[kind].append(taken)
    found = {name: statistics.median(each) * 1000 for name, each in seconds.items()}
    late = [await _late(bench) for _ in range(STOPS)]
    return {
        "runs": runs,
        **{f"{name}_ms": round(median, 2) for name, median in found.items()},
        "more_ms": round(found["task"] - found["bare"], 2),
        "stopped_after_deadline_ms": {"median": round(statistics.median(late), 1), "most": round(max(late), 1)},
    }


class _Bare:
    def __init__(self, module: bytes, folder: Path) -> None:
        self._engine = wasmtime.Engine()
        self._module = wasmtime.Module(self._engine, module)
        self._linker = wasmtime.Linker(self._engine)
        self._linker.define_wasi()
        self._folder = str(folder)

    def run(self) -> float:
        begun = time.monotonic()
        store = wasmtime.Store(self._engine)
        wasi = wasmtime.WasiConfig()
        wasi.preopen_dir(self._folder, "/in", False)
        wasi.preopen_dir(self._folder, "/outputs", True)
        store.set_wasi(wasi)
        begin = self._linker.instantiate(store, self._module).exports(store)["_start"]
        assert isinstance(begin, wasmtime.Func)
        begin(store)
        return time.monotonic() - begun


async def _run(bench: WasmBench, module: bytes, folder: Path) -> float:
    inputs = {"/in": folder}
    begun = time.monotonic()
    end = await bench.run(module, inputs=inputs)
    taken = time.monotonic() - begun
    assert end == Exited(0), end
    bench.workspace.discard()
    return taken


async def _late(bench: WasmBench) -> float:
    """So many milliseconds after its deadline it was gone, which came while it slept."""
    async with bench.running(wasm_modules.sleeps(60)) as task:
        limit = asyncio.timeout(0.1)
        with contextlib.suppress(TimeoutError):
            async with limit:
                await task
        assert task.done()
        return (asyncio.get_running_loop().time() - (limit.when() or 0.0)) * 1000


if __name__ == "__main__":
    main()
