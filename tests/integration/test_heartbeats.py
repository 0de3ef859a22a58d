"""A node shows that it lives at its interval, and more often while there is progress of an upload to tell."""

import asyncio

import pytest

from compute.heartbeats import send_heartbeats
from shared.aio import background
from shared.messages import Heartbeat, decode, heartbeats
from tests.nats_bus import Bus
from tests.waiting import eventually

SUBJECT = "tarpon.v1.node.n-1.out.heartbeat"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compute.heartbeats.PROGRESS_SECONDS", 0.02)


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
