"""Tasks that an earlier process of the node started, and that are found again."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from compute.engines.docker.api import DockerApi
from compute.engines.docker.spec import Confinement, container_spec, make_hosts_file
from compute.engines.engine import Broken, Exited, RunEnd
from shared.jobs.engine_params import DockerParams, read_params
from shared.jobs.states import FailureReason
from tests.engine import TestEngine
from tests.integration.docker_bench import NODE, Bench, DockerTask
from tests.waiting import eventually

GO = "until [ -e /outputs/go ]; do sleep 0.05; done"


@pytest.fixture
def bench(docker_engine: TestEngine, tmp_path: Path) -> Bench:
    return Bench(tmp_path, docker_engine)


async def leave_behind(bench: Bench, task: DockerTask, *, ended: bool = False) -> None:
    """The task's container, started by a node that died just after that."""
    api = DockerApi(bench.dockerd.socket)
    make_hosts_file(task.run)
    try:
        confinement = Confinement(node_id=NODE, pids_limit=100, bridge_network="bridge")
        params = read_params(task.run.task.engine.params, DockerParams)
        await api.create(task.name, container_spec(task.run, params, confinement, await api.facts()))
        await api.start(task.name)
        if ended:
            await api.wait(task.name)
    finally:
        await api.close()
    (task.workspace.result / "stdout").write_text("what the node had read")


async def resumed(bench: Bench, task: DockerTask, **limits: Any) -> RunEnd:
    end = await bench.ended(task.resumed(), **limits)
    assert task.starts == 0
    return end


async def test_a_task_that_still_runs_goes_on_and_its_output_is_whole(bench: Bench) -> None:
    task = bench.shell(f"echo before; echo error >&2; {GO}; echo after; exit 7")
    await leave_behind(bench, task)
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        work = group.create_task(engine.run(task.resumed().run), name="run")
        (task.outputs / "go").touch()
        assert await work == Exited(7)
        engine.release(task.id)
    assert (task.read("stdout"), task.read("stderr")) == ("before\nafter\n", "error\n")


async def test_a_task_that_has_ended_meanwhile_has_its_exit_code_and_its_output(bench: Bench) -> None:
    task = bench.shell("head -c 100000 /dev/urandom > /outputs/copy; cat /outputs/copy; exit 5")
    await leave_behind(bench, task, ended=True)
    assert await resumed(bench, task) == Exited(5)
    assert (task.workspace.result / "stdout").read_bytes() == (task.outputs / "copy").read_bytes()


async def test_a_task_whose_container_is_gone_is_lost(bench: Bench) -> None:
    end = await resumed(bench, bench.shell("true"))
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.CONTAINER_LOST


async def test_output_of_which_the_engine_has_thrown_a_part_away_is_not_published(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("spec", "container", "log"):
        monkeypatch.setattr(f"compute.engines.docker.{module}.LOG_FILE_BYTES", 100_000)
    task = bench.shell("seq 100000")
    await leave_behind(bench, task, ended=True)
    end = await resumed(bench, task)
    assert isinstance(end, Broken)
    assert (end.reason, end.reason.retryable) == (FailureReason.CONTAINER_LOST, True)
    assert "more output" in end.detail


async def test_output_that_just_fits_is_whole(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("spec", "container", "log"):
        monkeypatch.setattr(f"compute.engines.docker.{module}.LOG_FILE_BYTES", 100_000)
    task = bench.shell("seq 1300")
    await leave_behind(bench, task, ended=True)
    assert await resumed(bench, task) == Exited(0)
    assert task.read("stdout").splitlines() == [str(number) for number in range(1, 1301)]


async def test_the_limit_of_the_output_holds_also_for_what_was_written_meanwhile(bench: Bench) -> None:
    task = bench.shell("seq 10000")
    await leave_behind(bench, task, ended=True)
    end = await resumed(bench, task, output_limit_bytes=1000)
    assert isinstance(end, Broken)
    assert end.reason is FailureReason.OUTPUT_LIMIT_EXCEEDED
    assert len(task.read("stdout")) == 1000


async def test_a_resumed_task_can_be_stopped(bench: Bench) -> None:
    task = bench.shell(f"trap 'echo > /outputs/stopped; exit 0' TERM; echo > /outputs/ready; {GO}")
    await leave_behind(bench, task)
    await eventually((task.outputs / "ready").exists)
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        work = group.create_task(engine.run(task.resumed().run), name="run")
        await asyncio.sleep(0)
        work.cancel()
    assert (task.outputs / "stopped").exists()
    assert task.name not in await bench.containers()


async def test_a_task_that_was_started_before_the_machine_was_is_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("compute.engines.docker.container.started_before_boot", lambda _: True)
    task = bench.shell("true")
    await leave_behind(bench, task, ended=True)
    end = await resumed(bench, task)
    assert isinstance(end, Broken)
    assert "machine was restarted" in end.detail


async def test_an_engine_that_comes_later_than_the_node_is_waited_for(bench: Bench, docker_engine: TestEngine) -> None:
    task = bench.shell("echo hello")
    await leave_behind(bench, task, ended=True)
    await asyncio.to_thread(docker_engine.terminate)
    try:
        async with bench.engine() as engine, asyncio.TaskGroup() as group:
            assert not engine.available
            work = group.create_task(engine.run(task.resumed().run), name="run")
            await asyncio.to_thread(docker_engine.start)
            assert await work == Exited(0)
            engine.release(task.id)
    finally:
        await asyncio.to_thread(docker_engine.restore)
    assert task.read("stdout") == "hello\n"
