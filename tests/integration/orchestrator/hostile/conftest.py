"""One stage for all attempts of a file."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.orchestrator.hostile.stage import Stage, hostile_stage
from tests.servers import S3Server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory, s3_server: S3Server) -> AsyncIterator[Stage]:
    async with hostile_stage(tmp_path_factory.mktemp("hostile"), s3_server) as made:
        yield made
