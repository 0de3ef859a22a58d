"""How much memory a task is said to have used at most, in each engine."""

import asyncio
import sys
from pathlib import Path

import pytest

from compute.engines.engine import Exited
from compute.processes.strays import Strays
from tests.engine import TestEngine
from tests.integration import docker_bench, process_bench
from tests.waiting import eventually

MIB = 1 << 20


async def peak_of(folder: Path, program: str) -> int:
    made = process_bench.Bench(folder, Strays())
    ended = await made.run({"Entrypoint": [sys.executable, "-c", f"import os, time\n{program}"]})
    assert ended == Exited(0)
    return made.usage.peak_memory_bytes


async def test_that_of_a_process_is_what_it_held(tmp_path: Path) -> None:
    peak = await peak_of(tmp_path, "held = bytearray(200 << 20)\ntime.sleep(0.4)")
    assert 200 * MIB < peak < 300 * MIB


async def test_a_peak_between_two_looks_is_seen_all_the_same(tmp_path: Path) -> None:
    peak = await peak_of(tmp_path, "held = bytearray(300 << 20)\ndel held\ntime.sleep(0.4)")
    assert 300 * MIB < peak < 400 * MIB


async def test_what_processes_share_counts_once(tmp_path: Path) -> None:
    shared = """
held = bytearray(200 << 20)
for _ in range(4):
    if not os.fork():
        time.sleep(0.6)
        os._exit(0)
for _ in range(4):
    os.wait()
"""
    assert 200 * MIB < await peak_of(tmp_path / "shared", shared) < 400 * MIB


async def test_what_each_process_has_counts_for_each(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    program = f"""
import os, time
for _ in range(3):
    if not os.fork():
        held = bytearray(100 << 20)
        while not os.path.exists({str(gate)!r}):
            time.sleep(0.05)
        os._exit(0)
for _ in range(3):
    os.wait()
"""
    made = process_bench.Bench(tmp_path / "own", Strays())
    async with asyncio.TaskGroup() as group:
        running = group.create_task(made.run({"Entrypoint": [sys.executable, "-c", program]}), name="task")
        await eventually(lambda: made.usage.peak_memory_bytes > 290 * MIB, within=40, what="it is seen")
        gate.touch()
    assert running.result() == Exited(0)
    assert made.usage.peak_memory_bytes < 500 * MIB


async def test_of_a_task_that_is_over_at_once_the_peak_of_the_node_is_not_told(tmp_path: Path) -> None:
    made = process_bench.Bench(tmp_path, Strays())
    assert await made.run({"Entrypoint": ["true"]}) == Exited(0)
    assert made.usage.peak_memory_bytes == 0


@pytest.fixture(params=["docker_engine", "podman_engine"])
def any_engine(request: pytest.FixtureRequest) -> TestEngine:
    engine: TestEngine = request.getfixturevalue(request.param)
    return engine


async def test_that_of_a_container_is_what_its_processes_hold_without_the_files_that_it_wrote(
    any_engine: TestEngine, tmp_path: Path
) -> None:
    bench = docker_bench.Bench(tmp_path, any_engine)
    holds = bench.shell("held=$(head -c 60000000 /dev/zero | tr '\\0' a); sleep 1.5")
    assert await bench.ended(holds) == Exited(0)
    assert 60 * 10**6 < holds.run.usage.peak_memory_bytes < 250 * 10**6
    writes = bench.shell("head -c 200000000 /dev/zero > /outputs/file; sleep 1.5")
    assert await bench.ended(writes) == Exited(0)
    assert 0 < writes.run.usage.peak_memory_bytes < 60 * 10**6
