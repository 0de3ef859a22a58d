"""Real commands: how they end, and that nothing of them is left."""

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx
from msgspec.structs import replace

from compute.engines.engine import Broken, Exited, Run
from compute.processes.mark import ProcessMark, kill_left_over, mark_process
from shared.errors import InvalidJob
from shared.ids import ExecutionId
from shared.jobs.engine_params import read_params
from shared.jobs.spec import SpecConfig, Task
from shared.jobs.states import FailureReason
from tests.integration.process_bench import Bench, is_alive, some_execution
from tests.waiting import eventually


@pytest.fixture(params=[False, True], ids=["off", "sandboxed"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    return Bench(tmp_path, sandboxed=request.param)


@pytest.mark.parametrize("code", [0, 1, 42, 255])
async def test_an_exit_code_is_an_answer_and_no_failure(bench: Bench, code: int) -> None:
    assert await bench.shell(f"exit {code}") == Exited(code)


async def test_what_the_task_writes_is_in_the_result(bench: Bench) -> None:
    await bench.shell("echo out; echo err >&2; echo file > outputs/file")
    assert (bench.read("stdout"), bench.read("stderr")) == ("out\n", "err\n")
    assert (bench.workspace.folder / "outputs" / "file").read_text() == "file\n"


async def test_binary_output_is_in_the_result_byte_for_byte(bench: Bench) -> None:
    script = "head -c 3000000 /dev/urandom > copy; cat copy; printf 'no newline' >&2"
    assert await bench.shell(script) == Exited(0)
    assert (bench.workspace.result / "stdout").read_bytes() == (bench.workspace.folder / "copy").read_bytes()
    assert bench.read("stderr") == "no newline"


async def test_nothing_of_ten_million_lines_is_lost(bench: Bench) -> None:
    assert await bench.shell("seq 10000000") == Exited(0)
    stdout = bench.workspace.result / "stdout"
    assert stdout.stat().st_size == sum(9 * 10 ** (n - 1) * (n + 1) for n in range(1, 8)) + 9
    with stdout.open("rb") as file:
        file.seek(-18, os.SEEK_END)
        assert file.read() == b"\n9999999\n10000000\n"[-18:]


async def test_two_gibibytes_of_output_are_stopped_at_the_limit(bench: Bench) -> None:
    script = "trap '' TERM; head -c 2147483648 /dev/zero; while :; do sleep 0.05; done"
    end = await bench.shell(script, output_limit_bytes=10 << 20, grace_seconds=0.2)
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED
    assert "10,485,760 bytes" in end.detail


@pytest.mark.parametrize("mistake", ["SEGV", "ABRT", "PIPE"])
async def test_a_death_by_a_mistake_is_told_as_a_shell_tells_it(bench: Bench, mistake: str) -> None:
    assert await bench.shell(f"kill -{mistake} $$") == Exited(128 + signal.Signals[f"SIG{mistake}"])


@pytest.mark.parametrize("name", ["KILL", "TERM", "INT", "HUP", "USR1"])
async def test_a_task_that_somebody_kills_is_no_exit(bench: Bench, name: str) -> None:
    """Such as the kernel, for want of memory."""
    async with bench.running("echo half; while :; do :; done") as task:
        await eventually(lambda: bench.read("stdout") == "half\n")
        mark = bench.marks[0]
        assert mark is not None
        os.kill(mark.pid, signal.Signals[f"SIG{name}"])
        end = await task
    assert isinstance(end, Broken)
    assert (end.reason, end.reason.retryable) == (FailureReason.TASK_KILLED, True)
    assert f"SIG{name}" in end.detail


@pytest.mark.parametrize("code", [137, 143])
async def test_an_exit_code_that_looks_like_a_signal_is_one(bench: Bench, code: int) -> None:
    end = await bench.shell(f"sh -c 'kill -{code - 128} $$'; exit {code}")
    if bench.is_sandboxed and code == 137:  # bubblewrap does not tell the two apart
        assert isinstance(end, Broken)
        assert end.reason is FailureReason.TASK_KILLED
    else:
        assert end == Exited(code)


async def test_a_task_that_kills_itself_is_no_exit(bench: Bench) -> None:
    end = await bench.shell("kill -9 $$")
    assert isinstance(end, Broken)
    assert (end.reason, "SIGKILL" in end.detail) == (FailureReason.TASK_KILLED, True)


async def test_the_task_sees_its_own_environment_and_no_other(bench: Bench) -> None:
    params = {"Entrypoint": ["/usr/bin/env"], "EnvironmentVariables": ["GREETING=a=b", "TARPON_EXECUTION_ID=e-9"]}
    await bench.run(params)
    seen = dict(line.split("=", 1) for line in bench.read("stdout").splitlines())
    assert seen.pop("PWD", str(bench.workspace.folder)) == str(bench.workspace.folder)
    assert seen == {
        "PATH": os.environ["PATH"],
        "LANG": "C.UTF-8",
        "HOME": str(bench.workspace.folder),
        "GREETING": "a=b",
        "TARPON_EXECUTION_ID": bench.id,
    }


async def test_a_relative_folder_of_the_path_is_one_of_the_task(bench: Bench) -> None:
    tool = bench.workspace.folder / "outputs" / "true"
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    end = await bench.run({"Entrypoint": ["true"], "EnvironmentVariables": ["PATH=outputs:/bin"]})
    assert end == Exited(0)
    assert (bench.workspace.result / "stdout").read_text() == "found\n"


async def test_a_program_is_told_its_name_and_not_where_it_was_found(bench: Bench) -> None:
    await bench.run({"Entrypoint": ["cat", "/proc/self/cmdline"]})
    assert (bench.workspace.result / "stdout").read_text().split("\0")[0] == "cat"


async def test_the_keys_of_the_parameters_are_read_in_any_case(bench: Bench) -> None:
    params = {"ENTRYPOINT": ["/bin/pwd"], "workingdirectory": "/deep/down", "Unknown": 1}
    assert await bench.run(params) == Exited(0)
    assert bench.read("stdout") == f"{bench.workspace.folder}/deep/down\n"


async def test_the_task_has_no_input_and_inherits_no_file_of_the_node(bench: Bench) -> None:
    await bench.shell("cat; ls /proc/self/fd | wc -l; stat -L -c %t:%T /proc/self/fd/0 /dev/null")
    # 0, 1, 2 and the folder that ls reads.
    assert bench.read("stdout") == "4\n1:3\n1:3\n"


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"Entrypoint": ["no-such-command-here"]}, "was not found"),
        ({"Entrypoint": ["/etc/passwd"]}, "may not be executed"),
        ({"Entrypoint": ["./script"]}, "is neither a program nor a script"),
        ({"Entrypoint": ["/bin/true"], "Parameters": ["x" * 200_000]}, "too long arguments"),
        ({"Entrypoint": ["/bin/true"], "EnvironmentVariables": ["LONG=" + "x" * 200_000]}, "too long arguments"),
        ({"Entrypoint": ["/bin/sh/none"]}, "was not found"),
    ],
)
async def test_a_command_that_cannot_start_is_told_in_words_of_the_user(
    bench: Bench, params: dict[str, Any], problem: str
) -> None:
    script = bench.workspace.folder / "script"
    script.write_bytes(b"\0\0")
    script.chmod(0o755)
    end = await bench.run(params)
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.TASK_NOT_STARTED
    assert problem in end.detail
    assert bench.is_sandboxed or bench.marks == []
    assert bench.read("stderr") == "", "the walls' own words are not the task's"


async def test_children_that_outlive_the_task_are_killed(bench: Bench) -> None:
    end = await bench.shell("sleep 1000 & echo $! > child; (trap '' TERM; sleep 1000) & exit 5")
    assert end == Exited(5)
    assert not bench.lives("child")


async def test_stopping_asks_first(bench: Bench) -> None:
    script = "trap 'echo stopped > note; exit 0' TERM; echo > ready; while :; do sleep 0.01; done"
    async with bench.running(script) as task:
        await eventually(bench.has("ready"))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert (bench.workspace.folder / "note").read_text() == "stopped\n"


async def test_a_task_that_ignores_the_request_is_killed_with_its_children(bench: Bench) -> None:
    script = "trap '' TERM; sleep 1000 & echo $! > child; while :; do sleep 0.01; done"
    begun = time.monotonic()
    async with bench.running(script, grace_seconds=0.2) as task:
        await eventually(bench.has("child"))
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert not bench.lives("child")
    assert bench.marks[0] is not None
    assert not is_alive(bench.marks[0].pid)
    assert time.monotonic() - begun < 5


async def test_a_second_cancellation_does_not_leave_the_task_behind(bench: Bench) -> None:
    async with bench.running("trap '' TERM; while :; do sleep 0.01; done", grace_seconds=0.3) as task:
        task.cancel()
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    assert bench.marks[0] is not None
    assert not is_alive(bench.marks[0].pid)


@pytest.mark.parametrize(("stream", "redirect"), [("stdout", ""), ("stderr", ">&2")])
async def test_a_task_that_writes_too_much_is_stopped(bench: Bench, stream: str, redirect: str) -> None:
    end = await bench.shell(f"while :; do echo more and more {redirect}; done", output_limit_bytes=10_000)
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED
    assert stream in end.detail
    assert "10,000 bytes" in end.detail


async def test_too_much_output_counts_also_when_the_task_has_ended_before_it_is_seen(bench: Bench) -> None:
    end = await bench.shell("head -c 20000 /dev/zero", output_limit_bytes=10_000, check_seconds=60.0)
    assert isinstance(end, Broken)


async def test_a_start_that_cannot_be_noted_ends_the_task(bench: Bench) -> None:
    pids: list[int] = []

    def on_started(mark: ProcessMark | None) -> None:
        assert mark is not None
        pids.append(mark.pid)
        raise OSError(28, "No space left on device")

    task = Task(name="main", engine=SpecConfig(type="process", params={"Entrypoint": ["sleep", "1000"]}))
    run = Run(execution_id=bench.id, task=task, workspace=bench.workspace, environment={}, on_started=on_started)
    with pytest.raises(OSError, match="No space"):
        await bench.engine().run(run)
    assert not is_alive(pids[0])


async def test_nothing_blocks_the_loop(bench: Bench) -> None:
    with blockbuster_ctx():
        assert await bench.shell("echo hello") == Exited(0)


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"Entrypoint": []},
        {"Entrypoint": [""]},
        {"Entrypoint": "sh"},
        {"Parameters": [["sh"]]},
        {"Entrypoint": ["a\0b"]},
        {"Entrypoint": ["true"], "EnvironmentVariables": ["NOVALUE"]},
        {"Entrypoint": ["true"], "EnvironmentVariables": ["=x"]},
        {"Entrypoint": ["true"], "WorkingDirectory": "../up"},
    ],
)
def test_parameters_that_make_no_command_are_refused(bench: Bench, params: dict[str, Any]) -> None:
    with pytest.raises(InvalidJob):
        read_params(params, bench.engine().parameters)


def _run_in_session(script: str, folder: Path, execution_id: ExecutionId) -> ProcessMark:
    """The mark of a shell that has ended since."""
    environment = {"TARPON_EXECUTION_ID": execution_id}
    with subprocess.Popen(["/bin/sh", "-c", script], cwd=folder, env=environment, start_new_session=True) as leader:
        return mark_process(leader.pid)


class TestLeftOvers:
    """What is recognised as a task of a killed node."""

    async def test_a_left_over_group_is_killed(self, bench: Bench) -> None:
        async with bench.running("sleep 1000 & echo $! > child; sleep 1000") as task:
            await eventually(bench.has("child"))
            mark = bench.marks[0]
            assert mark is not None
            killed = await asyncio.to_thread(kill_left_over, mark, bench.id)
            assert killed >= 2
            end = await task
            assert isinstance(end, Broken)
            assert end.reason is FailureReason.TASK_KILLED
        assert not bench.lives("child")

    async def test_members_are_killed_although_their_leader_is_gone(self, bench: Bench, tmp_path: Path) -> None:
        inner = "sleep 1000 & echo $! > child"
        mark = await asyncio.to_thread(_run_in_session, inner, tmp_path, bench.id)
        child = int((tmp_path / "child").read_text())
        assert is_alive(child)
        assert await asyncio.to_thread(kill_left_over, mark, some_execution()) == 0
        assert is_alive(child)
        assert await asyncio.to_thread(kill_left_over, mark, bench.id) == 1
        await eventually(lambda: not is_alive(child))

    @pytest.mark.parametrize("change", [{"start_ticks": 1}, {"boot_id": "another"}])
    async def test_a_process_that_only_has_the_number_is_not_touched(
        self, bench: Bench, change: dict[str, Any]
    ) -> None:
        async with bench.running("sleep 1000"):
            mark = bench.marks[0]
            assert mark is not None
            other = replace(mark, **change)
            assert await asyncio.to_thread(kill_left_over, other, some_execution()) == 0
            assert is_alive(mark.pid)
