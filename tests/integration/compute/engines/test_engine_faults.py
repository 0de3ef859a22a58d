"""Engines that fail: which end each fault leads to, whether it is tried again, and what the user is told."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from compute.engines.engine import Exited
from shared.jobs.states import Cause, FailureReason
from tests.engine import NewRegistry, TestEngine, publish
from tests.faulty_registry import Fault, faulty_registry
from tests.integration.docker_bench import Bench
from tests.podman import PodmanEngine
from tests.waiting import eventually


@pytest.fixture
def docker(docker_engine: TestEngine, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, docker_engine)
    docker_engine.restore()


@pytest.fixture
def podman(podman_engine: PodmanEngine, tmp_path: Path) -> Iterator[Bench]:
    yield Bench(tmp_path, podman_engine)
    podman_engine.restore()


@pytest.mark.parametrize(
    ("says", "reason"),
    [
        ("oops", FailureReason.NODE_ERROR),
        ("nvidia-container-cli: nvml error: driver/library version mismatch", FailureReason.GPU_NOT_GIVEN),
    ],
)
async def test_a_hook_that_fails_for_each_task_is_the_node_s_failure(
    podman: Bench, tmp_path: Path, says: str, reason: FailureReason
) -> None:
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho {says} >&2; exit 1\n")
    hook.chmod(0o755)
    rule = {"version": "1.0.0", "hook": {"path": str(hook)}, "when": {"always": True}, "stages": ["prestart"]}
    (tmp_path / "hooks").mkdir()
    (tmp_path / "hooks" / "rule.json").write_text(json.dumps(rule))
    await asyncio.to_thread(podman.dockerd.kill)
    await asyncio.to_thread(podman.dockerd.start, "--hooks-dir", str(tmp_path / "hooks"))
    end = await podman.broken(podman.shell("true"))
    assert (end.reason, end.reason.cause) == (reason, Cause.NODE), end.detail
    assert "The node's container engine" in end.detail


async def test_an_engine_that_hangs_is_unavailable(docker: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    async with docker.engine() as engine:
        os.kill(docker.dockerd.pid, signal.SIGSTOP)
        try:
            with monkeypatch.context() as patch:
                patch.setattr("compute.engines.docker.api.ANSWER_SECONDS", 0.3)
                end = await engine.run(docker.shell("true").run)
        finally:
            os.kill(docker.dockerd.pid, signal.SIGCONT)
    assert getattr(end, "reason", None) is FailureReason.ENGINE_UNAVAILABLE, end
    assert "does not answer: it did not answer in time" in str(end)
    assert await docker.ended(docker.shell("true")) == Exited(0)


async def test_an_engine_that_ends_in_the_middle_of_a_pull_is_unavailable(
    docker: Bench, new_registry: NewRegistry
) -> None:
    real = new_registry()
    await asyncio.to_thread(publish, docker.dockerd, real, padding_bytes=1 << 20)
    async with faulty_registry(real.host) as registry, docker.engine() as engine, asyncio.TaskGroup() as group:
        registry.fault = Fault(of_layers=True, stalls_after=1)
        image, told = f"{registry.host}/some/image:1", list[str]()
        task = docker.task({"Image": image, "Entrypoint": ["/bin/true"]}, on_progress=told.append)
        run = group.create_task(engine.run(task.run), name="run")
        await eventually(lambda: registry.layers)
        await asyncio.to_thread(docker.dockerd.kill)
        end = await run
    assert getattr(end, "reason", None) is FailureReason.ENGINE_UNAVAILABLE, end
    assert told == [f"Pulling image {image}"]


@pytest.fixture
def full_podman(podman_engine: PodmanEngine) -> Iterator[PodmanEngine]:
    """Another one. All that it keeps is on a file system that is full once it has its image."""
    engine = PodmanEngine()
    place = engine.folder / "root"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tarpon-tests", place], check=True)
    engine.start()
    engine.add_image()
    free_bytes = shutil.disk_usage(place).free
    (place / "filler").write_bytes(bytes(free_bytes - (1 << 20)))
    yield engine
    engine.stop()


async def test_an_engine_without_space_is_told_as_such(full_podman: PodmanEngine, tmp_path: Path) -> None:
    bench = Bench(tmp_path, full_podman)
    end = await bench.broken(bench.shell("true"))
    assert (end.reason, end.reason.cause) == (FailureReason.DISK_FULL, Cause.NODE)
    assert end.detail == "The disk of the node's container engine is full."
