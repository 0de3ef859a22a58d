"""Which running servers an integration test can ask for."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.nats_bus import Bus


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[Bus]:
    async with Bus(tmp_path).running() as running:
        yield running
