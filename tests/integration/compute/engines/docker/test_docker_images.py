"""How images come from a registry, and what is told when they do not."""

import asyncio
import base64
import json
import re
from pathlib import Path
from typing import Any

import pytest

from compute.engines.docker import pull_progress
from compute.engines.engine import Exited
from shared.jobs.states import FailureReason
from tests.engine import IMAGE, PASSWORD, USER, NewRegistry, TestEngine, publish
from tests.integration.docker_bench import Bench, DockerTask

MIB = 1 << 20
ECHO: dict[str, Any] = {"Entrypoint": ["/bin/echo", "hello"]}


@pytest.fixture
def bench(docker_engine: TestEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return Bench(tmp_path, docker_engine)


def printing(bench: Bench, image: str) -> DockerTask:
    return bench.task(ECHO | {"Image": image})


def log_in(folder: Path, registry: str, password: str) -> None:
    auth = base64.b64encode(f"{USER}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry: {"auth": auth}}}))


async def test_an_image_that_is_not_here_is_pulled_once_for_all_who_want_it(
    bench: Bench, new_registry: NewRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    name, _ = await asyncio.to_thread(publish, bench.dockerd, new_registry())
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        tasks = [printing(bench, name) for _ in range(4)]
        ends = [group.create_task(engine.run(task.run), name="run") for task in tasks]
    assert [end.result() for end in ends] == [Exited(0)] * 4
    assert sum("Pulled the image" in record.message for record in caplog.records) == 1
    assert await bench.ended(printing(bench, name)) == Exited(0)
    assert sum("Pulled the image" in record.message for record in caplog.records) == 1
    await bench.remove_containers()


async def test_everybody_who_waits_for_an_image_is_told_how_its_pull_goes(
    bench: Bench, new_registry: NewRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_progress, "FIRST_PAUSE_SECONDS", 0.0)
    name, _ = await asyncio.to_thread(publish, bench.dockerd, new_registry(), padding_bytes=MIB)
    told: list[list[str]] = [[], [], []]
    tasks = [bench.task(ECHO | {"Image": name}, on_progress=each.append) for each in told]
    async with bench.engine() as engine, asyncio.TaskGroup() as group:
        for task in tasks:
            group.create_task(engine.run(task.run), name="run")
    assert all(task.run.usage.pull_seconds > 0 for task in tasks)
    ((called, image_id),) = {task.run.usage.image for task in tasks}
    assert called == name
    assert re.fullmatch("[0-9a-f]{64}", image_id), "the one that really ran, whatever the tag means"
    for each in told:
        assert each[0].startswith(f"Pulling image {name}")
        assert re.fullmatch(rf"Pulled image {re.escape(name)} in [0-9.]+ s", each[-1])
        assert len(each) == len(set(each))
    assert any(re.search(r": ([0-9]+ % of|[0-9.]+ [kM]B is here)", sentence) for sentence in told[0]), told[0]
    here: list[str] = []
    assert await bench.ended(bench.task(ECHO | {"Image": name}, on_progress=here.append)) == Exited(0)
    assert here == []
    await bench.remove_containers()


async def test_a_pull_that_fails_was_begun_and_did_not_end(bench: Bench, new_registry: NewRegistry) -> None:
    image = f"{new_registry().host}/no/such:1"
    told: list[str] = []
    await bench.broken(bench.task(ECHO | {"Image": image}, on_progress=told.append))
    assert told == [f"Pulling image {image}"]


async def test_an_image_can_be_named_by_its_digest(bench: Bench, new_registry: NewRegistry) -> None:
    name, digest = await asyncio.to_thread(publish, bench.dockerd, new_registry())
    assert await bench.ended(printing(bench, f"{name.removesuffix(':1')}@{digest}")) == Exited(0)


async def test_an_image_without_a_tag_is_the_latest_alone(bench: Bench, new_registry: NewRegistry) -> None:
    registry = new_registry()
    old, _ = await asyncio.to_thread(publish, bench.dockerd, registry)
    name = old.removesuffix(":1")
    await asyncio.to_thread(publish, bench.dockerd, registry, tag="latest")
    assert await bench.ended(printing(bench, name)) == Exited(0)
    with pytest.raises(AssertionError, match="No such image"):
        await asyncio.to_thread(bench.dockerd.request, "GET", f"/images/{old}/json")


async def test_the_operator_s_login_is_used(bench: Bench, new_registry: NewRegistry, tmp_path: Path) -> None:
    registry = new_registry(password=True)
    auth = base64.urlsafe_b64encode(json.dumps({"username": USER, "password": PASSWORD}).encode()).decode()
    name, _ = await asyncio.to_thread(publish, bench.dockerd, registry, auth)
    for password in ("", "wrong"):
        if password:
            log_in(tmp_path, registry.host, password)
        end = await bench.broken(printing(bench, name))
        assert (end.reason, end.reason.retryable) == (FailureReason.IMAGE_ACCESS_DENIED, False)
        assert registry.host in end.detail
        assert "docker login" in end.detail
    log_in(tmp_path, registry.host, PASSWORD)
    assert await bench.ended(printing(bench, name)) == Exited(0)


async def test_an_image_that_does_not_exist_is_told_and_not_tried_again(
    bench: Bench, new_registry: NewRegistry
) -> None:
    image = f"{new_registry().host}/no/such:1"
    end = await bench.broken(printing(bench, image))
    assert (end.reason, end.reason.retryable) == (FailureReason.IMAGE_NOT_FOUND, False)
    assert f"The image {image} does not exist" in end.detail


async def test_a_registry_that_is_down_is_told_and_may_be_tried_again(bench: Bench, new_registry: NewRegistry) -> None:
    registry = new_registry()
    await asyncio.to_thread(registry.stop)
    end = await bench.broken(printing(bench, f"{registry.host}/some/image:1"))
    assert (end.reason, end.reason.retryable) == (FailureReason.IMAGE_NOT_PULLED, True)
    assert registry.host in end.detail


async def test_an_image_that_is_here_needs_no_registry(bench: Bench, new_registry: NewRegistry) -> None:
    registry = new_registry()
    await asyncio.to_thread(registry.stop)
    name = f"{registry.host}/here/{IMAGE}"
    await asyncio.to_thread(bench.dockerd.add_image, name)
    assert await bench.ended(printing(bench, name)) == Exited(0)
