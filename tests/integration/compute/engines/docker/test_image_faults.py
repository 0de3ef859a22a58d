"""Registries that misbehave: which end each fault leads to, whether it is tried again, and what the user is told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from compute.engines.engine import Exited
from shared.jobs.durations import Duration
from shared.jobs.states import FailureReason
from shared.settings.config import DockerSettings as Settings
from tests.engine import NewRegistry, TestEngine, publish
from tests.faulty_registry import Fault, FaultyRegistry, faulty_registry, refusal
from tests.integration.docker_bench import Bench, DockerTask

MIB = 1 << 20
DENIED, MISSING, AGAIN = (
    FailureReason.IMAGE_ACCESS_DENIED,
    FailureReason.IMAGE_NOT_FOUND,
    FailureReason.IMAGE_NOT_PULLED,
)


@pytest.fixture
def bench(docker_engine: TestEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    return Bench(tmp_path, docker_engine)


@pytest.fixture
async def registry(bench: Bench, new_registry: NewRegistry) -> AsyncIterator[FaultyRegistry]:
    """It has one image, with one layer of 1 MiB that no other image has."""
    real = new_registry()
    await asyncio.to_thread(publish, bench.dockerd, real, padding_bytes=MIB)
    async with faulty_registry(real.host) as relay:
        yield relay


def wanting(bench: Bench, registry: FaultyRegistry, **run: Any) -> DockerTask:
    return bench.task({"Image": f"{registry.host}/some/image:1", "Entrypoint": ["/bin/true"]}, **run)


def settings(bench: Bench, *, still: float = 0.0, whole: float = 0.0) -> Settings:
    return Settings(socket=bench.dockerd.url, pull_timeout=Duration(whole), pull_stall_timeout=Duration(still))


@pytest.mark.parametrize(
    ("fault", "reason", "told"),
    [
        (Fault(status=503, body="Service Unavailable"), AGAIN, "503"),
        (Fault(cut=True), AGAIN, "EOF"),
        (refusal(429, "TOOMANYREQUESTS", "You have reached your pull rate limit."), AGAIN, "rate limit"),
        (Fault(status=500), AGAIN, "500"),
        (refusal(404, "MANIFEST_UNKNOWN", "manifest unknown"), MISSING, "does not exist at"),
        (refusal(401, "UNAUTHORIZED", "authentication required"), DENIED, "docker login"),
        (refusal(403, "DENIED", "requested access to the resource is denied"), DENIED, "docker login"),
        (refusal(404, "BLOB_UNKNOWN", "blob unknown to registry", of_layers=True), AGAIN, "unknown blob"),
        (Fault(of_layers=True, corrupt=True), AGAIN, "verification failed"),
    ],
    ids=["503", "cut", "429", "500", "404", "401", "403", "missing layer", "corrupt layer"],
)
async def test_what_a_registry_answers_is_told_and_tried_again_where_it_may_change(
    bench: Bench, registry: FaultyRegistry, fault: Fault, reason: FailureReason, told: str
) -> None:
    registry.fault = fault
    end = await bench.broken(wanting(bench, registry))
    assert (end.reason, end.reason.retryable) == (reason, reason is AGAIN), end.detail
    assert registry.host in end.detail
    assert told in end.detail


async def test_a_pull_that_stands_still_ends_and_the_next_one_begins_anew(
    bench: Bench, registry: FaultyRegistry
) -> None:
    registry.fault = Fault(of_layers=True, stalls_after=300_000)
    end = await bench.broken(wanting(bench, registry), settings=settings(bench, still=0.7))
    assert (end.reason, end.reason.retryable) == (AGAIN, True)
    assert "Nothing of it came for 0.7 s (the node's Engines.Types.Docker.PullStallTimeout)" in end.detail
    registry.fault = Fault()
    assert await bench.ended(wanting(bench, registry), settings=settings(bench, still=5.0)) == Exited(0)


async def test_a_pull_that_is_slow_and_goes_on_may_take_longer_than_one_may_stand_still(
    bench: Bench, registry: FaultyRegistry
) -> None:
    registry.fault = Fault(of_layers=True, bytes_per_second=MIB)
    assert await bench.ended(wanting(bench, registry), settings=settings(bench, still=0.7)) == Exited(0)


async def test_a_pull_that_takes_too_long_ends(bench: Bench, registry: FaultyRegistry) -> None:
    registry.fault = Fault(of_layers=True, bytes_per_second=MIB / 20)
    end = await bench.broken(wanting(bench, registry), settings=settings(bench, whole=0.7))
    assert (end.reason, end.reason.retryable) == (AGAIN, True)
    assert "It took longer than 0.7 s (the node's Engines.Types.Docker.PullTimeout)" in end.detail
