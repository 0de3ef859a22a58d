"""WebAssembly modules on a whole node, from the command line to the result."""

import sys
from pathlib import Path

from tests import wasm_modules as wasm
from tests.e2e.stack import Stack, wait_until
from tests.integration.process_bench import is_alive

NODE = "node-a"


def _started(stack: Stack) -> Stack:
    stack.start_orchestrator()
    stack.start_compute(NODE, python=sys.executable, Engines_Disabled="docker,process")
    return stack


def _modules_of(node: int) -> list[int]:
    """Processes of modules: children of the helper, which is a child of the node."""
    return [
        int(module)
        for helper in _children(node)
        if b"compute.engines.wasm.helper" in Path(f"/proc/{helper}/cmdline").read_bytes()
        for module in _children(int(helper))
    ]


def _children(pid: int) -> list[str]:
    return [child for each in Path(f"/proc/{pid}/task").glob("*/children") for child in each.read_text().split()]


def test_a_module_of_this_machine_reads_what_is_sent_and_its_result_comes_back(stack: Stack, tmp_path: Path) -> None:
    stack = _started(stack)
    (tmp_path / "main.wasm").write_bytes(wasm.copies(3, "words", 4, "copy"))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "words").write_text("from here")
    told = stack.cli("node", "describe", NODE).stdout
    assert "wasm (wasmtime " in told
    flags = ("-i", f"{tmp_path}/data:/in", "-p", "s3managed", "-o", "outputs:/outputs", "--id-only")
    job = stack.cli("wasm", "run", *flags, str(tmp_path / "main.wasm")).stdout.strip()
    results = tmp_path / "results"
    stack.cli("job", "get", job, "--output-dir", str(results))
    assert [each.read_text() for each in results.rglob("copy")] == ["from here"]


def test_a_module_is_stopped_while_it_sleeps_and_ends_with_its_node(stack: Stack, tmp_path: Path) -> None:
    stack = _started(stack)
    (tmp_path / "sleeps.wasm").write_bytes(wasm.sleeps(600))
    (tmp_path / "traps.wasm").write_bytes(wasm.recurses())
    job = stack.cli("wasm", "run", "--id-only", "--no-wait", str(tmp_path / "sleeps.wasm")).stdout.strip()
    stack.wait_state(job, "Running")
    wait_until(lambda: "asleep" in stack.cli("job", "logs", job).stdout, within=20, what="its output is there")
    stack.cli("job", "stop", job)
    stack.wait_state(job, "Stopped")
    node = stack.computes[NODE]
    assert not _modules_of(node.process.pid)

    job = stack.cli("wasm", "run", "--id-only", "--no-wait", str(tmp_path / "sleeps.wasm")).stdout.strip()
    wait_until(lambda: _modules_of(node.process.pid), within=20, what="the module runs")
    left = _modules_of(node.process.pid)
    node.kill()
    wait_until(lambda: not any(map(is_alive, left)), within=10, what="the module has ended with the node")
    node.start()
    wait_until(lambda: _modules_of(node.process.pid), within=40, what="the module runs again")

    left = _modules_of(node.process.pid)
    assert node.stop() == 0
    assert not any(map(is_alive, left))
    node.start()
    wait_until(lambda: _modules_of(node.process.pid), within=40, what="it runs again after an orderly restart too")
    stack.cli("job", "stop", job)
    done = stack.cli("wasm", "run", str(tmp_path / "traps.wasm"), check=False)
    assert "call stack exhausted" in done.stdout + done.stderr
