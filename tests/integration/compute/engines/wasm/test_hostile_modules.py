"""Modules that want to harm their node: each is a failed execution with a code, or harmless, and the next one runs."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.engines.engine import Broken, Exited
from compute.engines.wasm import walls
from shared.jobs.capacity import Capacity
from shared.jobs.durations import Duration
from shared.jobs.states import FailureReason
from shared.settings.config import WasmSettings
from tests import wasm_modules as wasm
from tests.integration.wasm_bench import WasmBench

MIB = 1 << 20


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WasmBench]:
    settings = WasmSettings(module_limit="8MB", compile_timeout=Duration(2))
    with WasmBench.open(tmp_path_factory.mktemp("wasm"), settings) as opened:
        yield opened


def _leb(number: int) -> bytes:
    found = bytearray()
    while True:
        number, low = number >> 7, number & 0x7F
        found.append(low | (0x80 if number else 0))
        if not number:
            return bytes(found)


def _section(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + _leb(len(content)) + content


def _function(body: bytes) -> bytes:
    """A module with one function of these instructions, which is its _start."""
    code = b"\x00" + body + b"\x0b"
    return (
        b"\0asm\1\0\0\0"
        + _section(1, b"\x01\x60\x00\x00")
        + _section(3, b"\x01\x00")
        + _section(7, b"\x01\x06_start\x00\x00")
        + _section(10, b"\x01" + _leb(len(code)) + code)
    )


_ADDS = b"\x41\x00\x41\x01\x6a\x1a"
HOSTILE = {
    "huge": wasm.exits(0) + _section(0, b"\x01x" + bytes(9 * MIB)),
    "a section of 8 MB that means nothing": wasm.exits(0) + _section(0, b"\x01x" + bytes(7 * MIB)),
    "a section that says it has 4 GiB": wasm.exits(0) + b"\x00\xff\xff\xff\xff\x0f" + b"x" * 100,
    "a million instructions": _function(_ADDS * 1_000_000),
    "nested 200,000 deep": _function(b"\x02\x40" * 200_000 + b"\x0b" * 200_000),
    "a branch to 500,000 places": _function(b"\x41\x00\x0e" + _leb(500_000) + b"\x00" * 500_001),
    "many memories": wasm.made(f'(module {"(memory 100)" * 90} (func (export "_start")))'),
    "many tables": wasm.made(f'(module {"(table 100000 funcref)" * 90} (func (export "_start")))'),
    "a number without an end": b"\0asm\1\0\0\0\x05" + b"\xff" * 1000,
}


@pytest.mark.parametrize("module", HOSTILE.values(), ids=HOSTILE.keys())
async def test_a_module_that_is_too_much_harms_nobody(bench: WasmBench, module: bytes) -> None:
    assert await bench.run(wasm.exits(7)) == Exited(7)
    helper = bench.engine.helper_pid
    end = await bench.run(module, resources=Capacity(memory=32 * MIB))
    reasons = {FailureReason.MODULE_INVALID, FailureReason.MODULE_TOO_COMPLEX, FailureReason.OUT_OF_MEMORY}
    assert end == Exited(0) or (isinstance(end, Broken) and end.reason in reasons), end
    assert await bench.run(wasm.exits(7)) == Exited(7)
    assert bench.engine.helper_pid == helper


def _forked(escape: str) -> str:
    """What a process behind the walls tells of an attempt, as if a module had got out of the runtime."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            walls.die_with_parent(os.getppid())
            walls.close_in(())
            told = str(eval(escape, {"os": os, "signal": signal, "socket": __import__("socket"), "Path": Path}))
        except BaseException as error:  # noqa: BLE001
            told = type(error).__name__
        os.write(writing, told.encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with os.fdopen(reading) as answer:
        return answer.read()


@pytest.mark.parametrize(
    "escape",
    [
        "os.kill(os.getppid(), 0)",
        "os.fork()",
        "os.execv('/bin/true', ['true'])",
        "socket.socket()",
        "os.pidfd_open(os.getppid())",
        *(
            ["Path('/etc/passwd').read_text()", "Path('/proc/self/environ').read_text()", "os.listdir('/')"]
            if walls.landlock_version()
            else []
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_who_gets_out_of_the_runtime_reaches_nothing(escape: str) -> None:
    assert _forked(escape) == "PermissionError"
