"""Schedules that are late, as tests make them: as if nobody had decided about one for hours (no tests in here)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from orchestrator.state.model import Model
from orchestrator.storage.store import Store
from shared.ids import JobId
from shared.jobs.schedules import SECOND_NS
from shared.messaging.transport import connect
from shared.runtime.aio import background

HOUR_NS = 3600 * SECOND_NS


@asynccontextmanager
async def _another(data_dir: Path, server: str) -> AsyncIterator[Store]:
    """What another orchestrator knows."""
    seed = (data_dir / "orchestrator" / "secrets" / "orchestrator.nkey").read_text().strip()
    async with connect([server], name="another", nkey_seed=seed) as connection:
        store = Store(connection, Model(max_attempts=5))
        async with background(state=store.keep_model()):
            await store.ready.wait()
            yield store


async def set_back(data_dir: Path, server: str, schedule: str, hours: int = 3) -> None:
    """Have its record say so, in the state of the orchestrator with this DataDir and NATS server."""
    async with _another(data_dir, server) as store:
        record = store.model.jobs[JobId(schedule)].job
        assert record.schedule is not None
        state = msgspec.structs.replace(record.schedule, decided=record.schedule.decided - hours * HOUR_NS)
        await store.update(record.key, msgspec.structs.replace(record, schedule=state))
