"""A node shows that it lives at its interval, and more often while there is progress of an upload to tell."""

import asyncio
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from compute.disk.disk_space import Space
from compute.executions.execution import Activity, Execution
from compute.executions.held import Executions
from compute.journal.entry import new_entry
from compute.uplink.heartbeats import send_heartbeats
from compute.upload.grants import ExecutionGrants
from compute.upload.meter import UploadMeter
from compute.upload.shared_limits import SharedLimits
from compute.upload.upload import Upload
from shared.protocol.messages import Heartbeat, decode, heartbeats
from shared.runtime.aio import background
from tests.builders import new_assignment, new_task
from tests.nats_bus import Bus
from tests.waiting import eventually

SUBJECT = "tarpon.v1.node.n-1.out.heartbeat"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.uplink.heartbeats.PROGRESS_SECONDS", 0.02)


async def test_progress_is_told_while_there_is_some_and_then_life_alone_at_its_interval(bus: Bus) -> None:
    heard: list[Heartbeat] = []
    has_progress, looked_at = True, 0

    def is_there_progress() -> bool:
        nonlocal looked_at
        looked_at += 1
        return has_progress

    async def hear() -> None:
        async with bus.connection.subscribe(SUBJECT) as received:
            async for message in received:
                beat = decode(heartbeats, message.payload)
                heard.append(beat)

    beating = send_heartbeats(
        bus.connection,
        SUBJECT,
        lambda: Heartbeat(session="s", publishing=looked_at),
        interval_seconds=3600,
        has_progress=is_there_progress,
        space=lambda: Space(free=5, size=9),
    )
    async with background(hearing=hear()):
        async with asyncio.timeout(5):
            while not heard:
                await bus.connection.publish(SUBJECT, b'{"type":"Heartbeat","session":"first"}')
                await asyncio.sleep(0.01)
        async with background(beating=beating):
            await eventually(lambda: sum(each.session == "s" for each in heard) >= 3)
            has_progress = False
            seen = looked_at
            await eventually(lambda: looked_at > seen + 5)
            assert heard[-1].publishing <= seen + 1, "nothing is sent when there is nothing to tell"
    assert (heard[-1].disk_free, heard[-1].disk_size) == (5, 9)
    assert abs(heard[-1].sent_at - time.time()) < 60


async def test_an_upload_that_stands_still_is_no_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.upload.meter.TOLD_AFTER_SECONDS", 0.0)
    nobody: Any = None  # nothing is carried out here
    async with aiohttp.ClientSession() as http, asyncio.TaskGroup() as group:
        uploading = SharedLimits(http)
        executions = Executions(
            journal=nobody,
            slots=nobody,
            supervisor=nobody,
            reports=nobody,
            ask=nobody,
            group=group,
            on_over=nobody,
            opener=nobody,
        )
        meter = publishing(executions, uploading, tmp_path)
        meter.begin(lambda: (2000, 1000), 4000)
        assert executions.has_progress(), "that it goes on has not been told"
        (told,) = executions.heartbeat().uploads
        assert (told.done_bytes, told.total_bytes) == (0, 4000)
        assert not executions.has_progress()
        meter.stored(500)
        assert executions.has_progress()
        (told,) = executions.heartbeat().uploads
        assert told.done_bytes == 1000
        assert not executions.has_progress()
        meter.total_bytes = 8000
        assert executions.has_progress()
        await asyncio.to_thread(uploading.close)


def publishing(executions: Executions, uploading: SharedLimits, folder: Path) -> UploadMeter:
    """The meter of an execution that is held and whose result is being sent."""
    assignment = new_assignment(task=new_task(publisher="s3managed"))
    nobody: Any = None
    execution = Execution(new_entry(assignment), ExecutionGrants(assignment.execution_id, nobody))
    execution.activity = Activity.PUBLISHING
    execution.upload = Upload(execution.id, folder, folder, execution.grants, uploading)
    executions._held[execution.id] = execution
    return execution.upload.meter
