"""Which running servers an integration test can ask for, and what its tasks leave."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from compute.processes.strays import Strays
from tests.integration.fed_api import FedApi
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import Bus
from tests.nats_cluster import NatsCluster
from tests.servers import S3Server


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with Bus(tmp_path).running() as running:
        yield running


@pytest.fixture(scope="session")
def nats_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsCluster]:
    """Three nats-servers, which may not be killed."""
    cluster = NatsCluster(tmp_path_factory.mktemp("nats"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture(params=["one server", "three replicas"])
async def any_bus(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bus]:
    """For whatever may conflict: a replicated stream answers otherwise."""
    if request.param == "one server":
        async with Bus(tmp_path).running() as running:
            yield running
    else:
        async with request.getfixturevalue("nats_cluster").bus() as running:
            yield running


@pytest.fixture
async def strays() -> AsyncIterator[Strays]:
    """This process adopts what the test's tasks leave; the servers of other tests were there before."""
    made = Strays()
    await asyncio.to_thread(made.adopt)
    yield made
    made.release()


@pytest.fixture
async def running(tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """A whole orchestrator, whose publisher is ready."""
    async with running_orchestrator(tmp_path, s3_server, monkeypatch) as running:
        yield running


@pytest.fixture
async def fed() -> AsyncIterator[FedApi]:
    """The API alone, over a model that the test fills."""
    async with FedApi().serving() as api:
        yield api
