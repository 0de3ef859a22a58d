"""Tasks that mean harm, or have a bug that looks like it: what they start ends with them, and limits hold."""

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from compute.engines.engine import Broken, Exited
from compute.processes.mark import kill_left_over
from compute.processes.strays import Strays
from compute.processes.table import children, everybody, named_execution
from shared.jobs.capacity import Capacity
from shared.jobs.states import FailureReason
from tests.integration.process_bench import Bench, is_alive, some_execution
from tests.waiting import eventually

MIB = 1 << 20
FOREVER = "while :; do sleep 0.05; done"
DAEMON = "setsid sh -c 'echo $$ > daemon; exec sleep 1000' & until [ -s daemon ]; do sleep 0.01; done"
HIDDEN_DAEMON = """
    (env -i /bin/sh -c 'setsid sh -c "echo \\$\\$ > hidden; exec sleep 1000" &' &)
    until [ -s hidden ]; do sleep 0.01; done
"""
# Both stop by themselves at some hundreds of processes, lest a bug fill the machine that runs the tests.
BOMB = "bomb() { [ $1 = 0 ] || { bomb $(($1 - 1)) | bomb $(($1 - 1)) & }; sleep 1000; }; bomb 7"
WANDERING_BOMB = """
import os, time
for _ in range(9):
    if os.fork() == 0:
        os.setsid()
    time.sleep(0.03)
time.sleep(1000)
"""


@pytest.fixture
def bench(tmp_path: Path, strays: Strays) -> Bench:
    return Bench(tmp_path, strays)


def left_of(bench: Bench) -> list[int]:
    return [process.pid for process in everybody() if named_execution(process.pid) == bench.id]


# ---- what a task starts ends with it --------------------------------------------------------------------------------


async def test_a_daemon_in_a_session_of_its_own_is_killed_at_the_end(bench: Bench) -> None:
    assert await bench.shell(f"{DAEMON}; exit 3") == Exited(3)
    assert not is_alive(bench.pid_in("daemon"))


async def test_a_daemon_that_has_cleared_its_environment_is_killed_at_the_end(bench: Bench) -> None:
    assert await bench.shell(HIDDEN_DAEMON) == Exited(0)
    assert not is_alive(bench.pid_in("hidden"))


async def test_a_daemon_and_all_its_children_are_killed_when_the_task_is_stopped(bench: Bench) -> None:
    script = (
        "setsid sh -c 'trap \"\" TERM; sleep 1000 & echo $! > child; wait' & until [ -s child ]; do sleep 0.01; done"
    )
    async with bench.running(f"{script}; echo > ready; {FOREVER}", grace_seconds=0.2):
        await eventually(bench.has("ready"))
    assert not is_alive(bench.pid_in("child"))
    assert left_of(bench) == []


async def test_a_daemon_lives_as_long_as_its_own_task(bench: Bench, strays: Strays, tmp_path: Path) -> None:
    async with bench.running(f"({DAEMON}); {FOREVER}"):
        await eventually(bench.has("daemon"))
        assert await Bench(tmp_path, strays).shell("true") == Exited(0)
        assert is_alive(bench.pid_in("daemon"))
    assert not is_alive(bench.pid_in("daemon"))


async def test_what_has_hidden_itself_lives_until_no_task_is_left_that_may_have_started_it(
    bench: Bench, strays: Strays, tmp_path: Path
) -> None:
    other, later = Bench(tmp_path, strays), Bench(tmp_path, strays)
    async with AsyncExitStack() as first:
        task = await first.enter_async_context(bench.running(FOREVER))
        assert await other.shell(HIDDEN_DAEMON) == Exited(0)
        await asyncio.sleep(0.05)  # starts are told apart by hundredths of a second
        async with later.running(FOREVER):
            assert is_alive(other.pid_in("hidden"))
            assert not task.done()
            await first.aclose()
            assert not is_alive(other.pid_in("hidden"))


async def test_orphans_that_end_while_the_task_runs_are_not_kept_as_zombies(bench: Bench) -> None:
    def zombies() -> set[int]:
        return {each.pid for each in children(os.getpid(), os.getpid()) if each.has_ended}

    script = f"for i in $(seq 30); do (sh -c 'exec setsid true' &); done; echo > ready; {FOREVER}"
    before = zombies()  # other tests may have left some
    async with bench.running(script):
        await eventually(bench.has("ready"))
        await eventually(lambda: not zombies() - before)
        assert left_of(bench), "the task itself goes on"


@pytest.fixture
def own_child(strays: Strays) -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(["sleep", "1000"], env={}, process_group=0) as process:
        yield process
        process.kill()


async def test_what_the_node_itself_has_started_is_never_touched(
    bench: Bench, own_child: "subprocess.Popen[bytes]"
) -> None:
    assert await bench.shell(f"{DAEMON}; {HIDDEN_DAEMON}") == Exited(0)
    assert own_child.poll() is None


def _sleeping() -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "1000"], env={}, start_new_session=True)


async def test_what_was_there_before_the_first_task_is_never_touched(tmp_path: Path) -> None:
    with _sleeping() as before:
        strays = Strays()
        await asyncio.to_thread(strays.adopt)
        try:
            assert await Bench(tmp_path, strays).shell(HIDDEN_DAEMON) == Exited(0)
            assert before.poll() is None
        finally:
            strays.release()
            before.kill()


async def test_nothing_blocks_the_loop(bench: Bench) -> None:
    with blockbuster_ctx():
        assert await bench.shell(f"{DAEMON}; sleep 0.3", resources=Capacity(memory=1 << 30, disk=1 << 30)) == Exited(0)


# ---- what a killed node leaves --------------------------------------------------------------------------------------


async def test_a_daemon_of_a_killed_node_is_found_wherever_it_went(bench: Bench) -> None:
    async with bench.running(f"{DAEMON}; {FOREVER}") as task:
        await eventually(bench.has("daemon"))
        assert await asyncio.to_thread(kill_left_over, bench.marks[0], bench.id) >= 2
        assert isinstance(await task, Broken)
    assert not is_alive(bench.pid_in("daemon"))


async def test_a_task_whose_start_the_killed_node_could_not_note_is_found_by_its_environment(bench: Bench) -> None:
    async with bench.running(f"{DAEMON}; {FOREVER}") as task:
        await eventually(bench.has("daemon"))
        assert await asyncio.to_thread(kill_left_over, None, some_execution()) == 0
        assert await asyncio.to_thread(kill_left_over, None, bench.id) >= 2
        assert isinstance(await task, Broken)
    assert not is_alive(bench.pid_in("daemon"))


# ---- limits ---------------------------------------------------------------------------------------------------------


async def test_a_fork_bomb_is_ended(bench: Bench) -> None:
    end = await bench.broken(BOMB, processes_limit=50)
    assert end.reason is FailureReason.PROCESS_LIMIT_EXCEEDED
    assert "more than 50 processes and threads" in end.detail
    assert left_of(bench) == []


async def test_a_fork_bomb_that_scatters_over_sessions_is_ended(bench: Bench) -> None:
    script = f"{sys.executable} -c '{WANDERING_BOMB}'"
    end = await bench.broken(script, processes_limit=50)
    assert end.reason is FailureReason.PROCESS_LIMIT_EXCEEDED
    assert left_of(bench) == []


async def test_processes_that_have_left_the_group_count(bench: Bench) -> None:
    script = f"for i in $(seq 20); do (setsid sleep 1000 &); done; {FOREVER}"
    assert (await bench.broken(script, processes_limit=15)).reason is FailureReason.PROCESS_LIMIT_EXCEEDED


async def test_too_much_memory_ends_the_task_and_says_so(bench: Bench) -> None:
    script = f"exec {sys.executable} -c 'import time; held = bytearray(100 << 20); time.sleep(1000)'"
    end = await bench.broken(script, resources=Capacity(memory=50 * MIB))
    assert end.reason is FailureReason.OUT_OF_MEMORY
    assert "52,428,800 bytes (Resources.Memory)" in end.detail


async def test_memory_that_several_processes_share_counts_once(bench: Bench) -> None:
    program = "import os, time; held = bytearray(60 << 20); [os.fork() for _ in range(3)]; time.sleep(0.5)"
    end = await bench.shell(f"{sys.executable} -c '{program}'; wait", resources=Capacity(memory=180 * MIB))
    assert end == Exited(0)


@pytest.mark.parametrize("place", ["outputs/file", "../result/stdout"])
async def test_too_many_bytes_on_disk_end_the_task_and_say_so(bench: Bench, place: str) -> None:
    end = await bench.broken(f"head -c 20000000 /dev/zero > {place}; {FOREVER}", resources=Capacity(disk=8 * MIB))
    assert end.reason is FailureReason.DISK_LIMIT_EXCEEDED
    assert re.search(r"took \d+\.\d MiB of .* limit of 8\.0 MiB", end.detail)
    assert "Resources.Disk" in end.detail


async def test_a_file_counts_once_by_what_is_allocated_and_no_link_is_followed(bench: Bench) -> None:
    script = """
        head -c 5000000 /dev/zero > file; for i in 1 2 3; do ln file "name $i"; done
        truncate -s 1G sparse; ln -s / everything; sleep 0.5
    """
    assert await bench.shell(script, resources=Capacity(disk=8 * MIB)) == Exited(0)


async def test_who_breaks_a_limit_gets_no_time_to_break_it_further(bench: Bench) -> None:
    begun = time.monotonic()
    await bench.broken("trap '' TERM; while :; do echo more; done", output_limit_bytes=10_000, grace_seconds=30.0)
    assert time.monotonic() - begun < 10
