"""Real modules in the wasm engine: how they end, what they reach, and that nothing of them is left."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.disk.secret_files import MountedSecret
from compute.engines.engine import Broken, Exited
from shared.jobs.capacity import Capacity
from shared.jobs.durations import Duration
from shared.jobs.states import FailureReason
from shared.settings.config import WasmSettings
from tests import wasm_modules as wasm
from tests.integration.process_bench import is_alive
from tests.integration.wasm_bench import WasmBench
from tests.waiting import eventually

MIB = 1 << 20


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmBench]:
    with WasmBench.open(tmp_path_factory.mktemp("wasm")) as bench:
        yield bench


@pytest.fixture
def bench(opened: WasmBench) -> WasmBench:
    return opened


@pytest.mark.parametrize("code", [0, 1, 125, 126, 255])
async def test_an_exit_code_is_an_answer_and_no_failure(bench: WasmBench, code: int) -> None:
    assert await bench.run(wasm.exits(code)) == Exited(code)


async def test_a_module_that_returns_has_ended_well(bench: WasmBench) -> None:
    assert await bench.run(wasm.says("hello\n")) == Exited(0)
    assert (bench.read("stdout"), bench.read("stderr")) == ("hello\n", "")


async def test_a_module_reads_an_input_and_writes_a_result(bench: WasmBench, tmp_path: Path) -> None:
    (tmp_path / "data").write_text("from outside")
    end = await bench.run(wasm.copies(3, "data", 4, "copy"), inputs={"/in": tmp_path})
    assert end == Exited(0)
    assert (bench.workspace.place("/outputs") / "copy").read_text() == "from outside"


async def test_a_module_writes_to_a_folder_of_the_node_only_if_that_is_open_to_it(
    bench: WasmBench, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("from here")
    copies = wasm.copies(3, "data", 3, "copy")
    assert await bench.run(copies, inputs={"/in": tmp_path}, writable={"/in"}) == Exited(0)
    assert (tmp_path / "copy").read_text() == "from here"
    (tmp_path / "copy").unlink()
    await bench.run(copies, inputs={"/in": tmp_path})
    assert not (tmp_path / "copy").exists()


async def test_an_input_that_is_a_file_is_in_a_folder_of_its_own(bench: WasmBench, tmp_path: Path) -> None:
    for name in ("data", "other"):
        (tmp_path / name).write_text(name)
    inputs = {"/in/data": tmp_path / "data", "/in/more": tmp_path / "other"}
    assert await bench.run(wasm.copies(3, "more", 4, "copy"), inputs=inputs) == Exited(0)
    assert (bench.workspace.place("/outputs") / "copy").read_text() == "other"


async def test_a_secret_is_read_like_an_input(bench: WasmBench, tmp_path: Path) -> None:
    (tmp_path / "0").write_text("hush")
    (tmp_path / "0").chmod(0o400)
    secrets = (MountedSecret("/run/key", tmp_path / "0"),)
    assert await bench.run(wasm.copies(3, "key", 4, "copy"), secrets=secrets) == Exited(0)
    assert (bench.workspace.place("/outputs") / "copy").read_text() == "hush"


async def test_a_module_gets_its_arguments_and_variables(bench: WasmBench) -> None:
    params = {"Parameters": ["one", "2"], "EnvironmentVariables": ["GREETING=a=b"]}
    await bench.run(wasm.tells_arguments_and_variables(), params=params, environment={"TARPON_EXECUTION_ID": "e-1"})
    assert bench.read("stdout").split("\0")[:-1] == ["main.wasm", "one", "2", "GREETING=a=b", "TARPON_EXECUTION_ID=e-1"]


async def test_another_function_is_called_where_the_job_names_one(bench: WasmBench) -> None:
    text = '(module (memory (export "memory") 1) (func (export "_start") unreachable) (func (export "other")))'
    assert await bench.run(wasm.made(text), params={"Entrypoint": "other"}) == Exited(0)


@pytest.mark.parametrize("name", ["/lib/answers.wasm", "lib/answers.wasm", "answers.wasm", "answers"])
async def test_a_module_is_imported_by_its_path_or_name(bench: WasmBench, tmp_path: Path, name: str) -> None:
    (tmp_path / "answers.wasm").write_bytes(wasm.exporter())
    params = {"ImportModules": ["/lib/answers.wasm"]}
    end = await bench.run(wasm.uses(name), params=params, inputs={"/lib": tmp_path})
    assert end == Exited(42)


OUTSIDE = [
    *("../secret", "../../secret", "/etc/passwd", "link", "up", "deep/../../secret", "folder/passwd", "/"),
    *("/proc/self/environ", "../../../../../../../../etc/passwd"),
]


@pytest.mark.parametrize("fd", [3, 4], ids=["input", "result"])
@pytest.mark.parametrize("path", OUTSIDE)
async def test_a_module_opens_nothing_outside(bench: WasmBench, tmp_path: Path, path: str, fd: int) -> None:
    given = tmp_path / "in"
    (given / "deep").mkdir(parents=True)
    (tmp_path / "secret").write_text("hush")
    (given / "link").symlink_to("/etc/passwd")
    (given / "up").symlink_to("../secret")
    (given / "folder").symlink_to("/etc")
    end = await bench.run(wasm.opens(fd, path), inputs={"/in": given})
    assert isinstance(end, Exited)
    assert end.exit_code in {wasm.NOT_PERMITTED, wasm.NOT_CAPABLE, wasm.NO_ENTRY, wasm.LOOP}


@pytest.mark.parametrize("target", ["/etc/passwd", "../../secret", "/"])
async def test_a_module_goes_nowhere_by_a_link_of_its_own(bench: WasmBench, target: str) -> None:
    end = await bench.run(wasm.links_and_opens(3, target))
    assert isinstance(end, Exited)
    assert end.exit_code in {wasm.NOT_PERMITTED, wasm.NOT_CAPABLE, wasm.NO_ENTRY, wasm.LOOP}


@pytest.mark.parametrize("flags", [0, wasm.CREATE, wasm.TRUNCATE])
async def test_an_input_cannot_be_changed(bench: WasmBench, tmp_path: Path, flags: int) -> None:
    (tmp_path / "data").write_text("as it was")
    name = "new" if flags == wasm.CREATE else "data"
    end = await bench.run(wasm.opens(3, name, flags=flags, rights=wasm.WRITE), inputs={"/in": tmp_path})
    assert isinstance(end, Exited)
    assert end.exit_code
    assert [each.read_text() for each in tmp_path.iterdir()] == ["as it was"]


@pytest.mark.parametrize("module", [wasm.sleeps(30), wasm.loops()], ids=["sleeps", "loops"])
async def test_a_module_that_is_stopped_is_gone(bench: WasmBench, module: bytes) -> None:
    async with bench.running(module) as task:
        assert is_alive(bench.pid)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_alive(bench.pid)


async def test_output_is_there_while_the_module_runs(bench: WasmBench) -> None:
    async with bench.running(wasm.sleeps(30)):
        assert bench.read("stdout") == "asleep\n"


async def test_a_trap_is_told_with_where_it_was(bench: WasmBench) -> None:
    text = "half\n"
    end = await bench.broken(wasm.says(text, "(drop (i32.load (i32.const 99999999)))"))
    assert (end.reason, end.reason.retryable) == (FailureReason.MODULE_TRAPPED, False)
    assert "out of bounds memory access" in end.detail
    assert bench.read("stdout") == text


async def test_endless_recursion_is_a_trap(bench: WasmBench) -> None:
    end = await bench.broken(wasm.recurses())
    assert (end.reason, "call stack exhausted" in end.detail) == (FailureReason.MODULE_TRAPPED, True)
    assert "deeper" in end.detail


@pytest.mark.parametrize(("pages", "code"), [(200, 0), (300, 1)])
async def test_a_module_gets_the_memory_that_it_may_have(bench: WasmBench, pages: int, code: int) -> None:
    assert await bench.run(wasm.grows(pages), resources=Capacity(memory=16 * MIB)) == Exited(code)


async def test_several_memories_share_what_the_module_may_have(bench: WasmBench) -> None:
    two = '(memory (export "memory") 4) (memory 1)'
    assert await bench.run(wasm.grows(200, memory=two), resources=Capacity(memory=16 * MIB)) == Exited(1)
    assert await bench.run(wasm.grows(100, memory=two), resources=Capacity(memory=16 * MIB)) == Exited(0)


TOO_MUCH = {
    "memory": wasm.grows(0, memory='(memory (export "memory") 5000)'),
    "table": wasm.made('(module (table 10000001 funcref) (func (export "_start")))'),
}


@pytest.mark.parametrize("module", TOO_MUCH.values(), ids=TOO_MUCH.keys())
async def test_what_begins_with_too_much_memory_is_out_of_memory(bench: WasmBench, module: bytes) -> None:
    end = await bench.broken(module, resources=Capacity(memory=16 * MIB))
    assert end.reason is FailureReason.OUT_OF_MEMORY


INVALID = {
    "text": b"#!/bin/sh\n",
    "empty": b"",
    "component": b"\0asm\x0d\0\1\0",
    "damaged": b"\0asm\1\0\0\0" + b"\xff" * 100,
    "cut": wasm.says("hello")[:-9],
    "import": wasm.made('(module (import "env" "nothing" (func)) (func (export "_start")))'),
    "start": wasm.made("(module)"),
    "takes": wasm.made('(module (func (export "_start") (param i32)))'),
}


@pytest.mark.parametrize("module", INVALID.values(), ids=INVALID.keys())
async def test_what_is_no_command_is_an_invalid_module(bench: WasmBench, module: bytes) -> None:
    end = await bench.broken(module)
    assert (end.reason, end.reason.retryable) == (FailureReason.MODULE_INVALID, False)
    assert "'/app/main.wasm'" in end.detail


async def test_output_is_stopped_at_its_limit(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path, output_limit_bytes=1000) as bench:
        end = await bench.broken(wasm.fills(1))
    assert end.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED


async def test_results_are_stopped_at_their_limit(bench: WasmBench) -> None:
    end = await bench.broken(wasm.fills(3), resources=Capacity(disk=MIB))
    assert end.reason is FailureReason.DISK_LIMIT_EXCEEDED


async def test_a_module_that_somebody_kills_is_tried_again(bench: WasmBench) -> None:
    async with bench.running(wasm.sleeps(30)) as task:
        os.kill(bench.pid, signal.SIGKILL)
        end = await task
    assert isinstance(end, Broken)
    assert (end.reason, "SIGKILL" in end.detail) == (FailureReason.TASK_KILLED, True)


async def test_a_crash_of_the_runtime_is_the_end_of_one_execution(bench: WasmBench) -> None:
    async with bench.running(wasm.sleeps(30)) as task:
        os.kill(bench.pid, signal.SIGABRT)
        end = await task
    assert isinstance(end, Broken)
    assert (end.reason, end.reason.retryable) == (FailureReason.RUNTIME_CRASHED, False)
    assert await bench.run(wasm.exits(7)) == Exited(7)


async def test_modules_end_with_the_helper_and_the_next_one_has_another(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path) as bench:
        async with bench.running(wasm.sleeps(30)) as task:
            pid = bench.pid
            os.kill(bench.engine.helper_pid, signal.SIGKILL)
            end = await task
            assert isinstance(end, Broken)
            assert (end.reason, end.reason.retryable) == (FailureReason.NODE_ERROR, True)
            await eventually(lambda: not is_alive(pid))
        assert await bench.run(wasm.exits(7)) == Exited(7)


async def test_a_module_ends_when_its_engine_is_closed(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path) as bench:
        async with bench.running(wasm.sleeps(30)):
            bench.engine.close()
            await eventually(lambda: not is_alive(bench.pid))


async def test_a_module_is_compiled_once(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path) as bench:
        await bench.run(wasm.exits(3))
        assert bench.progress == ["The module '/app/main.wasm' is compiled."]
        await bench.run(wasm.exits(3))
        assert not bench.progress
    with WasmBench.open(tmp_path) as bench:
        await bench.run(wasm.exits(3))
        assert not bench.progress, "also by another process of the node"


async def test_compiled_code_that_cannot_be_used_is_compiled_anew(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path) as bench:
        await bench.run(wasm.exits(3))
        (kept,) = (tmp_path / "node" / "wasm").glob("*/*")
        kept.write_bytes(b"of another runtime")
        assert (await bench.broken(wasm.exits(3))).reason is FailureReason.NODE_ERROR
        assert await bench.run(wasm.exits(3)) == Exited(3)


async def test_a_module_that_is_too_large_is_refused(tmp_path: Path) -> None:
    with WasmBench.open(tmp_path, WasmSettings(module_limit="1KB")) as bench:
        end = await bench.broken(wasm.says("much" * 500))
    assert (end.reason, "ModuleLimit" in end.detail) == (FailureReason.MODULE_TOO_COMPLEX, True)


async def test_a_module_that_takes_too_long_to_compile_is_given_up(tmp_path: Path) -> None:
    body = "(i64.store (i32.const 8) (i64.mul (i64.load (i32.const 8)) (i64.load (i32.const 16))))" * 20_000
    with WasmBench.open(tmp_path, WasmSettings(compile_timeout=Duration(0.05))) as bench:
        end = await bench.broken(wasm.module(body))
        assert (end.reason, "CompileTimeout" in end.detail) == (FailureReason.MODULE_TOO_COMPLEX, True)
