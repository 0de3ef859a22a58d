"""Engines that do not see the node's files: no task runs there, and the node offers them no more."""

import asyncio
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from compute.engines.engine import Broken, Exited
from shared.jobs.states import FailureReason
from tests.engine import TestEngine
from tests.integration.docker_bench import Bench
from tests.waiting import eventually


@pytest.fixture(params=["docker", "podman"])
def dockerd(request: pytest.FixtureRequest) -> Iterator[TestEngine]:
    found: TestEngine = request.getfixturevalue(f"{request.param}_engine")
    yield found
    found.restore()


def hide(engine: TestEngine, folder: Path) -> Callable[[], object]:
    """From now on the engine has other files below this folder than this process, until what is answered is called."""
    inside = ["nsenter", "--target", str(engine.pid), "--mount", "--"]
    subprocess.run([*inside, "mount", "-t", "tmpfs", "none", str(folder)], check=True)
    return partial(subprocess.run, [*inside, "umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def bench(dockerd: TestEngine, tmp_path: Path) -> Bench:
    """With an engine in a mount namespace of its own, as one that is in a container."""
    dockerd.kill()
    dockerd.start_apart()
    return Bench(tmp_path, dockerd)


async def test_a_task_whose_files_the_engine_does_not_see_never_runs(bench: Bench) -> None:
    await asyncio.to_thread(hide, bench.dockerd, bench.folder)
    task = bench.shell("echo lost > /outputs/file")
    end = await bench.broken(task)
    assert (end.reason, end.reason.retryable) == (FailureReason.DATA_DIR_NOT_SEEN, True)
    assert task.starts == 0
    assert task.name not in await bench.containers()


async def test_such_an_engine_is_offered_again_when_it_sees_them(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("compute.engines.docker.engine.LOOK_EVERY_SECONDS", 0.2)
    show = await asyncio.to_thread(hide, bench.dockerd, bench.folder)
    seen: list[bool] = []
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        watch = group.create_task(engine.watch(lambda: seen.append(engine.available)), name="watch")
        assert isinstance(await engine.run(bench.shell("true").run), Broken)
        await eventually(lambda: seen == [False])
        assert engine.offered
        assert str(bench.folder) in engine.problems[0]
        await asyncio.to_thread(show)
        await eventually(lambda: seen == [False, True])
        assert engine.problems == ()
        task = bench.shell("echo kept > /outputs/file")
        assert await engine.run(task.run) == Exited(0)
        assert (task.outputs / "file").read_text() == "kept\n"
        engine.release(task.id)
        watch.cancel()
    assert str(bench.folder) in caplog.text
    assert not list(bench.folder.glob(".mark*"))


async def test_the_engine_is_asked_once_for_each_connection(bench: Bench) -> None:
    created: list[str] = []
    async with bench.engine() as engine:
        create = engine._api.create  # the calls are counted, and made

        async def counted(name: str, spec: dict[str, object]) -> None:
            created.append(name)
            await create(name, spec)

        engine._api.create = counted  # type: ignore[method-assign, assignment]
        for _ in range(3):
            task = bench.shell("true")
            assert await engine.run(task.run) == Exited(0)
            engine.release(task.id)
    assert len([name for name in created if "mounts" in name]) == 1
