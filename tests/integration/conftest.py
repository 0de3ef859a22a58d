"""Which running servers an integration test can ask for, and what its tasks leave."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from compute.engines.strays import Strays
from tests.integration.fed_api import FedApi
from tests.integration.running import Running, running_orchestrator
from tests.nats_bus import Bus
from tests.servers import S3Server


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with Bus(tmp_path).running() as running:
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
