"""Functions as jobs on a real stack: values, errors, output, files; nodes that lie, and nodes with another Python."""

import concurrent.futures
import itertools
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tarpon
from tarpon.executor import asynchronous
from tarpon.executor.packing import LEAST_SHARED_BYTES
from tarpon.executor.problems import CallFailed, CallLost, OtherPython, RemoteTraceback, ValueInvalid, ValueNotData
from tests.e2e.stack import NO_SANDBOX, Stack, wait_until
from tests.servers import HOST, S3Server
from tests.waiting import eventually

FACTOR = 3


class Odd(Exception):
    pass


def scaled(value: int, *, by: int = FACTOR) -> int:
    """It uses a name of this module, which no node has."""
    return value * by


def fail(kind: str) -> None:
    sys.stdout.write("before\n")
    raise {"value": ValueError("not", 3), "odd": Odd("mine")}[kind]


def write(name: str) -> str:
    Path(name).write_text("written")
    sys.stdout.write("to stdout\n")
    sys.stderr.write("to stderr\n")
    return str(Path.cwd())


@pytest.fixture(scope="module")
def stack(s3_server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Its nodes are no sandboxes, so that the Python of these tests is there."""
    made = Stack(tmp_path_factory.mktemp("executor"), s3_server)
    made.start_orchestrator()
    made.start_compute("node-a", Engines_Types_Process_Sandbox=NO_SANDBOX)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def executor(stack: Stack) -> Iterator[tarpon.Executor]:
    with tarpon.Executor(HOST, stack.api_port, python=sys.executable, parts=2) as made:
        yield made


def test_calls_are_jobs_and_their_values_come_back_in_order(executor: tarpon.Executor, stack: Stack) -> None:
    before = len(stack.api("/orchestrator/jobs?limit=1000")["Items"])
    assert list(executor.map(scaled, range(50))) == [3 * each for each in range(50)]
    assert executor.submit(scaled, 2, by=5).result() == 10
    made = len(stack.api("/orchestrator/jobs?limit=1000")["Items"]) - before
    assert made < 10, "many calls are few jobs, however slowly they are submitted"


def test_an_exception_is_raised_here_with_the_traceback_there(executor: tarpon.Executor) -> None:
    own, python = executor.submit(fail, "odd"), executor.submit(fail, "value")
    with pytest.raises(ValueError, match="not") as caught:
        python.result()
    assert caught.value.args == ("not", 3)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "in fail" in str(caught.value.__cause__)
    with pytest.raises(CallFailed, match="Odd: mine"):
        own.result()
    assert python.stdout == "before\n"
    assert isinstance(own.exception(), CallFailed)


def test_what_a_call_prints_and_writes_is_had(executor: tarpon.Executor, tmp_path: Path) -> None:
    first, second = executor.submit(write, "a.txt"), executor.submit(write, "b.txt")
    assert first.result() != second.result(), "each has a folder of its own"
    assert (first.stdout, first.stderr) == ("to stdout\n", "to stderr\n")
    assert [path.name for path in second.fetch_files(tmp_path / "files").iterdir()] == ["b.txt"]
    assert first.job_id.startswith("j-")


def test_a_large_value_is_fetched_when_it_is_asked_for(executor: tarpon.Executor, tmp_path: Path) -> None:
    future = executor.submit(os.urandom, 3 << 20)
    concurrent.futures.wait([future])
    assert future.is_large
    assert len(future.result()) == 3 << 20
    assert future.result() == future.result()
    assert [path.stat().st_size for path in future.fetch_value(tmp_path)] == [3 << 20]
    assert not executor.submit(scaled, 1).fetch_value(tmp_path)


def test_what_is_no_data_is_refused_unless_the_nodes_are_trusted(executor: tarpon.Executor, stack: Stack) -> None:
    with pytest.raises(ValueNotData, match=r"of the type .*\.Odd"):
        executor.submit(Odd, "x").result()
    with tarpon.Executor(HOST, stack.api_port, python=sys.executable, trust_nodes=True) as trusting:
        assert isinstance(trusting.submit(Odd, "x").result(), Odd)


def test_what_cannot_be_packed_is_told_at_once(executor: tarpon.Executor) -> None:
    with pytest.raises(TypeError):
        executor.submit(scaled, threading.Lock())


def test_values_are_had_after_the_executor_was_shut_down(stack: Stack) -> None:
    with tarpon.Executor(HOST, stack.api_port, python=sys.executable) as made:
        small, large = made.submit(scaled, 4), made.submit(bytes, 1 << 20)
    assert (small.result(), len(large.result())) == (12, 1 << 20)
    with pytest.raises(RuntimeError, match="after a shutdown"):
        made.submit(scaled, 1)


def test_a_call_that_waits_is_cancelled(executor: tarpon.Executor) -> None:
    future = executor.submit(scaled, 1)
    assert future.cancel()
    assert executor.submit(scaled, 2).result() == 6
    assert future.cancelled()


def test_futures_are_done_when_the_executor_is(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asynchronous, "LINGER_SECONDS", 600)
    cancelling = tarpon.Executor(HOST, stack.api_port, python=sys.executable)
    waiting = cancelling.submit(scaled, 1)
    cancelling.shutdown(cancel_futures=True)
    assert waiting.cancelled()
    assert concurrent.futures.wait([waiting], 0).done == {waiting}
    with tarpon.Executor(HOST, stack.api_port, python=sys.executable) as made:
        futures = [made.submit(scaled, number) for number in range(20)]
    assert all(future.done() for future in futures)


def test_a_map_over_an_endless_iterable_runs_a_little_ahead(executor: tarpon.Executor) -> None:
    numbers = itertools.count()
    values = executor.map(scaled, numbers, buffersize=20)
    assert list(itertools.islice(values, 15)) == [3 * each for each in range(15)]
    assert next(numbers) <= 35


def test_a_map_has_a_time_out_for_all_of_it(executor: tarpon.Executor) -> None:
    with pytest.raises(TimeoutError):
        list(executor.map(scaled, range(3), timeout=0))


def test_arguments_are_deleted_when_their_job_has_ended(executor: tarpon.Executor, stack: Stack) -> None:
    text = "x" * LEAST_SHARED_BYTES
    assert list(executor.map(len, [text] * 3)) == [LEAST_SHARED_BYTES] * 3
    with tarpon.SyncClient(HOST, stack.api_port) as client:
        wait_until(lambda: not client.list_data().data, within=20, what="nothing that was sent is left")


def test_python_of_another_minor_version_runs_nothing(stack: Stack, tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport runpy, sys\nsys.version_info = (3, 1, 2)\nsys.argv = sys.argv[1:]\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')\n"
    )
    program.chmod(0o755)
    with tarpon.Executor(HOST, stack.api_port, python=str(program)) as made:
        future = made.submit((tmp_path / "ran").touch)
        with pytest.raises(OtherPython, match=r"Python 3\.1\.2: none was run"):
            future.result()
    assert not (tmp_path / "ran").exists()


def test_a_program_that_is_not_there_is_told(stack: Stack) -> None:
    with (
        tarpon.Executor(HOST, stack.api_port, python="no-such-python") as made,
        pytest.raises(CallLost, match="no-such-python"),
    ):
        made.submit(scaled, 1).result()


LIES = {
    "a pickle": ({"call": 0, "value": {"pickle": "values/0-0.pickle"}}, ValueInvalid, "nodes are not trusted"),
    "another's file": ({"call": 0, "value": {"str": "../../calls/calls.json"}}, ValueInvalid, "not its own"),
    "no value": ({"call": 0, "value": {"module": "os"}}, ValueInvalid, "has the tag"),
    "another call": ({"call": 7, "value": 1}, CallLost, "no line for it"),
    "an exit": (
        {
            "call": 0,
            "error": {"type": "SystemExit", "module": "builtins", "text": "", "traceback": "", "arguments": []},
        },
        CallFailed,
        "SystemExit",
    ),
    "a problem that is none": ([1], OtherPython, "does not say which"),
    "no line": ("nonsense", CallLost, "no line for it"),
}


@pytest.mark.parametrize("lie", LIES)
def test_what_a_node_makes_up_harms_nobody(stack: Stack, tmp_path: Path, lie: str) -> None:
    """Its Python is a program that writes what it likes."""
    told, error, words = LIES[lie]
    name = "problem.json" if lie == "a problem that is none" else "values.jsonl"
    program = tmp_path / "python"
    program.write_text(
        f"#!{sys.executable}\nimport pathlib, sys\nout = pathlib.Path(sys.argv[2])\n(out / 'values').mkdir()\n"
        f"(out / 'values/0-0.pickle').write_bytes(b'cos\\nsystem\\n(S\\'touch {tmp_path}/harmed\\'\\ntR.')\n"
        f"(out / {name!r}).write_text({json.dumps(told)!r})\n"
    )
    program.chmod(0o755)
    with tarpon.Executor(HOST, stack.api_port, python=str(program)) as made, pytest.raises(error, match=words):
        made.submit(scaled, 1).result()
    assert not (tmp_path / "harmed").exists()


def test_a_node_that_is_killed_costs_time_alone(stack: Stack, tmp_path: Path) -> None:
    begun, go_on = tmp_path / "begun", tmp_path / "go-on"

    def wait(number: int) -> int:
        begun.touch()
        while not go_on.exists():
            time.sleep(0.05)
        return number

    doomed = stack.start_compute("doomed", Engines_Types_Process_Sandbox=NO_SANDBOX, Labels="role=doomed")
    only = {"Constraints": [{"Key": "role", "Operator": "=", "Values": ["doomed"]}]}
    with tarpon.Executor(HOST, stack.api_port, python=sys.executable, parts=2, job=only) as made:
        values = made.map(wait, range(4))
        wait_until(begun.exists, within=40, what="the calls run")
        doomed.kill()
        stack.start_compute("doomed", Engines_Types_Process_Sandbox=NO_SANDBOX, Labels="role=doomed")
        go_on.touch()
        assert list(values) == [0, 1, 2, 3]


async def test_an_event_loop_has_an_executor_too(stack: Stack) -> None:
    async with (
        tarpon.Client(HOST, stack.api_port) as client,
        tarpon.AsyncExecutor(client, python=sys.executable) as executor,
    ):
        call = executor.submit(scaled, 7)
        assert [value async for value in executor.map(scaled, range(3))] == [0, 3, 6]
        assert await call == 21
        with pytest.raises(ValueError, match="not"):
            await executor.submit(fail, "value")


async def test_what_still_runs_is_stopped_with_the_block_that_fails(stack: Stack) -> None:
    async def block(client: tarpon.Client) -> Any:
        async with tarpon.AsyncExecutor(client, python=sys.executable) as executor:
            call = executor.submit(time.sleep, 600)
            await eventually(lambda: executor.jobs, what="the job is submitted")
            raise LookupError(executor.jobs[0], call)

    async with tarpon.Client(HOST, stack.api_port) as client:
        with pytest.raises(LookupError) as caught:
            await block(client)
        assert (await client.wait(caught.value.args[0])).status == "Stopped"
